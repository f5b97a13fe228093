"""What several runs say together: which one is best, and how many layers are enough.

Ranks runs by what each of them recorded; judges none of them anew.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from koopscope.analysis.metric_choice import (
    Better,
    MetricChoice,
    shared_choice,
    training_choice,
)
from koopscope.diagnostics import depth
from koopscope.diagnostics.convergence import ConvergenceEvidence
from koopscope.diagnostics.diagnosis import Diagnosis
from koopscope.diagnostics.initialization import InitializationEvidence

#: States of a run, the better ones first: the order where no metric can tell.
STATES = ("converged", "training", "inconclusive", "stalled", "diverging")

#: Where a learning rate may stand in a run's metadata.
_RATES = ("lr", "learning_rate", "rate")

#: Different rates from which on the best of them may lie at an end.
_LEAST_RATES = 3


@dataclass(frozen=True)
class RankedRun:
    """One of several runs.

    Attributes
    ----------
    rank, path
        1 is the best; and its file.
    state
        Of the finding convergence.
    value, step, last
        The best value of the metric that ranks, its step, and the last value; ``None`` without one.
    restart_score
        Of the finding initialization, in [0, 1], higher is worse; ``None`` where it cannot tell.
    rate
        The largest recorded learning rate; ``None`` where none is recorded.
    do
        What to do with this run, in words; empty where there is nothing.
    """

    rank: int
    path: str
    state: str
    value: float | None
    step: int | None
    last: float | None
    restart_score: float | None
    rate: float | None
    do: str


@dataclass(frozen=True)
class Ranking:
    """Several runs, the best one first.

    Attributes
    ----------
    by, better
        The metric that ranks, and on which side it is better; ``None`` where the runs share none,
        and the states and the restart scores rank.
    runs
        The best one first.
    sentence
        What it comes to.
    """

    by: str | None
    better: Better | None
    runs: tuple[RankedRun, ...]
    sentence: str

    def plain(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self)


def sweep_of(diagnoses: Sequence[Diagnosis]) -> dict[str, Any] | None:
    """Return what several runs say together as JSON has it; ``None`` of fewer than two runs.

    ``kind`` is ``depth`` where they differ in depth, and the keys of ``depth.sweep`` stand beside
    the ``ranking``; otherwise it is ``runs``.
    """
    ranked = ranking(diagnoses)
    if ranked is None:
        return None
    of_depth = depth.sweep([diagnosis.analysis for diagnosis in diagnoses])
    return {**(of_depth or {"kind": "runs"}), "ranking": ranked.plain()}


def ranking(diagnoses: Sequence[Diagnosis]) -> Ranking | None:
    """Return runs in order, the best one first; ``None`` of fewer than two.

    The best value of the validation metric ranks them, or else of the training loss, where no two
    runs recorded different ones; runs without a value come last.
    """
    if len(diagnoses) < 2:
        return None
    choice = shared_choice([_validation(each) for each in diagnoses])
    choice = choice or shared_choice([_training(each) for each in diagnoses])
    rows = sorted((_row(each, choice) for each in diagnoses), key=lambda row: _order(row, choice))
    runs = tuple(replace(row, rank=k) for k, row in enumerate(rows, start=1))
    return Ranking(
        choice.name if choice is not None else None,
        choice.better if choice is not None else None,
        runs,
        _sentence(runs, choice),
    )


def _validation(diagnosis: Diagnosis) -> MetricChoice | None:
    return diagnosis.keep.choice if diagnosis.keep is not None else None


def _training(diagnosis: Diagnosis) -> MetricChoice | None:
    return training_choice(diagnosis.analysis.description.metrics)


def _row(diagnosis: Diagnosis, choice: MetricChoice | None) -> RankedRun:
    value, step, last = _best(diagnosis, choice)
    return RankedRun(
        rank=0,
        path=diagnosis.analysis.description.path,
        state=_state(diagnosis),
        value=value,
        step=step,
        last=last,
        restart_score=_restart_score(diagnosis),
        rate=learning_rate(diagnosis),
        do=diagnosis.next.line,
    )


def _best(
    diagnosis: Diagnosis, choice: MetricChoice | None
) -> tuple[float | None, int | None, float | None]:
    """Return the best value of the metric, its step, and the last one."""
    best, run = diagnosis.keep, diagnosis.analysis.description
    if choice is None:
        return None, None, None
    if best is not None and best.choice.name == choice.name:
        return best.value, best.step, best.last
    found = choice.best_of(run)
    return (None, None, None) if found is None else (found.value, found.step, found.last)


def _state(diagnosis: Diagnosis) -> str:
    found = [each.evidence for each in diagnosis.findings]
    states = [each.state for each in found if isinstance(each, ConvergenceEvidence)]
    return states[0] if states else "inconclusive"


def _restart_score(diagnosis: Diagnosis) -> float | None:
    found = [each.evidence for each in diagnosis.findings]
    scores = [each.score for each in found if isinstance(each, InitializationEvidence)]
    return scores[0] if scores else None


def learning_rate(diagnosis: Diagnosis) -> float | None:
    """Return the largest learning rate that a run recorded, in its metrics or its metadata."""
    run = diagnosis.analysis.description
    recorded = np.asarray(run.metrics.get("lr", ()), float)
    recorded = recorded[np.isfinite(recorded)]
    if len(recorded):
        return float(recorded.max())
    for name in _RATES:
        value: object = run.metadata.get(name)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            continue
        if math.isfinite(value):
            return float(value)
    return None


def _order(row: RankedRun, choice: MetricChoice | None) -> tuple[bool, float, int, float]:
    """Return what runs are sorted by: the value, then the state, then the start."""
    value = 0.0
    if row.value is not None and choice is not None:
        value = row.value if choice.better == "min" else -row.value
    state = STATES.index(row.state) if row.state in STATES else len(STATES)
    score = row.restart_score if row.restart_score is not None else 0.5
    return choice is not None and row.value is None, value, state, score


def _sentence(runs: Sequence[RankedRun], choice: MetricChoice | None) -> str:
    best = runs[0]
    if choice is None or best.value is None or best.step is None:
        return (
            "The runs share no recorded metric, so their states and then their restart scores "
            f"rank them: {best.path} comes first."
        )
    side = "lowest" if choice.better == "min" else "highest"
    said = (
        f"{best.path} is the best of {len(runs)}: its {side} {choice.name} is {best.value:.4g}, "
        f"at step {best.step:,}"
    )
    rates = sorted({run.rate for run in runs if run.rate is not None})
    if len(rates) >= _LEAST_RATES and best.rate in (rates[0], rates[-1]):
        end = "lowest" if best.rate == rates[0] else "highest"
        said += f"; its learning rate {best.rate:g} is the {end}, so a better one may lie beyond"
    return f"{said}. That is a ranking only if all were measured on the same data."
