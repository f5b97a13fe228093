"""docs/evidence/forecasting.md says what the committed studies found; the guide's Python runs."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from studies.forecasting import summary

REPOSITORY = Path(__file__).parents[2]
GUIDE = (REPOSITORY / "docs" / "guide" / "forecasting.md").read_text(encoding="utf-8")
EVIDENCE = (REPOSITORY / "docs" / "evidence" / "forecasting.md").read_text(encoding="utf-8")


def test_the_tables_are_made_of_the_study_s_rows():
    for line in summary.tables().splitlines():
        assert line in EVIDENCE


def test_the_study_is_of_every_run_that_it_names():
    tests = summary.read("backtests")
    for split in ("tuning", "held out"):
        for group, count in zip(summary.SETS, (42, 42, 190), strict=True):
            runs = {row["run"] for row in tests if (row["set"], row["split"]) == (group, split)}
            assert len(runs) >= count
    families = {row["run"].rsplit("-", 3)[0] for row in tests if row["set"] != "yardstick"}
    assert len(families) == 14


def test_the_median_over_healthy_held_out_runs_is_within_the_aim_and_below_both_baselines():
    tests = summary.read("backtests")
    for horizon in summary.HORIZONS:
        found = [
            row
            for group in summary.SETS[:2]
            for row in summary.chosen(tests, group, "held out", horizon)
        ]
        median = {name: np.median(summary.errors(found, name)) for name in summary.METHODS}
        assert median["forecast"] < min(median["straight line"], median["exponential average"])
        if horizon == 10:
            assert median["forecast"] <= 0.40


def test_the_call_from_python(monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    (block,) = re.findall(r"```python\n(import koopscope\n\nprediction.*?)```", GUIDE, re.DOTALL)
    space: dict[str, object] = {}
    exec(block, space)
    prediction = space["prediction"]
    shapes = {name: weights.shape for name, weights in prediction.weights.items()}
    assert shapes["head.weight"] == (10, 32)
    assert len(shapes) == 6
    assert prediction.forecast.verdict in re.sub(r"\s+", " ", GUIDE)
