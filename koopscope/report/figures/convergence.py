"""How much improvement lies ahead, snapshot by snapshot, and where the run could have stopped."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from koopscope.diagnostics.convergence import ConvergenceEvidence, StopThreshold
from koopscope.diagnostics.diagnosis import Diagnosis
from koopscope.diagnostics.finding import Finding
from koopscope.diagnostics.statistics.stopping import GAIN_FLOOR
from koopscope.report.figures.style import (
    BLUE,
    FAINT,
    INK,
    ORANGE,
    entitle,
    nothing_to_show,
    panels,
    run_name,
    thousands,
)

#: Improvement below this, in percent, is drawn at the lower edge: it cannot be told from none.
_FLOOR = 100.0 * GAIN_FLOOR / 5.0


def figure(diagnosis: Diagnosis) -> Figure:
    """Draw the picture: what the rule predicts, and its score against its threshold."""
    picture, (ahead, rule) = panels(2, 2.1)
    draw_ahead(ahead, diagnosis)
    _draw_rule(rule, diagnosis)
    entitle(picture, f"Convergence of {run_name(diagnosis.analysis)}")
    return picture


def draw_ahead(axes: Axes, diagnosis: Diagnosis) -> None:
    """Draw the improvement that is still ahead, as predicted at every snapshot."""
    found = convergence_of(diagnosis)
    draw_history(axes, found)


def draw_history(axes: Axes, finding: Finding | None) -> None:
    """Draw the improvement still ahead that a finding on convergence rests on."""
    axes.set_title("Improvement still ahead")
    axes.set_ylabel("% of the improvement")
    axes.set_xlabel("optimizer step")
    evidence, _ = _rule_of(finding)
    if evidence is None:
        nothing_to_show(axes, _why(finding))
        return
    steps = [point.step for point in evidence.stop_history]
    ahead = 100.0 * np.array([point.statistic for point in evidence.stop_history])
    band = 100.0 * np.array([point.interval for point in evidence.stop_history])
    low, high = np.maximum(band, _FLOOR).T
    axes.fill_between(steps, low, high, color=FAINT, alpha=0.4, linewidth=0.0, label="90% interval")
    axes.plot(steps, np.maximum(ahead, _FLOOR), color=BLUE, label="predicted")
    axes.set_yscale("log")
    axes.set_ylim(0.8 * _FLOOR, 130.0)
    axes.yaxis.set_major_formatter("{x:g}")
    _draw_stop(axes, evidence)
    axes.legend(loc="best")


def _draw_rule(axes: Axes, diagnosis: Diagnosis) -> None:
    axes.set_title("Stop rule")
    axes.set_ylabel("score")
    axes.set_xlabel("optimizer step")
    finding = convergence_of(diagnosis)
    evidence, rule = _rule_of(finding)
    if evidence is None or rule is None:
        nothing_to_show(axes, _why(finding))
        return
    history = evidence.stop_history
    axes.plot([point.step for point in history], [point.score for point in history], color=BLUE)
    axes.axhline(
        rule.threshold, color=INK, linestyle="--", linewidth=0.9,
        label=f"stop below {rule.threshold:.2f}",
    )  # fmt: skip
    axes.set_title(f"Stop rule, from {rule.source}")
    waiting = [p for p in history if p.score < rule.threshold and not p.allowed]
    if waiting:
        axes.plot(
            [point.step for point in waiting],
            [point.score for point in waiting],
            "o",
            color=ORANGE,
            markerfacecolor="none",
            markersize=3.5,
            label="waits: a new best lately",
        )
    _draw_stop(axes, evidence)
    axes.legend(loc="best")


def _draw_stop(axes: Axes, evidence: ConvergenceEvidence) -> None:
    stop = evidence.stop_step
    if stop is not None:
        axes.axvline(stop, color=INK, linestyle="-.", linewidth=0.9, label=f"could stop: {stop:,}")
    thousands(axes.xaxis)


def convergence_of(diagnosis: Diagnosis) -> Finding | None:
    """Return the finding on convergence, ``None`` where it was not asked for."""
    return next((each for each in diagnosis.findings if each.id == "convergence"), None)


def _rule_of(finding: Finding | None) -> tuple[ConvergenceEvidence | None, StopThreshold | None]:
    """Return what a finding rests on, ``None`` where there is no stop rule in it."""
    evidence = finding.evidence if finding is not None else None
    if not isinstance(evidence, ConvergenceEvidence) or evidence.stop_rule is None:
        return None, None
    return evidence, evidence.stop_rule


def _why(finding: Finding | None) -> str:
    return finding.message if finding is not None else "not asked"
