"""What matters most of all findings, in one line, and the first screen that is built around it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from koopscope.diagnostics.action import Action
from koopscope.diagnostics.convergence import ConvergenceEvidence
from koopscope.diagnostics.finding import Finding
from koopscope.diagnostics.first_look import first_look, headline
from koopscope.diagnostics.next_step import ORDER, by_importance, next_step
from koopscope.diagnostics.registry import cannot_tell
from koopscope.diagnostics.stability import StabilityEvidence
from koopscope.diagnostics.statistics.keeping import best_snapshot
from koopscope.runs.run import RunDescription


def found(name: str, status: str, do: str = "none", code: str = "KS101", **more) -> Finding:
    size = {key: more.pop(key) for key in ("step", "factor", "factor_range") if key in more}
    message = more.pop("message", f"{name.capitalize()}: something.")
    return Finding(name, code, status, message, action=Action(do, **size), **more)


CONVERGENCE = found(
    "convergence",
    "info",
    message="Still training: 3.9% is still to come.",
    evidence=ConvergenceEvidence(state="training", stop_step=420),
)


def test_what_fails_comes_before_what_warns_and_what_only_informs():
    findings = [
        found("convergence", "info", "stop", step=100),
        found("overfitting", "warn", "restore", step=220),
        found("stability", "fail", "lower_lr", factor=0.1),
    ]
    assert next_step(findings).finding == "stability"
    assert next_step(findings[:2]).line == "go back to the weights of step 220"
    assert next_step(findings[:1]).plain() == {
        "do": "stop",
        "step": 100,
        "finding": "convergence",
        "line": "stop training; enough by step 100",
    }


def test_among_equals_the_order_decides_and_unknown_findings_come_last():
    names = [*reversed(ORDER), "something-new"]
    ranked = by_importance([found(name, "fail", "restart") for name in names])
    assert [each.id for each in ranked] == [*ORDER, "something-new"]


def test_a_new_finding_takes_part_by_its_action():
    step = next_step([CONVERGENCE, found("something-new", "warn", "average", code="KS199")])
    assert step.finding == "something-new"


def test_recording_more_often_matters_after_everything_about_the_training():
    findings = [
        found("sampling", "fail", "record_more", code="KS902"),
        found("convergence", "info", "stop", step=100),
    ]
    assert next_step(findings).finding == "convergence"
    assert next_step(findings[:1]).line == "record more often"
    nan = found("finiteness", "fail", "restore", step=90, code="KS903")
    assert next_step([*findings, nan]).finding == "finiteness"


@pytest.mark.parametrize(
    ("state", "line"),
    [("training", "go on training"), ("converged", "nothing: training is done"), ("stalled", "")],
)
def test_without_an_action_the_state_says_what_to_do(state, line):
    finding = replace(CONVERGENCE, evidence=ConvergenceEvidence(state=state))
    assert next_step([finding]).plain() == {"do": "none", "finding": None, "line": line}


def test_a_run_that_is_training_goes_on_before_it_is_made_better():
    better = found("averaging", "info", "average", code="KS106")
    assert next_step([CONVERGENCE, better]).line == "go on training"
    done = replace(CONVERGENCE, evidence=ConvergenceEvidence(state="stalled"))
    assert next_step([done, better]).finding == "averaging"


def test_without_an_action_a_failure_s_hint_comes_first():
    bad = found("initialization", "fail", hint="look at head.weight")
    assert next_step([CONVERGENCE, bad]).line == "look at head.weight"
    assert next_step([]).line == ""


def test_the_first_line_names_the_state_and_what_is_wrong():
    findings = [
        CONVERGENCE,
        found("sampling", "warn", code="KS902", message="NaN came at step 4: nobody knows why."),
        found(
            "overfitting", "fail", "restore", step=220, message="Over-fitting since step 220: up."
        ),
        found("depth", "inconclusive", message="Too few layers."),
    ]
    step = next_step(findings)
    look = first_look(findings, step, None, cannot_tell)
    assert look.state == "Still training; over-fitting since step 220; NaN came at step 4"
    assert look.why == "up; 3.9% is still to come"
    assert look.do == "go back to the weights of step 220"
    assert look.unsure == "whether it over-fits: no validation loss was recorded"


def test_what_cannot_be_told_is_an_open_question_or_the_limits_of_the_answer():
    metrics = {"val_loss": np.array([2.0, 1.0, 3.0])}
    best = best_snapshot(RunDescription("run.h5", "test", np.arange(3), (), metrics))
    look = first_look([CONVERGENCE], next_step([CONVERGENCE]), best, cannot_tell)
    assert look.unsure.startswith("convergence cannot foresee a learning rate that is lowered")
    few = found("stability", "inconclusive", message="8 snapshots are too few: it takes 12.")
    look = first_look([CONVERGENCE, few], next_step([CONVERGENCE]), best, cannot_tell)
    assert look.unsure == "stability: 8 snapshots are too few"


def test_findings_that_seem_to_contradict_each_other_are_reconciled():
    grows = found("stability", "fail", evidence=StabilityEvidence(growing_eigenvalue=1.1))
    done = replace(CONVERGENCE, evidence=ConvergenceEvidence(state="converged"))

    def notes(*findings: Finding) -> tuple[str, ...]:
        return first_look(findings, next_step(findings), None, cannot_tell).notes

    (note,) = notes(CONVERGENCE)
    assert "a stop at step 420 are no contradiction" in note
    (note,) = notes(CONVERGENCE, found("overfitting", "fail", "restore", step=220))
    assert "still training and over-fitting are no contradiction" in note
    (note,) = notes(done, grows)
    assert "the motion grows, and brings no more improvement" in note
    assert notes(done) == ()
    assert notes(replace(CONVERGENCE, evidence=ConvergenceEvidence(state="training"))) == ()


def test_a_headline_is_the_part_before_the_colon_or_a_short_message():
    assert headline(found("a", "pass", message="Healthy start: score 0.1.")) == "Healthy start"
    assert headline(found("a", "pass", message="All finite.")) == "All finite"
    assert headline(found("a", "fail", message="NaN in w; the rest is read.")) == "NaN in w"
    assert headline(found("a", "pass", message="It rises (by 3%).")) == "It rises"
