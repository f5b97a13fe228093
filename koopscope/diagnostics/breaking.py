"""Tells whether weights that became NaN or infinite had grown before, or broke off suddenly.

Decides nothing about the run; several questions answer with it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from koopscope.analysis.analysis import Analysis
from koopscope.diagnostics.action import Action, lower_rate
from koopscope.diagnostics.statistics.trajectory import trained_network

#: The weights grew before they broke if they moved this many times faster than usual at the end,
#: or, where too few intervals are left for a usual one, if their norm rose by so much. An unstable
#: step size multiplies the increments at every step: the sample run gives 1e19.
FASTER = 3.0
_LAST = 2
_FEW = 4


@dataclass(frozen=True)
class Break:
    """The end of the finite stretch.

    Attributes
    ----------
    step, next_step
        Of the last finite snapshot, and of the one after it.
    norm_before, norm
        Of the network at the last two snapshots of the window; the same where it has only one.
    grew
        Whether the weights moved ever faster before.
    """

    step: int
    next_step: int
    norm_before: float
    norm: float
    grew: bool

    @property
    def message(self) -> str:
        """What happened, as the first part of a sentence."""
        if self.grew:
            return f"The weights grew until they became NaN or infinite, after step {self.step}"
        return (
            f"The weights became NaN or infinite between steps {self.step} and {self.next_step} "
            f"without growing first: their norm was {self.norm_before:.4g} and {self.norm:.4g} in "
            "the last two snapshots before"
        )

    @property
    def hint(self) -> str:
        """What to do about it."""
        if self.grew:
            return "lower the learning rate or clip gradients"
        return (
            "look at the steps between: a corrupt sample, log or division of 0, an overflow in "
            "float16; the last finite snapshot can be trained on from"
        )

    @property
    def action(self) -> Action:
        """The same for programs."""
        return lower_rate() if self.grew else Action("restore", step=self.step)


def break_of(analysis: Analysis) -> Break | None:
    """Return how the window ended, ``None`` where it did not end in weights that are not finite."""
    network = trained_network(analysis) if analysis.breaks_off else None
    if network is None:
        return None
    norms = np.sqrt(np.maximum(np.diagonal(network.raw()), 0.0))
    speeds = network.speeds()
    if len(speeds) < _FEW:
        grew = len(norms) > 1 and bool(norms[-1] > FASTER * norms[0])
    else:
        usual = float(np.median(speeds))
        grew = bool(speeds[-_LAST:].max() > FASTER * usual)
    finite = np.logical_and.reduce(
        [analysis.nonfinite(t.name) == 0 for t in analysis.finite_tensors]
    )
    first_bad = analysis.window.stop + int(np.argmin(finite[analysis.window.stop :]))
    steps = analysis.description.steps
    return Break(
        step=int(steps[first_bad - 1]),
        next_step=int(steps[first_bad]),
        norm_before=float(norms[max(0, len(norms) - 2)]),
        norm=float(norms[-1]),
        grew=grew,
    )
