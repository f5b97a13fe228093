"""Should this run be restarted? Decided from its first tenth, at least eight snapshots.

A score over how each weight matrix moves at first (Manojlovic et al. 2020 propose to recognise bad
initial conditions early; the statistics are ours), joined by recorded losses where there are some,
and the layers that stand out by mechanism. May not look at a run's name, family or metadata.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from koopscope.analysis.analysis import Analysis
from koopscope.diagnostics.action import Action
from koopscope.diagnostics.breaking import break_of
from koopscope.diagnostics.evidence import StatedEvidence, keyed
from koopscope.diagnostics.finding import (
    TOO_FEW,
    Criterion,
    Diagnostic,
    Explanation,
    Finding,
    Status,
    usable,
)
from koopscope.diagnostics.statistics import scores
from koopscope.diagnostics.statistics.start import (
    LEAST_SNAPSHOTS,
    Beginning,
    beginning_of,
    share_of_twins,
    snapshots_of_beginning,
)
from koopscope.spectra.start import TensorStart

State = Literal["healthy", "suspect", "bad"]

#: Scores from which on a run is suspect, and bad: even odds, and three to one, as fitted. On the
#: held-out families 43 of 51 runs called bad were, 37 of 53 suspect ones, 36 of 224 healthy ones.
SUSPECT = 0.5
BAD = 0.75

#: A start that keeps its direction like this, and shows no matrix that stands out, is not bad but
#: at most suspect: with a rate that is too low the network sets out well, and slowly. Of 38 tuning
#: runs that did and learned too little, 18 had a tenth of a usual rate or less.
STRAIGHT_COSINE = 0.9
STRAIGHT = 0.95

#: Intervals between snapshots that may be missing before the first one. One is usual (the first
#: checkpoint is of the end of epoch 1). With two missing the scores of five sample runs moved by at
#: most .09; what later starts do was not measured.
LATEST_START = 1.5

#: A matrix that moved less than this part of the median matrix's shift is frozen.
FROZEN = 1e-3

#: Growth of the norm in the beginning, as a logarithm, that default starts did not show.
EXPLODING = 1.5

#: Speed at the end of the beginning against its start, as a logarithm, below which it vanishes.
VANISHING = -4.0

#: log(root mean square x sqrt(fan-in)) of default starts lies well inside these.
SCALES = (-3.0, 2.0)

#: Unusual matrices that a sentence names.
_NAMED = 3

#: Share of a matrix's moving entries that have an exact twin, from which on units are symmetric.
SYMMETRIC = 0.5

#: Least score where that holds for most matrices: copies of a unit stay copies. Of the tuning runs
#: that showed it not one learned half of what it could.
SCORE_OF_SYMMETRIC = 0.9


@dataclass(frozen=True)
class Reason:
    """Why a weight matrix is held responsible, and the number that says so."""

    name: str
    why: str
    value: float


@dataclass(frozen=True)
class InitializationEvidence(StatedEvidence):
    """What the answer rests on.

    Attributes
    ----------
    score
        In [0, 1], higher is worse.
    window
        First and last step of the beginning.
    layers
        The weight matrices that stand out, in model order.
    source
        Which records the score was drawn from.
    """

    state: State | None = None
    score: float | None = None
    window: tuple[int, int] | None = None
    layers: tuple[Reason, ...] = ()
    source: str | None = field(default=None, metadata=keyed("from", shown_with="source"))


def score_of(beginning: Beginning) -> tuple[float, str]:
    """Return the score in [0, 1], higher is worse, and what it was drawn from."""
    edition = beginning.edition
    score = scores.tree_score(scores.table("initialization")[edition.name])
    found = scores.probability(float(score(beginning.all())))
    if beginning.weights["twins_median"] > SYMMETRIC:
        found = max(found, SCORE_OF_SYMMETRIC)
    return found, edition.source


def reasons(tensors: dict[str, TensorStart], twins: dict[str, float]) -> list[Reason]:
    """Return the tensors that stand out, each with its first mechanism, in model order."""
    typical = float(np.median([start.shift for start in tensors.values()]))
    outliers = []
    for name, start in tensors.items():
        if twins.get(name, 0.0) > SYMMETRIC:
            outliers.append(Reason(name, "symmetric units", twins[name]))
        elif start.directness == 0.0 or start.shift < typical + math.log(FROZEN):
            outliers.append(Reason(name, "frozen", math.exp(start.shift - typical)))
        elif start.growth > EXPLODING and start.scale > SCALES[0]:
            outliers.append(Reason(name, "exploding", math.exp(start.growth)))
        elif start.trend < VANISHING:
            outliers.append(Reason(name, "vanishing", math.exp(start.trend)))
        elif not SCALES[0] < start.scale < SCALES[1]:
            outliers.append(Reason(name, "wrong scale", math.exp(start.scale)))
    return outliers


def ask(analysis: Analysis) -> Finding:
    """Score the beginning of the run and name the layers that stand out."""
    recorded = analysis.description.snapshots
    count = snapshots_of_beginning(recorded)
    snapshots = analysis.window.snapshots
    steps = analysis.description.steps[analysis.window.first : analysis.window.stop]
    evidence = InitializationEvidence()
    late = steps[0] / analysis.window.spacing_steps if snapshots > 1 else 0.0
    if late > LATEST_START:
        message = (
            f"The first snapshot is of step {steps[0]}, {late:.0f} snapshot intervals after the "
            "start, so the beginning of the run was not recorded."
        )
        return DIAGNOSTIC.finding(
            "inconclusive",
            message,
            evidence,
            hint="keep the first checkpoints; if training began there, count its steps from 0",
        )
    if snapshots < count and _breaks_early(analysis, count):
        broken_off = (int(steps[0]), int(steps[-1]))
        evidence = InitializationEvidence(state="bad", score=1.0, window=broken_off)
        broken = break_of(analysis)
        message = (
            f"Restart: weights become NaN or infinite after step {steps[-1]}, within the first "
            "tenth of the run."
        )
        return DIAGNOSTIC.finding(
            "fail",
            message,
            evidence,
            value=1.0,
            hint=broken.hint if broken else "restart with a lower learning rate",
            criterion=Criterion("finite weights", f"NaN or infinite after step {steps[-1]}"),
            action=Action("restart"),
        )
    if snapshots < LEAST_SNAPSHOTS or snapshots < count:
        message = f"{usable(snapshots)} too few: the start is judged by the first {count}."
        action = Action("record_more", count=count)
        return DIAGNOSTIC.finding("inconclusive", message, evidence, hint=TOO_FEW, action=action)
    judged = (int(steps[0]), int(steps[count - 1]))
    beginning = beginning_of(analysis, count)
    if beginning is None:
        message = "No weight matrix was trained, so there is no initialization to judge."
        if analysis.window.first > 0:
            evidence = InitializationEvidence(window=judged)
        return DIAGNOSTIC.finding("inconclusive", message, evidence)
    score, source = score_of(beginning)
    outliers = reasons(beginning.tensors, _twins(analysis))
    straight = is_straight(beginning) and not outliers
    bad: State = "suspect" if straight else "bad"
    state: State = bad if score >= BAD else "suspect" if score >= SUSPECT else "healthy"
    evidence = InitializationEvidence(
        state=state,
        score=round(score, 4),
        window=judged,
        layers=tuple(outliers),
        source=source,
    )
    return _verdict(state, score, judged, evidence, straight)


def is_straight(beginning: Beginning) -> bool:
    """Return whether the network as a whole keeps its direction from snapshot to snapshot."""
    weights = beginning.weights
    return weights["cosine"] > STRAIGHT_COSINE and weights["directness_all"] > STRAIGHT


def _breaks_early(analysis: Analysis, count: int) -> bool:
    finite = np.ones(analysis.description.snapshots, bool)
    for tensor in analysis.finite_tensors:
        finite &= analysis.nonfinite(tensor.name) == 0
    first, stop = analysis.window.first, analysis.window.asked_stop
    return not finite[first : min(first + count, stop)].all()


def _twins(analysis: Analysis) -> dict[str, float]:
    """Return, by matrix, the share of moving entries that move exactly like another one."""
    shares = {}
    for tensor in analysis.finite_tensors:
        if tensor.kind == "parameter" and len(tensor.shape) >= 2:
            shares[tensor.name] = share_of_twins(analysis.changes(tensor.name))
    return shares


_STATUS: dict[State, Status] = {"healthy": "pass", "suspect": "warn", "bad": "fail"}
_WORDS = {
    "healthy": "Healthy start",
    "suspect": "Suspect start",
    "bad": "Bad start",
}

#: What is unusual about matrices, before their names.
_UNUSUAL = {
    "symmetric units": "units that are copies of each other in",
    "frozen": "hardly any change of",
    "exploding": "explosive growth of",
    "vanishing": "changes that die away in",
    "wrong scale": "changes too small or too large for the size of",
}


def _verdict(
    state: State,
    score: float,
    window: tuple[int, int],
    evidence: InitializationEvidence,
    straight: bool,
) -> Finding:
    first, last = window
    message = (
        f"{_WORDS[state]}: {score:.2f} on a scale from 0 (good) to 1 (bad), judged by the "
        f"{evidence.source} of steps {first} to {last}"
    )
    if evidence.layers:
        harmless = ", without harm so far" if state == "healthy" else ""
        message += f"; unusual{harmless}: {_unusual(evidence.layers)}"
    elif straight and state != "healthy":
        message += "; it moves straight ahead but slowly: the learning rate may be too low"
    return DIAGNOSTIC.finding(
        _STATUS[state],
        message + ".",
        evidence,
        value=score,
        hint="a learning rate that is far off starts like this, too" if state == "bad" else None,
        criterion=Criterion(f"a score of at most {SUSPECT:g}", f"{score:.2f}", of_value=True),
        action=Action("restart") if state == "bad" else None,
    )


def _unusual(outliers: Sequence[Reason]) -> str:
    """Return what is unusual about the first few matrices, those of one kind together."""
    kinds: dict[str, list[str]] = {}
    for each in outliers[:_NAMED]:
        kinds.setdefault(each.why, []).append(each.name)
    told = [f"{_UNUSUAL.get(why, why)} {', '.join(names)}" for why, names in kinds.items()]
    more = len(outliers) - _NAMED
    return "; ".join(told) + (f" and {more} more" if more > 0 else "")


DIAGNOSTIC = Diagnostic(
    id="initialization",
    code="KS301",
    title="Initialization",
    explanation=Explanation(
        asks="Did the run start well, or should it be restarted?",
        matters=(
            "A run with a bad start never learns what it could; the first tenth tells, and "
            "the rest of the budget can be saved."
        ),
        looks_at=(
            "The first tenth of the run, at least eight snapshots: whether every weight "
            "matrix changes, in a direction that holds, and by an amount that fits its size. "
            "Recorded losses join in. It names matrices that are frozen, exploding, "
            "vanishing, of a wrong scale, or whose units are exact copies of each other."
        ),
        to_do=(
            "Restart with another initialization or learning rate. Look first at the matrices "
            "that are named."
        ),
        accuracy=(
            "On 605 runs of 27 held-out families the score ranks bad starts above good ones "
            "with an AUROC of 0.91 with losses and 0.90 from the weights alone. Of the runs "
            "called bad 90 of 102 were, of the suspect ones 63 of 96, of the healthy ones 57 of "
            "374: docs/evidence/diagnostics.md."
        ),
        cannot_tell=(
            "It cannot tell a task that takes long to start learning from a start that never "
            "will. Where the first snapshots are missing, there is no start to judge."
        ),
    ),
    ask=ask,
    unit="score",
    threshold=SUSPECT,
)
