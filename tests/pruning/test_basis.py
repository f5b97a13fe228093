"""Weights are judged at the step that was asked for, from the snapshots that lead to it."""

import numpy as np
import pytest

from koopscope import KoopscopeError
from koopscope.pruning.basis import PruningSettings, pruning_basis
from koopscope.runs.detect.opening import open_run
from tests.recorded import recorded, settling

STEPS = (0, 1, 2, 3, 4, 5, 6, 7, 20, 30, 40, 50)


@pytest.fixture
def uneven(tmp_path):
    return recorded(tmp_path / "run.h5", settling({"w": (6, 5)}), STEPS)


def judged(path, at=None):
    with open_run(path) as run:
        basis = pruning_basis(run, PruningSettings(at=at))
    window = basis.analysis.window
    return basis.step, STEPS[window.first], basis.notes


def test_the_last_snapshot_is_judged_although_an_earlier_stretch_is_longer(uneven):
    assert judged(uneven) == (50, 20, ())


def test_a_step_is_judged_from_the_even_stretch_that_leads_to_it(uneven):
    assert judged(uneven, at=7) == (7, 0, ())


def test_between_two_snapshots_the_earlier_one_is_judged_and_named(uneven):
    assert judged(uneven, at=35) == (30, 20, ("step 35 was not recorded: judged at step 30",))


def test_before_the_first_snapshot_there_is_nothing_to_judge(uneven):
    with pytest.raises(KoopscopeError, match="no snapshot lies at or before step -1") as error:
        judged(uneven, at=-1)
    assert "steps 0 to 50" in error.value.hint


def test_a_run_that_blew_up_is_judged_before_it_did(tmp_path):
    weights = settling({"w": (6, 5)})
    weights["w"][9:] = np.nan
    path = recorded(tmp_path / "run.h5", weights)
    with open_run(path) as run:
        basis = pruning_basis(run, PruningSettings())
    assert basis.step == 8
    assert basis.notes == ("judged at step 8: later snapshots hold weights that are not finite",)


def test_what_cannot_be_pruned_has_no_part_in_the_spectrum(tmp_path):
    weights = settling({"w": (6, 5), "norm.running_var": (6,)})
    weights["norm.running_var"] = 1.4 ** np.arange(12.0)[:, None] * np.ones((1, 6))
    with open_run(recorded(tmp_path / "run.h5", weights)) as run:
        spectrum = pruning_basis(run, PruningSettings()).analysis.spectrum()
    np.testing.assert_allclose(sorted(spectrum.magnitudes), [0.5, 0.8, 1.0], atol=1e-3)


def test_only_recent_snapshots_are_looked_at_unless_all_are_asked_for(tmp_path):
    path = recorded(tmp_path / "run.h5", settling({"w": (6, 5)}, snapshots=20))
    firsts = []
    for snapshots in (12, 5, 0):
        with open_run(path) as run:
            window = pruning_basis(run, PruningSettings(at=17, snapshots=snapshots)).analysis.window
        assert window.stop == 18
        firsts.append(window.first)
    assert firsts == [6, 13, 0]
    with pytest.raises(KoopscopeError, match="-2 snapshots"):
        PruningSettings(snapshots=-2)
