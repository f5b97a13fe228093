"""The recorded losses of a run and the steps on them that findings name: for pages and figures.

Collects what the findings say; computes and decides nothing of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from koopscope._types import Float64
from koopscope.diagnostics.diagnosis import Diagnosis
from koopscope.diagnostics.plateau import PlateauEvidence
from koopscope.diagnostics.spikes import SpikesEvidence
from koopscope.runs.names import TRAINING_LOSSES, VALIDATION_LOSSES

Kind = Literal["best", "stop", "spike", "action"]

#: Curves that are drawn over each other at most.
_MOST_CURVES = 3

#: The finding plateau looks at the last part of a run of this size.
_PLATEAU_PART = 0.25


@dataclass(frozen=True)
class LossMark:
    """A step that is pointed out.

    Attributes
    ----------
    step
        The optimizer step.
    kind
        ``best`` weights to keep, an early ``stop``, the peak of a ``spike``, or where an ``action``
        of a finding starts from.
    words
        What to write beside it.
    curve
        The recorded loss that it is a point of; ``None`` where it is a step alone.
    """

    step: int
    kind: Kind
    words: str
    curve: str | None = None


def recorded_losses(diagnosis: Diagnosis) -> dict[str, Float64]:
    """Return the recorded losses by name, float64 [T] with NaN where no value was given.

    The training and the validation loss by their usual names, and the metric that decides which
    weights are best; none of them where none was recorded.
    """
    run = diagnosis.analysis.description
    best = () if diagnosis.keep is None else (diagnosis.keep.choice.name,)
    found: dict[str, Float64] = {}
    for name in dict.fromkeys((*TRAINING_LOSSES, *VALIDATION_LOSSES, *best)):
        values = run.metrics.get(name)
        if values is not None and np.isfinite(values).any():
            found[name] = np.asarray(values, float)
    return dict(list(found.items())[:_MOST_CURVES])


def loss_marks(diagnosis: Diagnosis) -> list[LossMark]:
    """Return the steps that findings name, each once; the first to name a step has it."""
    best = diagnosis.keep
    marks: dict[int, LossMark] = {}
    if best is not None:
        name = best.choice.name
        marks[best.step] = LossMark(best.step, "best", f"best {name}: {best.step:,}", name)
    for finding in diagnosis.findings:
        stop = finding.evidence.get("stop_step")
        if stop is not None and finding.evidence.judged_state != "diverging":
            marks.setdefault(stop, LossMark(stop, "stop", f"could stop: {stop:,}"))
        step = finding.action.step
        if step is not None:
            marks.setdefault(step, LossMark(step, "action", f"{finding.id}: {step:,}"))
        if isinstance(finding.evidence, SpikesEvidence):
            curve = finding.evidence.metric
            for peak in (spike.peak_step for spike in finding.evidence.spikes):
                marks.setdefault(peak, LossMark(peak, "spike", f"spike: {peak:,}", curve))
    return list(marks.values())


def plateau_of(diagnosis: Diagnosis) -> tuple[int, int] | None:
    """Return the first and last step of the stretch that the finding plateau calls one."""
    for finding in diagnosis.findings:
        evidence = finding.evidence
        if isinstance(evidence, PlateauEvidence) and evidence.state == "plateau":
            window = diagnosis.analysis.window
            steps = diagnosis.analysis.description.steps[window.first : window.stop]
            first = int((1.0 - _PLATEAU_PART) * (len(steps) - 1))
            return int(steps[first]), int(steps[-1])
    return None
