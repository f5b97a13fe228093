"""The pictures of the verdicts show what the findings say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from koopscope.diagnostics.diagnosis import analyze
from koopscope.report.figures import convergence, depth_sweep, start
from koopscope.report.figures.style import styled

RUNS = Path(__file__).parents[2] / "sample_runs"


def test_the_stop_is_drawn_where_the_finding_has_it():
    diagnosis = analyze(RUNS / "past_convergence.h5")
    with styled():
        upper, lower = convergence.figure(diagnosis).axes
    evidence = diagnosis.finding("convergence").evidence
    for axes in (upper, lower):
        assert evidence["stop_step"] in [
            line.get_xdata()[0] for line in axes.lines if len(line.get_xdata())
        ]
    score = [entry["score"] for entry in evidence["stop_history"]]
    assert lower.lines[0].get_ydata() == pytest.approx(score)


def test_the_map_of_the_beginning_has_a_row_per_matrix_and_marks_the_responsible():
    with styled():
        axes = start.figure(analyze(RUNS / "dead_init.h5")).axes[0]
    rows = np.asarray(axes.images[0].get_array())
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert rows.shape == (3, 7)
    assert all("(frozen)" in name for name in names)


def test_the_sweep_shows_every_depth():
    sweep = {
        "runs": [{"depth": d, "excess": e} for d, e in ((1, 1.0), (2, 0.2), (3, 0.0))],
        "suggested_depth": 2,
        "tolerance": 0.35,
        "method": "recorded losses",
    }
    with styled():
        axes = depth_sweep.figure(sweep).axes[0]
    assert axes.lines[0].get_xdata().tolist() == [1, 2, 3]
    assert axes.lines[2].get_xdata()[0] == 2
