"""Findings, metrics and changes become outcomes by the policy, and by nothing else."""

import json
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import koopscope
from koopscope import KoopscopeError
from koopscope.diagnostics.diagnosis import Diagnosis
from koopscope.diagnostics.evidence import StatedEvidence
from koopscope.diagnostics.finding import Finding
from koopscope.gate.baseline import stored_report
from koopscope.gate.judgement import Judgement, Outcome, judge
from koopscope.gate.policy import policy
from koopscope.report.analysis_json import run_document
from koopscope.testing import assert_healthy

SAMPLES = Path(__file__).parents[2] / "sample_runs"


@pytest.fixture(scope="module")
def healthy() -> Diagnosis:
    return koopscope.analyze(SAMPLES / "stopped_early.h5")


def with_finding(diagnosis: Diagnosis, **changed: Any) -> Diagnosis:
    """The same run with one finding on stored precision as the test wants it."""
    finding = Finding("precision", "KS901", "pass", "A sentence.", 0.3, 0.5, "share")
    others = [f for f in diagnosis.findings if f.id != "precision"]
    return replace(diagnosis, findings=(*others, replace(finding, **changed)))


def outcome(judged: Judgement, name: str = "precision") -> Outcome:
    return next(found for found in judged.outcomes if name in (found.id, found.title))


@pytest.mark.parametrize(
    ("status", "setting", "verdict"),
    [
        ("pass", {}, "pass"),
        ("info", {}, "pass"),
        ("warn", {}, "warn"),
        ("fail", {}, "error"),
        ("inconclusive", {}, "inconclusive"),
        ("fail", {"level": "warn"}, "warn"),
        ("warn", {"warnings": True}, "error"),
        ("warn", {"level": "warn", "warnings": True}, "warn"),
        ("fail", {"threshold": 0.4}, "pass"),
        ("pass", {"threshold": 0.2}, "error"),
        ("inconclusive", {"threshold": 0.4}, "inconclusive"),
    ],
)
def test_a_findings_status_and_the_rules_setting_decide(
    healthy: Diagnosis, status: str, setting: dict[str, object], verdict: str
) -> None:
    demanded = policy({"rules": {"precision": setting}}, "test")
    judged = judge(with_finding(healthy, status=status), demanded)
    assert outcome(judged).verdict == verdict


@pytest.mark.parametrize(
    ("state", "verdict"),
    [("converged", "pass"), ("training", "error"), ("inconclusive", "inconclusive")],
)
def test_accepted_states_decide_where_they_are_given(
    healthy: Diagnosis, state: str, verdict: str
) -> None:
    demanded = policy({"rules": {"precision": {"accept": ["converged"]}}}, "test")
    judged = judge(with_finding(healthy, evidence=StatedEvidence(state)), demanded)
    assert outcome(judged).verdict == verdict
    assert outcome(judged).expected == "converged"
    assert outcome(judged).found == state


def test_for_few_snapshots_less_is_worse(healthy: Diagnosis) -> None:
    count = len(healthy.analysis.description.steps)
    for threshold, verdict in ((count, "pass"), (count + 1, "error")):
        demanded = policy({"rules": {"sampling": {"threshold": threshold}}}, "test")
        assert outcome(judge(healthy, demanded), "sampling").verdict == verdict


def test_a_rule_that_is_off_is_not_judged(healthy: Diagnosis) -> None:
    judged = judge(healthy, policy({"rules": {"precision": "off"}}, "test"))
    assert "precision" not in {found.id for found in judged.outcomes}
    assert not judge(healthy, policy({"preset": "none"}, "test")).outcomes


def test_the_worst_comes_first(healthy: Diagnosis) -> None:
    judged = judge(with_finding(healthy, status="fail"), policy({}, "test"))
    assert judged.outcomes[0].id == "precision"
    assert judged.verdict == "error"


@pytest.mark.parametrize(
    ("bound", "verdict"),
    [
        ({"final-below": 0.9}, "pass"),
        ({"final-below": 0.5}, "error"),
        ({"final-below": 0.5, "level": "warn"}, "warn"),
        ({"best-below": 0.1}, "error"),
        ({"final-above": 0.5}, "pass"),
    ],
)
def test_metrics_are_held_against_their_bounds(
    healthy: Diagnosis, bound: dict[str, object], verdict: str
) -> None:
    judged = judge(healthy, policy({"metrics": {"val_loss": bound}}, "test"))
    assert outcome(judged, "Recorded metrics: val_loss").verdict == verdict


