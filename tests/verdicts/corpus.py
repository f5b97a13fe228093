"""The yardstick's runs as analyses with their labels, from generated files or the frozen subset."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from koopscope.analysis.analysis import Analysis, Settings
from koopscope.runs.detect.opening import open_run
from tests.verdicts.labels import Truth, best_train, truth


@dataclass(frozen=True)
class Case:
    """One run: what koopscope may see, and what became of it.

    ``chance`` and ``best_train`` bound its training loss: a constant answer, the best sibling.
    """

    name: str
    family: str
    analysis: Analysis
    outcome: Mapping[str, Any]
    truth: Truth
    chance: float
    best_train: float


def _outcomes(folder: Path, families: Sequence[str]) -> dict[str, dict[str, Any]]:
    found = {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}
    return {name: each for name, each in found.items() if each["recipe"]["family"] in families}


def load(folder: Path, families: Sequence[str]) -> list[Case]:
    """Return the generated runs of some families, analysed and labelled."""
    from tests.verdicts import tasks
    from tests.verdicts.plan import FAMILIES

    outcomes = _outcomes(folder, families)
    siblings: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for outcome in outcomes.values():
        siblings[outcome["recipe"]["family"], outcome["recipe"]["variant"]].append(outcome)
    known = {family: FAMILIES[family].task() for family in families}
    cases = []
    for name, outcome in outcomes.items():
        recipe = outcome["recipe"]
        family, variant = recipe["family"], recipe["variant"]
        chance = tasks.chance_level(tasks.vary(known[family], variant, recipe["seed"]))
        with open_run(folder / f"{name}.h5") as run:
            analysis = Analysis.of(run, Settings())
        kin = siblings[family, variant]
        label = truth(outcome, kin, chance)
        cases.append(Case(name, family, analysis, outcome, label, chance[0], best_train(kin)))
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
    from tests.verdicts.depth_plan import DEPTHS, SEEDS

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
    """Return a loss of the recorded half; the first minibatch mean is not there and is filled."""
    values = np.array(case.outcome[key][: case.outcome["snapshots"]], dtype=float)
    if not np.isfinite(values[0]) and len(values) > 1:
        values[0] = values[1]
    return np.where(np.isfinite(values), values, np.inf)
