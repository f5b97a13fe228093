"""How much improvement lies ahead, snapshot by snapshot, and where the run could have stopped."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from koopscope.diagnostics.convergence import ConvergenceEvidence
from koopscope.diagnostics.diagnosis import Diagnosis
from koopscope.diagnostics.statistics.stopping import GAIN_FLOOR
from koopscope.report.figures.style import COLORS, FAINT, INK, new_figure, nothing_to_show, run_name


def figure(diagnosis: Diagnosis) -> Figure:
    """Draw the picture: the rule's score against its threshold below, its meaning above."""
    picture = new_figure(5.2)
    upper, lower = picture.subplots(2, 1, sharex=True)
    upper.set_title("Predicted improvement still ahead")
    upper.set_ylabel("% of the improvement")
    upper.set_xlabel("optimizer step")
    lower.set_title("Stop rule")
    lower.set_ylabel("score")
    lower.set_xlabel("optimizer step")
    picture.suptitle(f"Convergence of {run_name(diagnosis.analysis)}", fontsize=10)
    finding = next((each for each in diagnosis.findings if each.id == "convergence"), None)
    evidence = finding.evidence if finding is not None else None
    if not isinstance(evidence, ConvergenceEvidence) or evidence.stop_rule is None:
        for axes in (upper, lower):
            nothing_to_show(axes, finding.message if finding is not None else "not asked")
        return picture
    history, rule = evidence.stop_history, evidence.stop_rule
    steps = [point.step for point in history]
    ahead = 100.0 * np.array([point.statistic for point in history])
    bounds = 100.0 * np.array([point.interval for point in history])
    floor = 100.0 * GAIN_FLOOR / 5.0
    band = np.maximum(bounds, floor).T
    upper.fill_between(steps, band[0], band[1], color=FAINT, alpha=0.4, linewidth=0.0)
    upper.plot(steps, np.maximum(ahead, floor), color=COLORS[0], label="predicted; band: 90%")
    upper.set_yscale("log")
    upper.set_ylim(0.8 * floor, 130.0)
    upper.yaxis.set_major_formatter("{x:g}")
    upper.tick_params(labelbottom=True)
    lower.plot(steps, [point.score for point in history], color=COLORS[0])
    lower.axhline(rule.threshold, color=INK, linestyle="--", linewidth=0.9)
    lower.set_title(f"Stop rule, from {rule.source}: stop below {rule.threshold:.2f}")
    waiting = [p for p in history if p.score < rule.threshold and not p.allowed]
    if waiting:
        lower.plot(
            [point.step for point in waiting],
            [point.score for point in waiting],
            "o",
            color=COLORS[1],
            markerfacecolor="none",
            markersize=4.0,
            label="below, but waits: validation loss had a new best lately",
        )
        lower.legend(loc="upper right")
    if evidence.stop_step is not None:
        for axes in (upper, lower):
            axes.axvline(evidence.stop_step, color=COLORS[4], linestyle="-.")
        upper.plot([], [], color=COLORS[4], linestyle="-.", label=f"stop: {evidence.stop_step:,}")
    # Beside the title: the curve may be anywhere below it.
    upper.legend(loc="lower right", bbox_to_anchor=(1.0, 0.98), ncols=2)
    return picture
