"""How much improvement lies ahead, snapshot by snapshot, and where the run could have stopped."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from koopscope.diagnostics.convergence import GAIN_FLOOR
from koopscope.diagnostics.diagnosis import Diagnosis
from koopscope.report.figures.style import COLORS, FAINT, INK, new_figure, nothing_to_show, run_name


def figure(diagnosis: Diagnosis) -> Figure:
    """Draw the picture: the rule's score against its threshold below, its meaning above."""
    picture = new_figure(5.2)
    upper, lower = picture.subplots(2, 1, sharex=True)
    upper.set_title("Predicted improvement still ahead, from the weights")
    upper.set_ylabel("% of the improvement")
    upper.set_xlabel("optimizer step")
    lower.set_title("Stop rule")
    lower.set_ylabel("score")
    lower.set_xlabel("optimizer step")
    picture.suptitle(f"Convergence of {run_name(diagnosis.analysis)}", fontsize=10)
    found = next((each for each in diagnosis.findings if each.id == "convergence"), None)
    history = found.evidence["stop_history"] if found is not None else []
    if found is None or not history:
        for axes in (upper, lower):
            nothing_to_show(axes, found.message if found is not None else "not asked")
        return picture
    evidence = found.evidence
    steps = [entry["step"] for entry in history]
    ahead = 100.0 * np.array([entry["statistic"] for entry in history])
    bounds = 100.0 * np.array([entry["interval"] for entry in history])
    floor = 100.0 * GAIN_FLOOR / 5.0
    band = np.maximum(bounds, floor).T
    upper.fill_between(steps, band[0], band[1], color=FAINT, alpha=0.4, linewidth=0.0)
    upper.plot(steps, np.maximum(ahead, floor), color=COLORS[0], label="predicted; band: 80%")
    upper.set_yscale("log")
    upper.set_ylim(0.8 * floor, 130.0)
    upper.yaxis.set_major_formatter("{x:g}")
    upper.tick_params(labelbottom=True)
    lower.plot(steps, [entry["score"] for entry in history], color=COLORS[0])
    rule = evidence["stop_rule"]
    lower.axhline(rule["threshold"], color=INK, linestyle="--", linewidth=0.9)
    lower.set_title(f"Stop rule, from {rule['from']}: stop below {rule['threshold']:.2f}")
    waiting = [e for e in history if e["score"] < rule["threshold"] and not e["allowed"]]
    if waiting:
        lower.plot(
            [entry["step"] for entry in waiting],
            [entry["score"] for entry in waiting],
            "o",
            color=COLORS[1],
            markerfacecolor="none",
            markersize=4.0,
            label="below, but waits: validation loss not its lowest of three",
        )
        lower.legend(loc="upper right")
    if evidence["stop_step"] is not None:
        for axes in (upper, lower):
            axes.axvline(evidence["stop_step"], color=COLORS[4], linestyle="-.")
        upper.plot(
            [], [], color=COLORS[4], linestyle="-.", label=f"stop: {evidence['stop_step']:,}"
        )
    # Beside the title: the curve may be anywhere below it.
    upper.legend(loc="lower right", bbox_to_anchor=(1.0, 0.98), ncols=2)
    return picture
