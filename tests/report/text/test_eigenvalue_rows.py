"""A conjugate pair is one row, and nothing of the spectrum is lost by folding it."""

from __future__ import annotations

import numpy as np
import pytest

from koopscope.report.text.eigenvalue_rows import folded, residual_level
from koopscope.spectra.dmd import dmd
from koopscope.spectra.gram import gram_of
from tests.known_systems import EIGENVALUES, trajectory


def rows_of(spacing_steps: float = 1.0):
    gram = gram_of(trajectory())
    return folded(dmd(gram, rank=len(EIGENVALUES), spacing_steps=spacing_steps))


def test_real_eigenvalues_and_one_pair_give_five_rows():
    rows = rows_of()
    assert len(rows) == 5
    pair = next(row for row in rows if row.is_pair)
    assert abs(pair.value - 0.9 * np.exp(0.7j)) < 1e-9
    assert pair.period_steps == pytest.approx(2 * np.pi / 0.7)


def test_shares_add_up_and_come_in_order():
    rows = rows_of()
    assert sum(row.share for row in rows) == pytest.approx(1.0)
    assert [row.share for row in rows] == sorted((row.share for row in rows), reverse=True)


def test_half_lives_are_in_optimizer_steps():
    slow = max(rows_of(spacing_steps=50.0), key=lambda row: row.magnitude)
    assert slow.half_life_steps == pytest.approx(50.0 * np.log(2) / -np.log(0.97))


def test_the_scale_of_residuals_has_three_parts():
    residuals = (0.0, 0.09, 0.1, 0.49, 0.5, 3.0)
    assert [residual_level(residual) for residual in residuals] == [0, 0, 1, 1, 2, 2]
