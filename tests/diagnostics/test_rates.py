"""Statistics of a recorded learning rate: how it changed, whatever its unit."""

from __future__ import annotations

import numpy as np
import pytest

from koopscope.diagnostics.statistics import rates
from koopscope.diagnostics.statistics.scores import TreeScore


def test_the_unit_of_a_rate_does_not_matter_and_the_future_is_not_seen():
    schedule = np.concatenate([np.linspace(0.1, 1.0, 10), np.full(20, 1.0), np.full(10, 0.1)])
    ours, scaled = rates.course(schedule, 40), rates.course(1e-4 * schedule, 40)
    short = rates.course(schedule[:25], 25)
    for name, values in ours.items():
        assert scaled[name] == pytest.approx(values, abs=1e-9), name
        assert values[:25] == pytest.approx(short[name], abs=1e-12), name


def test_a_drop_shows_by_how_much_and_how_long_ago():
    dropped = rates.course(np.concatenate([np.full(30, 1.0), np.full(11, 0.1)]), 41)
    assert dropped["now"][-1] == pytest.approx(np.log(0.1))
    assert dropped["half"][-1] == pytest.approx(np.log(0.1))
    assert dropped["last"][30] == pytest.approx(np.log(0.1))
    assert dropped["since"][-1] == pytest.approx(10 / 40)


def test_a_constant_rate_is_told_from_none_by_one_statistic_alone():
    constant, none = rates.course(np.full(9, 3e-4), 9), rates.course(None, 9)
    differ = [name for name in none if not np.allclose(none[name], constant[name])]
    assert differ == ["known"]


def test_a_schedule_that_ends_at_zero_gives_numbers():
    ended = rates.course(0.5 * (1.0 + np.cos(np.linspace(0.0, np.pi, 31))), 31)
    assert all(np.isfinite(values).all() for values in ended.values())


@pytest.mark.parametrize("given", [[], [0.0] * 8, [np.nan] * 6 + [1.0, 1.0]])
def test_a_rate_that_says_nothing_is_not_used(given):
    assert rates.recorded_rate({"lr": np.array(given)}, 0, 8) is None


def test_gaps_take_the_rate_before():
    found = rates.recorded_rate({"lr": np.array([np.nan, 2.0, np.nan, *[1.0] * 8])}, 0, 11)
    assert found is not None
    assert found.tolist() == [2.0, 2.0, 2.0, *[1.0] * 8]


def test_trees_say_the_same_of_one_case_and_of_many():
    rng = np.random.default_rng(0)
    trees = tuple([int(k % 2), float(rng.normal()), 0.1 * k, [1, 0.0, -0.2, 0.3]] for k in range(9))
    score = TreeScore(0.5, ("a", "b"), trees)
    a, b = rng.standard_normal((2, 30))
    one_by_one = [float(score({"a": x, "b": y})) for x, y in zip(a, b, strict=True)]
    assert one_by_one == pytest.approx(score({"a": a, "b": b}).tolist())
