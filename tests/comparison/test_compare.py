"""Verdicts on runs whose answer is known, and what is said of runs that fit badly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import koopscope
from koopscope.errors import KoopscopeError
from koopscope.report.comparison import document, render
from koopscope.report.text.terminal_style import Page
from koopscope.runs.detect.opening import open_run
from koopscope.spectra.accumulating import gram_of
from tests.comparison.systems import SHAPES, repeats, trained
from tests.recorded import recorded


def test_a_run_is_the_same_as_itself(tmp_path: Path) -> None:
    run = trained(tmp_path / "a.h5")
    found = koopscope.compare(run, run)
    assert (found.verdict, found.parts_at_step) == ("same", None)
    assert found.distance == pytest.approx(0.0, abs=1e-12)
    assert found.foremost.rule == "weights"


def test_storing_in_a_coarser_dtype_is_rounding(tmp_path: Path) -> None:
    fine = trained(tmp_path / "a.h5", seed=3)
    coarse = trained(tmp_path / "b.h5", seed=3, dtype="float16")
    found = koopscope.compare(fine, coarse)
    assert found.verdict == "same"
    assert found.foremost.parting is not None
    assert found.foremost.parting.first_unequal_step == 0
    assert any("float16 and float32" in note for note in found.foremost.notes)


def test_repeats_of_another_law_differ_and_repeats_of_one_do_not(tmp_path: Path) -> None:
    a = repeats(tmp_path, "a", 4)
    same = koopscope.compare(a, repeats(tmp_path, "b", 4, 10))
    other = koopscope.compare(a, repeats(tmp_path, "c", 4, 20, decays=(0.7, 0.5)))
    assert other.verdict == "different"
    assert other.p_value == pytest.approx(2 / 70)
    assert same.verdict != "different"
    assert same.p_value is not None
    assert same.p_value > 0.05
    assert other.distance > same.distance


def test_single_runs_have_no_p_value_and_few_repeats_say_so(tmp_path: Path) -> None:
    a, b = repeats(tmp_path, "a", 2), repeats(tmp_path, "b", 2, 10)
    assert koopscope.compare(a[0], b[0]).p_value is None
    found = koopscope.compare(a, b).foremost
    assert found.test is None
    assert any("at least 3 runs a side" in note for note in found.notes)


def test_a_permutation_of_hidden_units_changes_no_distance(tmp_path: Path) -> None:
    a = trained(tmp_path / "a.h5")
    order = np.random.default_rng(0).permutation(12)
    with open_run(a) as run:
        blocks: dict[str, np.ndarray] = {
            b.tensor.name: b.values.reshape(-1, *b.tensor.shape).copy() for b in run.blocks()
        }
        steps = run.description.steps.tolist()
    blocks["body.weight"] = blocks["body.weight"][:, order]
    blocks["body.bias"] = blocks["body.bias"][:, order]
    blocks["head.weight"] = blocks["head.weight"][:, :, order]
    found = koopscope.compare(a, recorded(tmp_path / "b.h5", blocks, steps))
    assert found.verdict == "same"
    assert found.distance == pytest.approx(0.0, abs=1e-6)
    assert found.parts_at_step is None
    assert found.foremost.alignment is not None
    assert (found.foremost.alignment.units, found.foremost.alignment.moved) == (12, 12)


def test_one_pass_over_both_gives_each_run_its_own_products(tmp_path: Path) -> None:
    from koopscope.comparison.alignment import aligned
    from koopscope.comparison.reading import read_beside
    from koopscope.comparison.subjects import Choice

    a = trained(tmp_path / "a.h5", seed=1)
    b = trained(tmp_path / "b.h5", seed=2, snapshots=24)
    with open_run(a) as one, open_run(b) as other:
        known = read_beside(one, other, Choice())
        for run, subject in zip((one, other), known.runs, strict=True):
            for block in run.blocks():
                alone = gram_of(block.values)
                beside = subject.grams[block.tensor.name]
                np.testing.assert_allclose(beside.increments, alone.increments, rtol=1e-9)
        assert known.beside is not None
        # Hidden units of networks from two seeds are matched; the distance is of matched ones.
        seen, _ = aligned(one, other, known.beside.pairing, known.beside.aligned)
        arrays = [
            np.concatenate([b.values.astype(float) for b in run.blocks()], axis=1)
            for run in (one, seen)
        ]
    squares = sum(each.squares for each in known.beside.differences.values())
    rows, columns = known.beside.aligned.indices
    true = np.square(arrays[0][rows] - arrays[1][columns]).sum(axis=1)
    np.testing.assert_allclose(squares, true, rtol=1e-5)


def test_other_steps_are_aligned_by_progress_and_said(tmp_path: Path) -> None:
    a = trained(tmp_path / "a.h5", spacing=10)
    b = trained(tmp_path / "b.h5", spacing=7)
    found = koopscope.compare(a, b).foremost
    assert found.timeline.way == "progress"
    assert found.timeline.count == 30
    assert found.distance == pytest.approx(0.0, abs=1e-6)
    assert any("aligned by progress" in note for note in found.notes)


def test_other_names_are_matched_by_order_only_when_asked(tmp_path: Path) -> None:
    a = trained(tmp_path / "a.h5")
    b = trained(tmp_path / "b.h5", names={name: f"net/{name}" for name in SHAPES})
    apart = koopscope.compare(a, b).foremost
    assert not apart.layers
    assert apart.level == "network"
    assert any("no tensor of one name and shape" in note for note in apart.notes)
    matched = koopscope.compare(a, b, match_by_order=True)
    assert matched.verdict == "same"
    assert matched.foremost.rule == "weights"
    assert any("by order and shape" in note for note in matched.foremost.notes)


def test_order_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    a = trained(tmp_path / "a.h5")
    b = recorded(tmp_path / "b.h5", {"w": np.ones((5, 3, 3)).cumsum(axis=0)})
    with pytest.raises(KoopscopeError, match="order does not match"):
        koopscope.compare(a, b, match_by_order=True)


def test_a_run_that_breaks_off_differs_from_one_that_does_not(tmp_path: Path) -> None:
    a = trained(tmp_path / "a.h5")
    b = trained(tmp_path / "b.h5", seed=1, bad_from=20)
    found = koopscope.compare(a, b)
    assert (found.verdict, found.foremost.rule) == ("different", "breaks")
    assert found.foremost.timeline.steps[-1] == 190
    both = koopscope.compare(b, b)
    assert (both.verdict, both.foremost.rule, both.parts_at_step) == ("same", "weights", None)


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_snapshots_are_an_error_with_a_hint(tmp_path: Path, count: int) -> None:
    a = trained(tmp_path / "a.h5")
    b = trained(tmp_path / "b.h5", snapshots=count)
    with pytest.raises(KoopscopeError, match="cannot be compared") as refused:
        koopscope.compare(a, b)
    assert refused.value.hint is not None


def test_a_frozen_network_is_the_same_as_itself_and_not_as_a_moving_one(tmp_path: Path) -> None:
    still = recorded(tmp_path / "a.h5", {"w": np.ones((9, 4), np.float32)})
    moving = recorded(tmp_path / "b.h5", {"w": np.arange(36.0).reshape(9, 4) ** 2})
    assert koopscope.compare(still, still).verdict == "same"
    found = koopscope.compare(still, moving)
    assert np.isfinite(found.distance)
    assert found.distance > 1.0


def test_the_window_restricts_what_is_compared(tmp_path: Path) -> None:
    a, b = trained(tmp_path / "a.h5"), trained(tmp_path / "b.h5", seed=1)
    steps = koopscope.compare(a, b, window=(100, 200)).foremost.timeline.steps
    assert (steps[0], steps[-1]) == (100, 200)
    with pytest.raises(KoopscopeError, match="no snapshot in the window"):
        koopscope.compare(a, b, window=(5000, None))


def test_the_first_is_held_against_each_of_the_others(tmp_path: Path) -> None:
    a = trained(tmp_path / "a.h5")
    found = koopscope.compare(a, a, trained(tmp_path / "c.h5", seed=5, decays=(0.5, 0.3)))
    assert found.pairs[0].verdict == "same"
    assert found.verdict == found.pairs[1].verdict


def test_a_layer_may_be_called_network(tmp_path: Path) -> None:
    names = {name: name.replace("body", "network") for name in SHAPES}
    a = trained(tmp_path / "a.h5", names=names)
    found = koopscope.compare(a, trained(tmp_path / "b.h5", seed=1, names=names)).foremost
    assert [layer.name for layer in found.layers] == ["network", "head"]
    assert found.layers[0].distance.value != found.network.value
    assert found.level == "layers"


def test_losses_that_the_runs_share_rank_them(tmp_path: Path) -> None:
    samples = Path(__file__).parents[2] / "sample_runs"
    found = koopscope.compare(samples / "lr_too_high.h5", samples / "mlp_sgd.h5")
    recorded = document(found)["recorded"]
    assert recorded["metric"] == "val_loss"
    assert [Path(run["path"]).name for run in recorded["runs"]] == ["mlp_sgd.h5", "lr_too_high.h5"]
    for run in recorded["runs"]:
        with open_run(run["path"]) as read:
            values, steps = read.description.metrics["val_loss"], read.description.steps
        assert run["value"] == values.min()
        assert run["step"] == steps[values.argmin()]
        assert run["last"] == values[-1]
    losses = render(found, Page()).partition("best val_loss")[2]
    assert losses.index("mlp_sgd.h5") < losses.index("lr_too_high.h5")
