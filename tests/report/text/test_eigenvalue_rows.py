"""A conjugate pair is one row, and nothing of the spectrum is lost by folding it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from koopscope.analysis.summary import summarized
from koopscope.report.text.eigenvalue_rows import Folded, folded, residual_level
from koopscope.report.text.spectrum import half_life_cell, residual_cell
from koopscope.report.text.terminal_style import Page
from koopscope.spectra.accumulating import gram_of
from koopscope.spectra.confidence import confidence
from koopscope.spectra.dmd import dmd
from koopscope.spectra.measured import MeasuredGram
from tests.known_systems import EIGENVALUES, trajectory


def rows_of(spacing_steps: float = 1.0):
    gram = gram_of(trajectory())
    spectrum = dmd(gram, rank=len(EIGENVALUES), spacing_steps=spacing_steps)
    return folded(summarized(spectrum))


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


@pytest.mark.parametrize(
    ("magnitude", "low", "high", "shown"),
    [
        (0.99, 100.0, 300.0, "69"),
        (0.99, 50.0, 300.0, "?"),
        (0.99, 20.0, math.inf, "?"),
        (1.02, 20.0, math.inf, "?"),
        (1.02, math.inf, math.inf, "grows"),
        (1.0, math.inf, math.inf, "∞"),
        (0.99, math.nan, math.nan, "?"),
    ],
)
def test_a_half_life_is_a_number_only_where_resamples_agree_on_it(magnitude, low, high, shown):
    life = math.log(2.0) / -math.log(magnitude) if magnitude < 1.0 else math.inf
    row = Folded(magnitude, False, math.inf, life, 0.1, 1.0, 0.01, 0.0, low, high)
    assert half_life_cell(row, Page()) == shown


def test_the_ends_of_a_half_life_are_those_of_the_interval():
    gram = gram_of(noisy())
    spectrum = dmd(gram, rank=2)
    judged = confidence(spectrum, MeasuredGram.of_all_weights(gram))
    known = judged.uncertainty
    low, high = summarized(spectrum, confidence=judged).half_life_bounds
    for end, magnitudes in ((low, known.magnitude_low), (high, known.magnitude_high)):
        expected = [math.log(2.0) / -math.log(m) if m < 1.0 else math.inf for m in magnitudes]
        np.testing.assert_allclose(end, expected)


def test_a_residual_that_cannot_be_told_has_a_dash_and_no_mark():
    assert residual_cell(math.nan, Page()).strip() == "–"
    assert residual_cell(0.02, Page()) == "0.020 ●"


def noisy() -> np.ndarray:
    rng = np.random.default_rng(0)
    t = np.arange(30)[:, None]
    moving = 0.9**t * rng.standard_normal(50) + 0.7**t * rng.standard_normal(50)
    return moving + 0.02 * rng.standard_normal((30, 50))