def test_a_metric_that_was_not_recorded_cannot_be_judged(healthy: Diagnosis) -> None:
    judged = judge(healthy, policy({"metrics": {"bleu": {"final-above": 20}}}, "test"))
    assert outcome(judged, "metrics").verdict == "inconclusive"


def test_a_loss_that_became_nan_is_found_without_any_bound() -> None:
    judged = judge(koopscope.analyze(SAMPLES / "diverging.h5"), policy({}, "test"))
    assert outcome(judged, "Recorded metrics: loss").verdict == "error"


def test_a_run_equals_its_own_baseline_and_another_does_not(healthy: Diagnosis) -> None:
    own = json.loads(json.dumps(run_document(healthy)))
    judged = judge(healthy, policy({}, "test"), own)
    compared = [found for found in judged.outcomes if found.id == "baseline"]
    assert compared
    assert {found.verdict for found in compared} == {"pass"}

    learned = koopscope.analyze(SAMPLES / "mlp_sgd.h5")  # val_loss .1154; here it is .8438
    title = "Change against a baseline: metrics.val_loss"
    worse = judge(healthy, policy({}, "test"), json.loads(json.dumps(run_document(learned))))
    assert outcome(worse, title).verdict == "error"
    assert str(outcome(worse, title).expected).startswith("at most 0.")
    assert outcome(worse, title).found == "0.843831"
    better = judge(learned, policy({}, "test"), own)
    assert outcome(better, title).verdict == "pass"
    assert "better than what another seed makes" in outcome(better, title).message


def test_tolerances_are_absolute_and_relative(healthy: Diagnosis) -> None:
    old = json.loads(json.dumps(run_document(healthy)))
    loss = old["run"]["metrics"]["loss"]["last"]
    old["run"]["metrics"]["loss"]["last"] = loss * 0.8
    for values, verdict in (
        ({"relative": 0.3}, "pass"),
        ({"relative": 0.2}, "error"),
        ({"relative": 0.0, "absolute": 0.21 * loss}, "pass"),
        ({"values": {"metrics.loss": {"absolute": 1.0}}}, "pass"),
    ):
        judged = judge(healthy, policy({"baseline": values}, "test"), old)
        title = "Change against a baseline: metrics.loss"
        assert outcome(judged, title).verdict == verdict, values


def test_a_finding_that_got_worse_is_a_change(healthy: Diagnosis) -> None:
    old = json.loads(json.dumps(run_document(healthy)))
    worse = with_finding(healthy, status="warn")
    judged = judge(worse, policy({}, "test"), old)
    assert outcome(judged, "Change against a baseline: precision").verdict == "error"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "not JSON"),
        ("[]", "schema version none"),
        ('{"schema_version": "2.0"}', "schema version 2.0"),
        ('{"schema_version": "1.0"}', "not a koopscope report"),
        ('{"schema_version": "1.0", "runs": []}', "exactly one run"),
        ('{"schema_version": "1.0", "findings": [1], "run": {}}', "not a koopscope report"),
        ('{"schema_version": "1.0", "findings": [], "run": {"metrics": [1]}}', "not a koopscope"),
        (
            '{"schema_version": "1.0", "findings": [], "run": {"metrics": {"loss": 1}}}',
            "not a koopscope report",
        ),
    ],
)
def test_a_baseline_that_is_no_report_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "report.json"
    path.write_text(text)
    with pytest.raises(KoopscopeError, match=problem):
        stored_report(path)


def test_assert_healthy_returns_the_diagnosis_or_says_every_violation() -> None:
    diagnosis = assert_healthy(SAMPLES / "stopped_early.h5", rules={"convergence": "off"})
    assert diagnosis.finding("precision").status == "pass"
    with pytest.raises(AssertionError, match=r"KS903 Finite weights.*head.weight"):
        assert_healthy(SAMPLES / "diverging.h5")
    with pytest.raises(AssertionError, match=r"val_loss < 0.5, found 0.84"):
        assert_healthy(SAMPLES / "stopped_early.h5", metrics={"val_loss": {"final-below": 0.5}})
    assert_healthy(SAMPLES / "diverging.h5", fail_on="never")
    with pytest.raises(KoopscopeError, match="no setting 'fail-onn'"):
        assert_healthy(SAMPLES / "stopped_early.h5", fail_onn="warn")


def report_of(diagnosis: Diagnosis) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(json.dumps(run_document(diagnosis)))
    return document


def test_a_metric_of_the_baseline_that_the_run_lacks_is_not_passed_over(healthy: Diagnosis) -> None:
    old = report_of(healthy)
    old["run"]["metrics"]["val_los"] = old["run"]["metrics"].pop("val_loss")
    judged = judge(healthy, policy({}, "test"), old)
    found = outcome(judged, "Change against a baseline: metrics.val_los")
    assert (found.verdict, found.demanded) == ("inconclusive", True)
    assert found.hint == "did you mean 'val_loss'?"
    assert not judged.is_decided


