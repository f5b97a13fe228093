"""The benchmark of truncation rules runs, and its rules err as they should on a known motion."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.rank_rules import RULES
from koopscope.spectra.accumulating import gram_of
from koopscope.spectra.reduction import reduce
from koopscope.spectra.series import Series
from tests.recorded import recorded

REPOSITORY = Path(__file__).parents[2]


def decay(snapshots: int) -> np.ndarray:
    """Return weights that settle along two directions: a law of rank 2 predicts them exactly."""
    vectors = np.linalg.qr(np.random.default_rng(0).standard_normal((40, 2)))[0]
    return (np.array([0.9, 0.7])[:, None] ** np.arange(snapshots)).T @ vectors.T


LINE = "straight line through the last 5"


def test_a_straight_line_goes_on_with_the_mean_of_the_last_increments() -> None:
    path, (m, horizon) = decay(25), (15, 8)
    gram = gram_of(path)
    reduction = reduce(Series("increments", gram.increments, gram.size), m)
    line = (path[m + 1] - path[m - 4]) * horizon / 5.0
    true = path[m + 1 + horizon] - path[m + 1]
    expected = np.linalg.norm(line - true) / np.linalg.norm(true)
    found = RULES[LINE](gram.increments, reduction, gram.size, horizon)
    assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", [name for name in RULES if name != LINE])
def test_every_other_rule_predicts_a_decay_of_rank_two(name: str) -> None:
    gram = gram_of(decay(25))
    series = Series("increments", gram.increments, gram.size)
    error = RULES[name](gram.increments, reduce(series, 15), gram.size, 8)
    assert error < 1e-3


def test_the_tables_of_a_folder_of_runs_are_printed(tmp_path: Path) -> None:
    path = decay(50) + 1e-3 * np.random.default_rng(1).standard_normal((50, 40))
    recorded(tmp_path / "made-0.h5", {"w": path})
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.rank_rules", str(tmp_path)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "held out families, 16 increments, 8 ahead, 4 windows" in done.stdout
    rows = [line for line in done.stdout.splitlines() if line.startswith("| auto")]
    assert len(rows) == 1 + 1, done.stdout
    assert all("nan" not in row for row in rows)
