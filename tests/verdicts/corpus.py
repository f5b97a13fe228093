"""The yardstick's runs as analyses with their labels, from generated files or the frozen subset."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from koopscope.analysis import Analysis, Settings
from koopscope.runs.opening import open_run
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


def recorded_loss(case: Case, key: str) -> np.ndarray:
    """Return a loss of the recorded half; the first minibatch mean is not there and is filled."""
    values = np.array(case.outcome[key][: case.outcome["snapshots"]], dtype=float)
    if not np.isfinite(values[0]) and len(values) > 1:
        values[0] = values[1]
    return np.where(np.isfinite(values), values, np.inf)
