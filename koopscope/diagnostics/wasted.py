"""Which share of the budget brought nothing: what was trained after the run could have stopped.

Looks back, so it may see the whole run: the recorded loss says whether anything was still gained
after the stop that convergence calls. Does not call a stop itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from koopscope.analysis.analysis import Analysis
from koopscope.diagnostics.action import Action
from koopscope.diagnostics.evidence import StatedEvidence, shown_with
from koopscope.diagnostics.finding import Criterion, Diagnostic, Explanation, Finding, usable
from koopscope.diagnostics.statistics.loss_curve import LossCurve, training_curve, validation_curve

State = Literal["none", "wasted", "inconclusive"]

LEAST_SNAPSHOTS = 12

#: Share of the budget from which on a run is called wasteful.
WASTED = 0.5

#: Less than this part of all that was gained counts as nothing.
NOTHING = 0.005


@dataclass(frozen=True)
class WastedEvidence(StatedEvidence):
    """What the answer rests on.

    Attributes
    ----------
    stop_step
        Where convergence says that the run could have stopped.
    gained_until
        Step from which on the metric was never better by more than ``tolerance``.
    metric
        That says so: the validation metric, or the training loss; ``None`` where none is recorded.
    useful_until
        The later of the two.
    share
        Of the budget that came after it.
    tolerance
        Part of the gain that counts as nothing.
    """

    state: State = "inconclusive"
    stop_step: int | None = None
    gained_until: int | None = field(default=None, metadata=shown_with("metric"))
    metric: str | None = field(default=None, metadata=shown_with("metric"))
    useful_until: int | None = None
    share: float | None = field(default=None, metadata=shown_with("share"))
    tolerance: float = NOTHING


def ask(analysis: Analysis) -> Finding:
    """Answer from the recorded losses alone: where nothing is known of a stop."""
    return ask_after(analysis, {})


def ask_after(analysis: Analysis, earlier: Mapping[str, Finding]) -> Finding:
    """Measure what came after the stop that the finding on convergence calls."""
    steps = analysis.description.steps[analysis.window.first : analysis.window.stop]
    if len(steps) < LEAST_SNAPSHOTS:
        return DIAGNOSTIC.finding(
            "inconclusive",
            f"{usable(len(steps))} too few to say what was wasted: it takes {LEAST_SNAPSHOTS}.",
            WastedEvidence(),
            action=Action("record_more", count=LEAST_SNAPSHOTS),
        )
    convergence = earlier.get("convergence")
    stop = None if convergence is None else convergence.evidence.get("stop_step")
    curve = validation_curve(analysis) or training_curve(analysis)
    gained = None if curve is None else gained_until(curve)
    known = [int(step) for step in (stop, gained) if step is not None]
    if convergence is None and not known:
        return DIAGNOSTIC.finding(
            "inconclusive", "Neither a stop nor a loss is known to measure by.", WastedEvidence()
        )
    # Where convergence was asked and sees no stop, the run was still under way.
    none = convergence is not None and stop is None
    useful = int(steps[-1]) if none else max(known)
    share = float(steps[-1] - useful) / max(1.0, float(steps[-1] - steps[0]))
    evidence = WastedEvidence(
        state="wasted" if share >= WASTED else "none",
        stop_step=stop,
        gained_until=gained,
        metric=None if curve is None else curve.choice.name,
        useful_until=useful,
        share=share,
    )
    return _verdict(evidence, int(steps[0]))


def gained_until(curve: LossCurve) -> int:
    """Return the step from which on a curve never got better by more than next to nothing."""
    if not curve.gain:
        return int(curve.steps[0])
    near = curve.smooth <= float(curve.smooth.min()) + NOTHING * curve.gain
    return int(curve.steps[int(np.argmax(near))])


def _verdict(evidence: WastedEvidence, first: int) -> Finding:
    share, useful = evidence.share or 0.0, evidence.useful_until
    if share <= 0.0 and evidence.stop_step is None:
        message = "Nothing was wasted: there is no step at which the run could have stopped."
    elif share <= 0.0:
        message = "Nothing was wasted: the run was still getting better at the end."
    else:
        seen = (
            f"{evidence.metric} got better by less than {NOTHING:.1%} of its gain since."
            if evidence.metric is not None
            else "judged by the weights alone, since no loss was recorded."
        )
        message = f"{share:.0%} of the budget came after it could stop at step {useful}: {seen}"
        if evidence.stop_step is not None and evidence.stop_step < (useful or 0):
            # Convergence names another step on the same screen: say why, and which one counts.
            message += (
                f" Convergence calls the stop at step {evidence.stop_step} already, from what was "
                f"known there; looking back, yet more was still gained until step {useful}."
            )
    wasteful = evidence.state == "wasted"
    return DIAGNOSTIC.finding(
        "warn" if wasteful else "pass",
        message,
        evidence,
        value=share,
        hint="or lower the rate there, to gain more from the same budget" if wasteful else None,
        action=Action("stop", step=useful) if wasteful else Action(),
        criterion=Criterion(
            f"less than {WASTED:.0%} of the budget after the run could have stopped",
            f"{share:.0%} after step {useful}" if share > 0.0 else "nothing",
            of_value=True,
        ),
    )


DIAGNOSTIC = Diagnostic(
    id="wasted",
    code="KS105",
    title="Wasted budget",
    explanation=Explanation(
        asks="Which share of the budget was trained after the run could have stopped?",
        matters="That share is time and money for nothing, and the next run can be shorter.",
        looks_at=(
            "The stop step of the finding on convergence, and the recorded validation metric "
            "(else the training loss): the later of the stop and of the last step at which the "
            f"smoothed metric still got better by {NOTHING:.1%} of all it gained. What comes "
            "after is counted."
        ),
        to_do="Stop there next time; lower the rate there to gain more from the same budget.",
        accuracy=(
            "On runs of six held-out families it called the budget wasted 8 times in 36; stopping "
            "there cost at most 0.4% of the validation gain: docs/evidence/rules.md."
        ),
        cannot_tell=(
            "It looks back over the whole run: while a run is still going, the finding on "
            "convergence is the one to stop by. Without a recorded loss it is as good as the "
            "stop step."
        ),
    ),
    ask=ask,
    ask_after=ask_after,
    unit="of the budget",
    threshold=WASTED,
)
