"""The recorded losses over the steps, with the stop, the best weights, spikes and a plateau."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from koopscope._types import Float64
from koopscope.diagnostics.diagnosis import Diagnosis
from koopscope.report.figures.style import (
    BLUE,
    INK,
    ORANGE,
    VERMILION,
    nothing_to_show,
    plain_decades,
    thousands,
)
from koopscope.report.loss_marks import LossMark, loss_marks, plateau_of, recorded_losses

#: A loss that spans more than this has a logarithmic scale.
_WIDE = 10.0

#: Marks of one kind that the key names; further ones are drawn and not named.
_NAMED = 2

_CURVES = ((BLUE, "-"), (VERMILION, "--"), (INK, "-."))


def draw_losses(axes: Axes, diagnosis: Diagnosis) -> None:
    """Draw the recorded losses of a run and what its findings say about them."""
    axes.set_title("Recorded loss")
    axes.set_xlabel("optimizer step")
    axes.set_ylabel("loss")
    curves = recorded_losses(diagnosis)
    if not curves:
        nothing_to_show(axes, "no loss was recorded with the weights")
        return
    steps = diagnosis.analysis.description.steps.astype(float)
    if not any("loss" in name for name in curves):
        axes.set_ylabel("metric")
    for (name, values), (color, dash) in zip(curves.items(), _CURVES, strict=False):
        known = np.isfinite(values)  # given now and then: the line goes on between two values
        marker = "o" if known.sum() == 1 else ""
        axes.plot(steps[known], values[known], dash, color=color, marker=marker, label=name)
    set_scale(axes, list(curves.values()))
    stretch = plateau_of(diagnosis)
    if stretch is not None:
        axes.axvspan(*stretch, color=ORANGE, alpha=0.18, linewidth=0.0, label="plateau", zorder=0)
    _draw_marks(axes, loss_marks(diagnosis), steps, curves)
    thousands(axes.xaxis)
    axes.legend(loc="best")


def set_scale(axes: Axes, curves: Sequence[Float64]) -> None:
    """Give the axes a logarithmic scale where the losses span decades."""
    finite = np.concatenate([values[np.isfinite(values)] for values in curves])
    if len(finite) and finite.min() > 0.0 and finite.max() > _WIDE * finite.min():
        axes.set_yscale("log")
        plain_decades(axes.yaxis, *axes.get_ylim())


def _draw_marks(
    axes: Axes, marks: Sequence[LossMark], steps: Float64, curves: Mapping[str, Float64]
) -> None:
    """Draw what is pointed out: lines at steps to act on, signs on the curve for what happened."""
    named: Counter[str] = Counter()
    for mark in sorted(marks, key=lambda each: each.step):
        if mark.kind == "action" and mark.step >= steps[-1]:
            continue  # what starts from the last snapshot is no event in the run
        named[mark.kind] += 1
        label = mark.words if named[mark.kind] <= _NAMED else None
        values = curves.get(mark.curve or "")
        at = int(np.searchsorted(steps, mark.step))
        if values is None or at >= len(steps) or not np.isfinite(values[at]):
            dash = "-." if mark.kind == "stop" else ":"
            axes.axvline(mark.step, linestyle=dash, color=INK, linewidth=0.9, label=label)
            continue
        sign, color = ("^", ORANGE) if mark.kind == "spike" else ("o", VERMILION)
        axes.plot(
            [mark.step], [values[at]], sign, color=color, markeredgecolor=INK,
            markeredgewidth=0.6, markersize=4.5, label=label, zorder=4,
        )  # fmt: skip