def test_a_baseline_of_another_kind_of_run_decides_nothing(healthy: Diagnosis) -> None:
    old = report_of(healthy)
    old["findings"] = [{"id": "contraction", "status": "pass", "value": 0.5}]
    old["run"]["metrics"] = {}
    judged = judge(healthy, policy({}, "test"), old)
    assert "another kind of run" in outcome(judged, "baseline").message
    assert not judged.is_decided


def test_a_baseline_is_judged_even_in_the_preset_none(healthy: Diagnosis) -> None:
    judged = judge(healthy, policy({"preset": "none"}, "test"), report_of(healthy))
    assert {found.id for found in judged.outcomes} == {"baseline"}
    off = policy({"rules": {"baseline": "off"}}, "test")
    assert not any(o.id == "baseline" for o in judge(healthy, off, report_of(healthy)).outcomes)


def test_several_reports_say_how_much_a_seed_changes(healthy: Diagnosis) -> None:
    title = "Change against a baseline: metrics.loss"

    def verdict(*lasts: float) -> str:
        reports = []
        for last in lasts:
            reports.append(report_of(healthy))
            reports[-1]["run"]["metrics"]["loss"]["last"] = last
        return outcome(judge(healthy, policy({}, "test"), reports), title).verdict

    # The run's own is 0.844: far above reports that agree, inside those that scatter.
    assert verdict(*[0.2] * 6) == "error"
    assert verdict(0.1, 0.6, 0.2, 0.9, 0.15, 0.8) == "pass"


def test_another_number_than_the_value_is_not_judged_by_a_limit_on_the_value() -> None:
    """``expected <= -0.4, found -0.13`` was said of a mean cosine where below is worse."""
    judged = judge(
        koopscope.analyze(SAMPLES / "lr_too_high.h5"),
        policy({"rules": {"stability": {"threshold": -0.9, "warnings": True}}}, "test"),
    )
    found = outcome(judged, "stability")
    assert found.verdict == "error"
    assert found.expected == "at least 20% of the way leads somewhere"
    assert found.found == "15% does"


def metric_run(healthy: Diagnosis, **metrics: list[float]) -> Diagnosis:
    described = healthy.analysis.description
    changed = copy(healthy.analysis)
    values = {
        name: np.resize(np.array(given, float), described.snapshots)
        for name, given in metrics.items()
    }
    for name, given in metrics.items():
        values[name][-1] = given[-1]
    changed.description = replace(described, metrics=values)
    return replace(healthy, analysis=changed)


@pytest.mark.parametrize(
    ("values", "demands", "verdict"),
    [
        ([np.inf], {}, "error"),
        ([np.nan], {}, "error"),
        ([1.0, np.inf], {}, "error"),
        ([1.0, np.inf], {"rules": {"metrics": "off"}}, None),
        ([1.0, np.nan], {"preset": "none", "metrics": {"m": {"final-below": 5}}}, "error"),
        ([1.0, np.inf], {"preset": "none", "metrics": {"m": {"final-above": 5}}}, "error"),
        ([np.inf], {"preset": "none", "metrics": {"m": {"best-below": 5}}}, "error"),
        ([1.0, np.nan], {"preset": "none", "metrics": {"m": {"best-below": 5}}}, "pass"),
        ([np.nan], {"preset": "none", "metrics": {"m": {"best-below": 5}}}, "inconclusive"),
    ],
)
def test_what_is_no_finite_number_never_passes(
    healthy: Diagnosis, values: list[float], demands: dict[str, Any], verdict: str | None
) -> None:
    judged = judge(metric_run(healthy, m=values), policy(demands, "test"))
    found = [o.verdict for o in judged.outcomes if o.id == "metrics"]
    assert found == ([] if verdict is None else [verdict])


def test_a_misspelt_metric_is_not_passed_over(healthy: Diagnosis) -> None:
    judged = judge(healthy, policy({"metrics": {"val_los": {"final-below": 5}}}, "test"))
    found = outcome(judged, "metrics")
    assert "did you mean 'val_loss'?" in str(found.hint)
    assert not judged.is_decided
    with pytest.raises(AssertionError, match="holds no value of val_los"):
        assert_healthy(SAMPLES / "stopped_early.h5", metrics={"val_los": {"final-below": 5}})
    with pytest.raises(AssertionError, match="nothing was judged"):
        assert_healthy(SAMPLES / "stopped_early.h5", preset="none")
