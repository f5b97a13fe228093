"""The verdicts' scores on the frozen runs, which no table was fitted to."""

from __future__ import annotations

import numpy as np
import pytest

from koopscope.analysis.analysis import Analysis
from koopscope.analysis.settings import Settings
from koopscope.diagnostics import convergence
from koopscope.spectra.gram import SnapshotGram
from studies import frozen, measures, plan, score


@pytest.fixture(scope="module")
def cases():
    return frozen.thaw()


def test_no_frozen_run_is_of_a_tuning_family(cases):
    assert len(cases) == 40
    assert {case.family for case in cases} <= set(plan.HELD_OUT)
    assert not set(plan.HELD_OUT) & set(plan.TUNING)


def test_every_family_has_as_many_runs_and_the_plan_covers_what_it_promises():
    recipes = plan.all_recipes()
    assert len(recipes) == len({recipe.name for recipe in recipes}) >= 300
    for held_out in (False, True):
        chosen = [recipe for recipe in recipes if recipe.held_out == held_out]
        assert {recipe.optimizer for recipe in chosen} == set(plan.OPTIMIZERS)
        assert {recipe.schedule for recipe in chosen} == {"constant", "step", "cosine"}
        assert {recipe.init for recipe in chosen} == {"default", *plan.INITS}
        assert {recipe.dtype for recipe in chosen} == {"float32", "bfloat16"}


def test_stopping_by_weights_alone_beats_patience_on_the_training_loss(cases):
    chosen = [case for case in cases if measures.counts_for_stop(case)]
    ours = score.stops(chosen, with_losses=False)
    baseline = measures.stop_baselines(chosen)["training-loss patience 10"]
    assert ours.saved >= baseline.saved
    assert ours.p90 < baseline.p90
    assert ours.false <= 0.03 < baseline.false


def test_the_restart_score_ranks_bad_starts_above_good_ones(cases):
    bad = np.array([case.truth.bad for case in cases])
    assert measures.auroc(score.restarts(cases, with_losses=False), bad) > 0.85


def test_the_state_at_the_end_beats_the_slope_of_the_training_loss(cases):
    right, undecided = score.states(cases, with_losses=True)
    assert right > measures.agreement(cases, measures.slope_states(cases))[0]
    assert undecided < 0.25


def test_a_stop_is_decided_from_the_snapshots_up_to_it_alone(cases):
    stopped = 0
    for case in cases[::4]:
        whole = convergence.ask(case.analysis).evidence
        if whole["stop_step"] is None:
            continue
        cut = convergence.ask(case.analysis.until(whole["stop_step"])).evidence
        assert cut["stop_step"] == whole["stop_step"]
        stopped += 1
    assert stopped >= 2


def test_verdicts_do_not_depend_on_the_unit_of_the_weights(cases):
    case = cases[1]
    scaled = {name: _times(gram, 1e3) for name, gram in case.analysis.grams.items()}
    other = Analysis(case.analysis.description, scaled, Settings())
    ours, theirs = (convergence.ask(each).evidence for each in (case.analysis, other))
    assert ours["state"] == theirs["state"]
    assert ours["stop_step"] == theirs["stop_step"]
    assert ours["remaining"] == pytest.approx(theirs["remaining"])


def _times(gram: SnapshotGram, factor: float) -> SnapshotGram:
    return gram.scaled(factor**2)
