"""The verdicts' scores on the frozen runs, which no table was fitted to."""

from __future__ import annotations

import numpy as np
import pytest

from koopscope.analysis.analysis import Analysis
from koopscope.analysis.settings import Settings
from koopscope.diagnostics import convergence
from studies import corpus, frozen, measures, score
from studies.yardstick import plan


@pytest.fixture(scope="module")
def cases():
    return corpus.thaw(frozen.FROZEN)


@pytest.fixture(scope="module")
def said(cases):
    return {
        edition: {case.name: score.ask(score.seen(case.analysis, edition)) for case in cases}
        for edition in ("weights", "losses")
    }


def test_no_frozen_run_is_of_a_tuning_family(cases):
    assert len(cases) >= 40
    assert {case.family for case in cases} <= set(plan.HELD_OUT)
    assert not set(plan.HELD_OUT) & set(plan.TUNING)
    assert frozen.FROZEN.stat().st_size < 3e6


def test_the_families_that_were_held_out_first_still_are():
    assert set(plan.HELD_OUT) >= {
        *("digits_residual", "diabetes_mlp", "grammar_gru", "community_graph"),
        *("digits_attention", "spirals_mlp", "waves_conv"),
    }


@pytest.mark.parametrize(
    ("edition", "baseline"),
    [
        ("losses", "validation patience 5"),
        ("weights", "training-loss patience 5"),
        ("weights", "training-loss patience 10"),
    ],
)
def test_a_stop_that_saves_as_much_as_patience_costs_less_at_worst(cases, said, edition, baseline):
    chosen = [case for case in cases if measures.counts_for_stop(case)]
    theirs = measures.stop_baselines(chosen)[baseline]
    curve = measures.frontier(
        chosen,
        {case.name: said[edition][case.name].score for case in chosen},
        {case.name: said[edition][case.name].allowed for case in chosen},
    )
    _, ours = measures.at_savings(curve, theirs.saved)
    assert ours.saved >= theirs.saved
    assert ours.p90 < theirs.p90
    assert ours.false <= theirs.false


def test_the_stop_that_is_reported_is_seldom_false(cases, said):
    chosen = [case for case in cases if measures.counts_for_stop(case)]
    for edition in ("weights", "losses"):
        ours = score.stops(chosen, said[edition])
        assert ours.saved > 0.2
        assert ours.false <= 0.06 * len(chosen)


def test_the_restart_score_ranks_bad_starts_above_good_ones(cases, said):
    clear = [case for case in cases if not case.truth.bad_unclear]
    bad = np.array([case.truth.bad for case in clear])
    assert measures.auroc(score.restarts(clear, said["weights"]), bad) > 0.85
    assert measures.auroc(score.restarts(clear, said["losses"]), bad) > 0.88


def test_the_state_at_the_end_is_mostly_right(cases, said):
    clear = [case for case in cases if not case.truth.state_unclear]
    slope, _ = measures.agreement(clear, measures.slope_states(clear))
    for edition, least in (("weights", 0.7), ("losses", slope)):
        right, undecided = score.states(clear, said[edition])
        assert right > least
        assert undecided < 0.25


def test_a_stop_is_decided_from_the_snapshots_up_to_it_alone(cases, said):
    stopped = 0
    for case in cases[::3]:
        stop = said["losses"][case.name].stop
        if stop is None or case.analysis.window.first > 0:
            continue
        step = int(case.analysis.description.steps[stop])
        cut = convergence.ask(case.analysis.until(step)).evidence
        assert cut["stop_step"] == step
        stopped += 1
    assert stopped >= 2


def test_verdicts_do_not_depend_on_the_unit_of_the_weights(cases):
    case = cases[1]
    scaled = {name: gram.scaled(1e6) for name, gram in case.analysis.grams.items()}
    other = Analysis(case.analysis.description, scaled, Settings())
    ours, theirs = (convergence.ask(each).evidence for each in (case.analysis, other))
    assert ours["state"] == theirs["state"]
    assert ours["stop_step"] == theirs["stop_step"]
    assert ours["remaining"] == pytest.approx(theirs["remaining"])
