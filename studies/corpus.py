"""The yardstick's runs as analyses with their labels, from generated files or the frozen subset."""

from __future__ import annotations

import dataclasses
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from koopscope.analysis.analysis import Analysis
from koopscope.analysis.settings import Settings
from koopscope.runs.detect.opening import open_run
from studies.labels import Truth, best_train, truth
from studies.yardstick import store
from studies.yardstick.plan import WITHOUT_LEVEL


@dataclass(frozen=True)
class Case:
    """One run: what koopscope may see, and what became of it.

    ``best_train`` is the least training loss that a sibling reached.
    """

    name: str
    analysis: Analysis
    recipe: dict[str, Any]
    outcome: dict[str, Any]
    truth: Truth
    best_train: float

    @property
    def family(self) -> str:
        return str(self.recipe["family"])


def _siblings(known: dict[str, dict[str, Any]]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Return, by family and variant, the outcomes of the runs that started from scratch."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for each in known.values():
        recipe = each["recipe"]
        if recipe["start"] != "trained":
            found[recipe["family"], recipe["variant"]].append(each["outcome"])
    return found


def load(folder: Path, families: Iterable[str]) -> list[Case]:
    """Return the generated runs of some families, analysed and labelled."""
    wanted = set(families)
    analyses, known = {}, {}
    for path in sorted(folder.glob("*.npz")):
        if path.stem.rpartition("-")[0] in wanted:
            for name, arrays in store.read(path).items():
                analyses[name], known[name] = store.unpack(name, arrays)
    siblings = _siblings(known)
    cases = []
    for name, each in known.items():
        recipe, outcome = each["recipe"], each["outcome"]
        kin = siblings[recipe["family"], recipe["variant"]]
        if kin:  # else there is nothing to compare it with yet
            label = truth(outcome, kin)
            if recipe["family"] in WITHOUT_LEVEL:
                label = dataclasses.replace(
                    label, bad_unclear=True, state_unclear=True, generalized=False
                )
            cases.append(Case(name, analyses[name], recipe, outcome, label, best_train(kin)))
    return cases


def freeze(folder: Path, names: Sequence[str], cases: Sequence[Case], path: Path) -> None:
    """Write some generated runs, with their labels, to one small file."""
    chosen = {case.name: case for case in cases if case.name in names}
    runs = {}
    for name, case in chosen.items():
        (arrays,) = store.read(folder / f"{name}.npz").values()
        known = json.loads(str(arrays["known"]))
        label = dataclasses.asdict(case.truth)
        label.pop("val_loss")
        known |= {"truth": label, "best_train": case.best_train}
        runs[name] = {**arrays, "known": np.array(json.dumps(known))}
    store.write(path, runs, small=True)


def thaw(path: Path) -> list[Case]:
    """Return the runs of a frozen file."""
    cases = []
    for name, arrays in store.read(path).items():
        analysis, known = store.unpack(name, arrays)
        outcome = known["outcome"]
        val = np.array(outcome["val_loss"][: outcome["snapshots"]], float)
        label = Truth(**known["truth"], val_loss=np.where(np.isfinite(val), val, np.inf))
        cases.append(Case(name, analysis, known["recipe"], outcome, label, known["best_train"]))
    return cases


@dataclass(frozen=True)
class Sweep:
    """The runs of one seed of a sweep, shallow to deep, and the depth that is enough."""

    name: str
    analyses: list[Analysis]
    enough: int


def load_sweeps(folder: Path, names: Iterable[str]) -> list[Sweep]:
    """Return the generated sweeps of some tasks, one for each seed.

    Enough is the smallest depth whose mean least validation loss over the seeds lies within two
    standard errors of a difference of the best depth's; the scatter is pooled over depths.
    """
    from studies.depth_plan import DEPTHS, SEEDS

    found = []
    for name in names:
        least = np.empty((len(DEPTHS), len(SEEDS)))
        for row, depth in enumerate(DEPTHS):
            for column, seed in enumerate(SEEDS):
                outcome = json.loads((folder / f"{name}-s{seed}-d{depth}.json").read_text())
                least[row, column] = np.nanmin(np.array(outcome["val_loss"][1:], dtype=float))
        means = least.mean(axis=1)
        scatter = float(np.sqrt(least.var(axis=1, ddof=1).mean()))
        noise = 2.0 * scatter * float(np.sqrt(2.0 / len(SEEDS)))
        enough = DEPTHS[int(np.flatnonzero(means <= means.min() + noise)[0])]
        for seed in SEEDS:
            analyses = []
            for depth in DEPTHS:
                with open_run(folder / f"{name}-s{seed}-d{depth}.h5") as run:
                    analyses.append(Analysis.of(run, Settings()))
            found.append(Sweep(f"{name}-s{seed}", analyses, enough))
    return found


def recorded_loss(case: Case, key: str) -> np.ndarray:
    """Return a loss of the window; the first minibatch mean is not there and is filled."""
    window = case.analysis.window
    values = np.array(case.outcome[key][window.first : window.stop], dtype=float)
    if len(values) > 1 and not np.isfinite(values[0]):
        values[0] = values[1]
    return np.where(np.isfinite(values), values, np.inf)
