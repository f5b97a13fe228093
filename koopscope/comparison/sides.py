"""Hold one side of a comparison against another: distances, test, parting, and the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from koopscope._types import Float64
from koopscope.comparison.distances import (
    Distance,
    scope_distance,
    usual_distances,
    whole_distance,
)
from koopscope.comparison.motions import Motions, motions
from koopscope.comparison.parting import ROUNDINGS, Parting, parting
from koopscope.comparison.permutation import permutation_test
from koopscope.comparison.reasons import decided, notes, unless_sketch_decides
from koopscope.comparison.results import LayerComparison, PairComparison, Side
from koopscope.comparison.sketches import interval
from koopscope.comparison.subjects import Beside, Subject, Subjects
from koopscope.comparison.timeline import Timeline, timeline
from koopscope.comparison.traits import COURSES, Traits, traits
from koopscope.comparison.verdicts import FEWEST_REPEATS, score_of_groups, score_of_pair
from koopscope.runs.run import TensorInfo
from koopscope.spectra.geometry import Geometry
from koopscope.spectra.gram import SnapshotGram, total
from koopscope.spectra.gram_joins import picked
from koopscope.spectra.rounding import UNIT_ROUNDOFF

#: Courses of a network that reports draw.
DRAWN = ("speed", "directness", "remaining")

#: Of one scope, by the places of two runs.
Distances = Mapping[tuple[int, int], Distance]


def held_against(names: tuple[str, str], known: Subjects, size: int) -> PairComparison:
    """Hold the first ``size`` runs against the others.

    Raises
    ------
    KoopscopeError
        If too few snapshots can be held against each other.
    """
    runs = known.runs
    when = timeline([run.description.steps for run in runs], [run.finite for run in runs])
    networks, whole, apart, matrix, level = _measured(known, when)
    members = known.layers()
    between = float(matrix[:size, size:].mean())
    parted, layers_part = _parting(known.beside, runs) if known.beside else (None, {})
    several = min(size, len(runs) - size)
    test = permutation_test(matrix, size) if several >= FEWEST_REPEATS else None
    score = score_of_groups(test.contrast, level) if test else score_of_pair(between, level)
    verdict, rule, reason = decided(known, size, parted, test, score, between)
    told = interval(known, lambda part: float(_measured(part, when)[3][:size, size:].mean()))
    if told is not None and rule in ("yardstick", "permutation"):
        verdict, reason = unless_sketch_decides(verdict, reason, told, between, score, level, test)
    return PairComparison(
        first=_side(names[0], runs[:size], networks[:size]),
        second=_side(names[1], runs[size:], networks[size:]),
        verdict=verdict,
        rule=rule,
        reason=reason,
        distance=usual_distances(between),
        level=level,
        score=score,
        test=test,
        network=_mean(whole, size),
        layers=tuple(
            LayerComparison(
                name,
                sum(tensor.size for tensor in members[name][0]),
                _mean(apart[name], size),
                layers_part.get(name),
            )
            for name in apart
        ),
        timeline=when,
        parting=parted,
        motions=_motions(known, when, networks),
        notes=tuple(notes(known, when, size)),
        alignment=known.beside.alignment if known.beside else None,
        interval=(usual_distances(told[0]), usual_distances(told[1])) if told else None,
    )


def _measured(
    known: Subjects, when: Timeline
) -> tuple[list[Traits], Distances, dict[str, Distances], Float64, str]:
    """Return the networks, their distances, those of layers, all between runs, and the level."""
    runs = known.runs
    networks = [_traits("network", run, run.network, when, k) for k, run in enumerate(runs)]
    layers = {
        name: [_traits(name, run, own[k], when, k) for k, run in enumerate(runs)]
        for name, own in known.layers().items()
    }
    whole = _between(networks, "network")
    apart = {name: _between(own, "layers") for name, own in layers.items()}
    return networks, whole, apart, *_matrix(whole, list(apart.values()), len(runs))


def _traits(
    name: str, run: Subject, members: Sequence[TensorInfo], when: Timeline, k: int
) -> Traits:
    return traits(name, picked(run.gram(members), when.indices[k]))


def _between(of_runs: Sequence[Traits], level: str) -> Distances:
    """Return the distance of one scope between every two runs."""
    return {
        (i, j): scope_distance(of_runs[i], of_runs[j], level)
        for i, j in combinations(range(len(of_runs)), 2)
    }


def _matrix(whole: Distances, apart: Sequence[Distances], count: int) -> tuple[Float64, str]:
    """Return float64 [n, n], the logarithms of the distances between runs, and their level."""
    found = np.zeros((count, count))
    level = "network"
    for i, j in combinations(range(count), 2):
        found[i, j], level = whole_distance(whole[i, j], [own[i, j] for own in apart])
        found[j, i] = found[i, j]
    return found, level


def _mean(own: Distances, size: int) -> Distance:
    """Return the distance of two sides: means over the pairs with one run from each."""
    each = [distance for (i, j), distance in own.items() if i < size <= j]
    parts = np.mean([distance.parts for distance in each], axis=0)
    return Distance(each[0].name, float(np.mean([distance.value for distance in each])), parts)


def _side(name: str, runs: Sequence[Subject], networks: Sequence[Traits]) -> Side:
    return Side(
        name,
        tuple(run.description for run in runs),
        tuple(run.breaks_at_step for run in runs),
        tuple({each: own.courses[COURSES.index(each)] for each in DRAWN} for own in networks),
        tuple(own.eigenvalues(own.rank) for own in networks),
    )


def _parting(beside: Beside, runs: Sequence[Subject]) -> tuple[Parting, dict[str, int | None]]:
    """Return when the networks part, and when each layer does."""
    before = runs[0].description.snapshots
    rows, columns = beside.aligned.indices
    layers: dict[str, list[TensorInfo]] = {}
    kinds = {tensor.name for tensor in runs[0].network}
    dtypes: dict[str, str] = {}
    for one, other in beside.pairing.pairs:
        dtypes[one.name] = max((one.dtype, other.dtype), key=lambda dtype: UNIT_ROUNDOFF[dtype])
        if one.name in kinds:
            layers.setdefault(one.layer, []).append(one)
    squares: dict[str, Float64] = {}
    for name in dtypes:
        gram = beside.joint[name].of_pairs()
        norms = Geometry(gram).norms
        longest = np.maximum(norms[rows], norms[before + columns])
        squares[name] = np.square(ROUNDINGS * UNIT_ROUNDOFF[dtypes[name]] * longest)

    def of(members: Sequence[TensorInfo]) -> Parting:
        own = [beside.differences[tensor.name] for tensor in members]
        return parting(
            beside.aligned.steps,
            np.sum([each.squares for each in own], axis=0),
            np.sqrt(np.sum([squares[tensor.name] for tensor in members], axis=0)),
            np.sum([each.unequal for each in own], axis=0)
            / max(1, sum(tensor.size * (1 + tensor.is_complex) for tensor in members)),
        )

    everything = [tensor for members in layers.values() for tensor in members]
    everything = everything or [one for one, _ in beside.pairing.pairs]
    return of(everything), {name: of(members).parts_at_step for name, members in layers.items()}


def _motions(known: Subjects, when: Timeline, networks: Sequence[Traits]) -> Motions | None:
    """Return how the motions lie to each other, of two runs of one network."""
    if known.beside is None or not known.are_alike:
        return None
    joint: SnapshotGram = total(
        known.beside.joint[tensor.name].of_pairs() for tensor in known.runs[0].network
    )
    ends = int(when.indices[0][-1]), int(when.indices[1][-1])
    before = known.runs[0].description.snapshots
    return motions(joint, before, ends, max(1, min(own.rank for own in networks)))
