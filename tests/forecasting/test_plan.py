"""Which snapshots a forecast looks at, and what it refuses by steps alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from koopscope.errors import KoopscopeError
from koopscope.forecasting.plan import ORIGINS, ForecastSettings, forecast_plan
from koopscope.runs.run import RunDescription


def run_with(steps):
    return RunDescription("run.h5", "test", np.array(steps, np.int64), ())


def seen(steps, **settings):
    return forecast_plan(run_with(steps), ForecastSettings(**settings))


def test_the_last_evenly_spaced_stretch_is_looked_at():
    found = seen([0, 1, 5, 10, 15, 20, 25, 30], ahead=1)
    assert found.steps.tolist() == [5, 10, 15, 20, 25, 30]
    assert (found.first, found.stop, found.last, found.every) == (2, 8, 5, 1)
    assert (found.target, found.horizon) == (35, 1.0)


def test_a_horizon_may_lie_between_snapshots():
    assert seen(range(0, 100, 10), to=97).horizon == pytest.approx(0.7)


def test_what_came_after_until_stays_in_sight_but_is_not_fitted():
    found = seen(range(0, 400, 10), ahead=3, until=255)
    assert found.steps[found.last] == 250
    assert found.steps[-1] > found.target
    assert found.target == 280
    assert found.window(found.last).stop == found.last + 1
    assert max(found.origins()) < found.last


def test_a_short_run_is_fitted_in_part_so_that_the_rest_can_test_it():
    assert seen(range(61), ahead=5).fitted == 20
    short = seen(range(12), ahead=1)
    assert short.fitted == 6
    assert len(short.origins()) == 6


def test_long_windows_are_delayed_and_short_ones_are_not():
    assert seen(range(61), ahead=5).delay == 2
    assert seen(range(6), ahead=1).delay == 1
    assert seen(range(61), ahead=5, delay=3).delay == 3


def test_a_far_horizon_pools_snapshots_while_enough_are_left_to_test_it():
    far = seen(range(10001), ahead=2500)
    assert far.every % 2 == 1
    assert 200 < far.every < 260
    assert far.steps[far.last] == 10000 - far.every // 2
    assert far.horizon * far.every == pytest.approx(2500 + far.every // 2)
    assert far.horizons()[-1] >= far.horizon
    assert seen(range(61), ahead=30).every == 1


def test_pools_end_with_the_last_snapshot_and_go_on_behind_until():
    found = seen(range(100), ahead=6, until=60, every=3)
    assert found.stop - found.first == 3 * len(found.steps)
    assert found.steps[found.last] == 59
    assert found.steps[found.last + 1] == 62


def test_of_a_very_long_run_only_the_recent_part_is_looked_at():
    found = seen(range(100_000), ahead=5, until=60_000)
    assert found.steps[found.last] == 60_000
    assert len(found.steps) < 300
    far = seen(range(100_000), ahead=5000)
    assert far.horizons()[-1] * far.every >= 5000
    assert len(far.steps) < 600


@given(
    count=st.integers(4, 400),
    snapshots=st.integers(4, 40),
    ahead=st.integers(1, 300),
    every=st.sampled_from([0, 1]),
)
def test_every_past_moment_has_a_whole_window_and_something_to_be_tested_on(
    count, snapshots, ahead, every
):
    found = seen(range(count), ahead=ahead, snapshots=snapshots, every=every)
    assert found.fitted <= max(4, snapshots)
    assert len(found.origins()) <= ORIGINS
    for origin in found.origins():
        assert found.window(origin).start >= 0
        assert origin < found.last
    for horizon in found.horizons():
        assert any(origin + horizon <= found.last for origin in found.origins())


@pytest.mark.parametrize(
    ("steps", "settings", "message"),
    [
        ([], {}, "holds no snapshot"),
        ([0, 1, 2], {}, "3 snapshots are too few"),
        ([5], {}, "1 snapshot is too few"),
        ([0, 1, 2, 3, 4, 9, 14], {}, "only the last 3 snapshots up to step 14 are evenly spaced"),
        (range(20), {"to": 19}, "step 19 does not lie after step 19"),
        (range(20), {"until": -1}, "no snapshot lies at or before step -1"),
        (range(20), {"every": 9}, "make 2 means of 9"),
    ],
)
def test_what_steps_cannot_give_is_refused(steps, settings, message):
    with pytest.raises(KoopscopeError, match=message) as refusal:
        seen(steps, **settings)
    assert refusal.value.hint


@pytest.mark.parametrize(
    "settings",
    [
        {"to": 5, "ahead": 5},
        {"ahead": 0},
        {"snapshots": 3},
        {"every": 4},
        {"delay": 0},
        {"operator": "brain"},
        {"observable": "losses"},
        {"accept": "hope"},
        {"rank": "big"},
    ],
)
def test_impossible_settings_are_refused(settings):
    with pytest.raises(KoopscopeError):
        ForecastSettings(**settings)
