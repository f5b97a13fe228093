"""A training is stopped, warned of, or handed to the user's function when a finding comes up."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import koopscope
from koopscope.errors import KoopscopeError
from koopscope.integrations import Tracker


def exploding(step: int) -> dict[str, np.ndarray]:
    """Return weights whose changes become 1.5 times as large at every snapshot."""
    rng = np.random.default_rng(0)
    start, way = rng.normal(size=(2, 6, 5))
    return {"a.weight": start + 0.01 * 1.5**step * way, "b.weight": start.T + 0.01 * 1.5**step}


def trained(tmp_path, weights=exploding, steps: int = 40, **options) -> Tracker:
    with Tracker(tmp_path / "run.h5", every_n_steps=1, **options) as tracker:
        for step in range(1, steps + 1):
            tracker.after_step(step, weights(step), loss=1.0 / step)
            if tracker.should_stop:
                break
    return tracker


def test_a_finding_stops_training_and_says_why(tmp_path):
    tracker = trained(tmp_path, act_on={"stability": "stop"})
    assert 10 < tracker.stopped_step < 40
    diagnosis = koopscope.analyze(tmp_path / "run.h5")
    assert diagnosis.finding("stability").status == "fail"
    assert tracker.stopping_reason_message == diagnosis.finding("stability").message


def test_patience_is_how_long_a_finding_has_to_last(tmp_path):
    for name in ("first", "late"):
        (tmp_path / name).mkdir()
    first = trained(tmp_path / "first", act_on={"KS201": "stop"}).stopped_step
    late = trained(tmp_path / "late", act_on={"KS201": "stop"}, patience=3).stopped_step
    assert late == first + 3


def test_a_warning_is_given_once_when_the_finding_comes_up(tmp_path):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tracker = trained(tmp_path, act_on={"stability": "warn"}, steps=25)
    assert tracker.stopped_step is None
    (said,) = [str(each.message) for each in caught if "stability" in str(each.message)]
    assert said.startswith("stability: The weights run away")
    assert "Do: lower the learning rate" in said


def test_a_function_gets_the_finding_and_may_stop(tmp_path):
    told = []

    def react(finding):
        told.append(finding)
        return finding.id == "stability"

    tracker = trained(tmp_path, act_on={"stability": react, "finiteness": react})
    assert [finding.id for finding in told] == ["stability"]
    assert tracker.stopped_step is not None
    assert tracker.stopping_reason_message == told[0].message


def test_a_function_that_fails_does_not_end_training(tmp_path):
    def fails(finding):
        raise ValueError("no")

    with pytest.warns(RuntimeWarning, match="the function for stability failed: no"):
        tracker = trained(tmp_path, act_on={"stability": fails}, steps=25)
    assert tracker.stopped_step is None


def test_nothing_is_done_about_a_healthy_run(tmp_path):
    def settling(step: int) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(0)
        start, away = rng.normal(size=(2, 5, 4))
        return {"fc.weight": start + 0.95**step * away}

    reactions = {"stability": "stop", "finiteness": "stop", "precision": "stop"}
    assert trained(tmp_path, settling, act_on=reactions).stopped_step is None


@pytest.mark.parametrize(
    ("act_on", "problem"),
    [
        ({"stabilty": "stop"}, "there is no finding 'stabilty'"),
        ({"stability": "scream"}, "'scream' is nothing to do about stability"),
    ],
)
def test_what_cannot_be_is_said_before_the_first_step(tmp_path, act_on, problem):
    with pytest.raises(KoopscopeError, match=problem):
        Tracker(tmp_path / "run.h5", act_on=act_on)
    with pytest.raises(KoopscopeError, match="no rank sees all weights"):
        Tracker(tmp_path / "run.h5", act_on={"stability": "stop"}, shards=True)
