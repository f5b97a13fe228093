import numpy as np
import pytest

from koopscope import analyze
from koopscope.diagnostics.registry import ITERATE_DIAGNOSTICS
from koopscope.runs.native.recorder import Recorder
from tests import iterated_maps as maps


@pytest.fixture
def recorded(tmp_path):
    """Record iterates of an operator and return what is found on them, by id."""

    def record(operator, start, count, dtype=np.float64, **others):
        path = tmp_path / "iterates.h5"
        with Recorder(path, states=["hidden"]) as recorder:
            for step, x in enumerate(maps.iterate(operator, start, count, dtype)):
                recorder.snapshot(step, {"hidden": x, **others})
        return {finding.id: finding for finding in analyze(path).findings}

    return record


@pytest.mark.parametrize(
    ("state", "status", "operator"),
    [
        ("contracting", "pass", lambda: maps.affine(maps.symmetric(0.9))),
        ("contracting", "pass", lambda: maps.affine(maps.symmetric(0.999))),
        ("eventually_contracting", "info", lambda: maps.tanh_layer(0.9)),
        ("non_expansive", "warn", lambda: maps.affine(maps.rotation(0.7))),
        ("non_expansive", "warn", lambda: maps.affine(np.diag([-1.0, 0.5, 0.2]))),
        ("non_expansive", "warn", lambda: (lambda x: x + 1.0, np.zeros(4))),
        ("expanding", "fail", lambda: maps.affine(np.diag([1.02, 0.5, 0.2]))),
        ("expanding", "fail", lambda: maps.affine(maps.rotation(0.7, 1.05))),
        (
            "expanding",
            "fail",
            lambda: (lambda x: 3.9 * x * (1.0 - x), np.linspace(0.2, 0.5, 6)),  # chaos
        ),
    ],
)
def test_operators_are_named_for_what_they_do(recorded, state, status, operator):
    finding = recorded(*operator(), 40)["contraction"]
    assert (finding.evidence["state"], finding.status) == (state, status)


def test_few_iterates_of_a_slow_contraction_are_inconclusive(recorded):
    findings = recorded(*maps.affine(maps.symmetric(0.99)), 10)
    assert findings["contraction"].status == "inconclusive"
    assert findings["iterations"].status == "inconclusive"


def test_too_few_iterates_are_no_exception(recorded):
    findings = recorded(*maps.affine(maps.symmetric(0.9)), 2)
    assert {findings[d.id].status for d in ITERATE_DIAGNOSTICS[:3]} == {"inconclusive"}
    assert "3 of 3 iterates" in findings["contraction"].message


def test_the_count_of_iterations_and_whether_they_were_made(recorded):
    operator, start = maps.affine(maps.symmetric(0.8))
    true = maps.iterations_to(operator, start, 1e-3)
    enough = recorded(operator, start, 40)["iterations"]
    assert enough.status == "pass"
    assert enough.value == pytest.approx(true, rel=0.2)
    assert enough.evidence["usable"] == 40


def test_weights_recorded_alongside_do_not_count(recorded):
    operator, start = maps.affine(maps.symmetric(0.9))
    finding = recorded(operator, start, 40, weight=np.arange(3.0))["contraction"]
    assert finding.value == pytest.approx(0.9, abs=1e-6)


def test_relaxation_is_advised_only_where_it_helps(recorded, tmp_path):
    turning = recorded(*maps.affine(maps.rotation(2.0)), 20)["acceleration"]
    assert "a = 0.50 would lower the factor from 1 to 0.5403" in turning.message
    (tmp_path / "iterates.h5").unlink()
    drifting = recorded(lambda x: x + 1.0, np.zeros(4), 20)["acceleration"]
    assert "Relaxation would not help" in drifting.message
