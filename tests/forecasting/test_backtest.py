"""Scores of past forecasts, and how far they let one trust the next."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from koopscope.forecasting.backtest import FORECAST, Backtest

NAN = np.nan


def made(errors):
    """A test of horizons 1, 5, 10, 20 from as many moments as there are rows."""
    table = np.array(errors, dtype=float)
    return Backtest(
        np.arange(len(table)),
        np.array([1, 5, 10, 20])[: table.shape[1]],
        np.where(np.isnan(table), NAN, 1.0),
        {FORECAST: table},
    )


def test_a_score_is_over_the_moments_that_tested_it():
    test = made([[0.2, 0.5], [0.4, NAN], [1.6, NAN]])
    score = test.score(FORECAST, 0)
    assert score.median == pytest.approx(0.4)
    assert score.low < 0.4 < score.high
    assert score.better == pytest.approx(2 / 3)
    assert (test.tested(0), test.tested(1)) == (3, 1)


def test_what_nothing_tested_has_no_score():
    assert made([[0.5, NAN]] * 3).score(FORECAST, 1) is None


def test_trust_ends_before_the_first_horizon_that_fails():
    good, bad = [0.5] * 4, [0.5, 0.5, 1.5, 0.5]
    assert made([good] * 5).reach() == 20
    assert made([bad] * 5).reach() == 5
    assert made([good] * 4 + [bad]).reach() == 20  # one of five may fail


def test_shorter_horizons_than_the_question_need_not_pass():
    noisy = made([[1.4, 0.5, 0.5, 0.6]] * 6)
    assert noisy.reach() == 0
    assert noisy.reach(shortest=5) == 20


def test_a_forecast_that_is_hardly_better_than_no_change_is_not_trusted():
    poor = made([[0.5, 0.97, 0.6]] * 6)
    assert poor.score(FORECAST, 1).better == 1.0
    assert poor.reach() == 1
    assert replace(poor, max_error=1.0).reach() == 10
    assert replace(poor, max_error=0.4).reach() == 0


def test_two_moments_are_too_few_to_trust():
    assert made([[0.1, 0.1]] * 2).reach() == 0
    assert made([[0.1, 0.1]] * 3).reach() == 5


def test_a_forecast_that_overflows_is_wrong_not_unknown():
    test = made([[0.5]] * 4 + [[np.inf]] * 6)
    assert test.score(FORECAST, 0).better == pytest.approx(0.4)
