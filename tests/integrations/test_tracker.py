"""The plain loop: what is recorded, when, by whom, and when it says stop."""

import multiprocessing
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest

from koopscope.analysis.analysis import Analysis
from koopscope.analysis.settings import Settings
from koopscope.diagnostics import convergence
from koopscope.diagnostics.finding import Finding
from koopscope.errors import KoopscopeError
from koopscope.integrations import Tracker
from koopscope.integrations.stopping import ConvergenceWatch
from koopscope.integrations.tensors import local_parts
from koopscope.runs.detect.opening import open_run, open_shards
from koopscope.runs.sketches import SketchInfo
from koopscope.runs.sketching.sketcher import Sketcher
from tests.frameworks import framework


def settling(step):
    rng = np.random.default_rng(0)
    start, away = rng.normal(size=(2, 5, 4))
    return {"fc.weight": start + 0.6**step * away, "fc.bias": np.ones(4, np.float32) * 0.9**step}


def test_snapshots_are_taken_at_their_steps_with_metrics(tmp_path):
    tracker = Tracker(tmp_path / "run.h5", every_n_steps=3, metadata={"lr": 0.1})
    tracker.start(0, settling(0))
    taken = [
        step for step in range(1, 11) if tracker.after_step(step, settling(step), loss=1 / step)
    ]
    assert taken == [3, 6, 9]
    tracker.close()
    with open_run(tmp_path / "run.h5") as run:
        assert run.description.steps.tolist() == [0, 3, 6, 9]
        assert run.description.metadata == {"lr": 0.1}
        np.testing.assert_array_equal(
            run.description.metrics["loss"], [np.nan, 1 / 3, 1 / 6, 1 / 9]
        )


LOOP = """
import sys, weakref
weakref.finalize(sys, print)  # registers the exit hook of weakref before that of h5py
import numpy as np
from koopscope.integrations import Tracker
tracker = Tracker(sys.argv[1], every_n_steps=1, write_every_seconds=1000)
weights = np.zeros(3)
for step in range(1, 6):
    weights += 1
    tracker.after_step(step, {"w": weights}, **({"loss": 1.0} if step > 2 else {}))
"""


def test_what_is_kept_back_is_a_copy_and_is_written_when_the_program_ends(tmp_path):
    arguments = [sys.executable, "-c", LOOP, str(tmp_path / "run.h5")]
    subprocess.run(arguments, check=True, env={**os.environ, "PYTHONPATH": os.getcwd()})
    with open_run(tmp_path / "run.h5") as run:
        assert run.description.steps.tolist() == [1, 2, 3, 4, 5]
        np.testing.assert_array_equal(run.description.metrics["loss"], [np.nan, np.nan, 1, 1, 1])
        for block in run.blocks():
            np.testing.assert_array_equal(block.values, np.outer(range(1, 6), np.ones(3)))


def test_large_snapshots_are_not_kept_back(tmp_path):
    tracker = Tracker(tmp_path / "run.h5", every_n_steps=1, write_every_seconds=1000)
    for step in (1, 2):
        tracker.after_step(step, {"w": np.full(5_000_000, step, np.float32)})
    with open_run(tmp_path / "run.h5") as run:
        assert run.description.steps.tolist() == [1, 2]


def test_every_epoch_is_the_default_and_steps_are_what_is_stored(tmp_path):
    tracker = Tracker(tmp_path / "run.h5")
    for epoch in range(1, 4):
        assert not tracker.after_step(epoch * 10 - 5, settling(epoch))
        assert tracker.after_epoch(epoch, epoch * 10, settling(epoch))
    tracker.close()
    with open_run(tmp_path / "run.h5") as run:
        assert run.description.steps.tolist() == [10, 20, 30]


def test_a_selection_is_recorded_and_wrappers_names_are_removed(tmp_path):
    tracker = Tracker(tmp_path / "run.h5", every_n_steps=1, exclude=["*.bias"])
    tracker.after_step(1, {f"module.{name}": value for name, value in settling(1).items()})
    with open_run(tmp_path / "run.h5") as run:
        assert [tensor.name for tensor in run.description.tensors] == ["fc.weight"]


def test_going_on_from_a_checkpoint_drops_what_came_after_it(tmp_path):
    for first in (0, 4):
        tracker = Tracker(tmp_path / "run.h5", every_n_steps=2)
        tracker.start(first, settling(first))
        for step in range(first + 1, first + 7):
            tracker.after_step(step, settling(step))
        tracker.close()
    with open_run(tmp_path / "run.h5") as run:
        assert run.description.steps.tolist() == [0, 2, 4, 6, 8, 10]


@pytest.mark.parametrize(
    "options",
    [
        {"every_n_steps": 1, "every_n_epochs": 1},
        {"every_n_steps": 0},
        {"shards": True, "stop_on_convergence": True},
    ],
)
def test_wrong_options_are_said_before_training(tmp_path, options):
    with pytest.raises(KoopscopeError):
        Tracker(tmp_path / "run.h5", **options)


@pytest.mark.parametrize("begins_by", ["start", "first step"])
def test_a_second_training_is_recorded_beside_the_first_and_said_once(tmp_path, begins_by):
    for name in ("run.h5", "run-2.h5", "run-3.h5"):
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            tracker = Tracker(tmp_path / "run.h5", every_n_steps=1, write_every_seconds=0)
            if begins_by == "start":
                tracker.start(0, settling(0))
            for step in (1, 2, 3):
                tracker.after_step(step, settling(step))
            tracker.close()
        assert tracker.path == tmp_path / name
        assert len(said) == (name != "run.h5")
        with open_run(tracker.path) as run:
            assert run.description.steps.tolist()[-3:] == [1, 2, 3]


def test_a_loop_that_goes_on_from_a_later_step_goes_on_in_the_file(tmp_path):
    for steps in ((1, 2, 3), (4, 5)):
        with Tracker(tmp_path / "run.h5", every_n_steps=1) as tracker:
            for step in steps:
                tracker.after_step(step, settling(step))
    with open_run(tmp_path / "run.h5") as run:
        assert run.description.steps.tolist() == [1, 2, 3, 4, 5]


def test_the_verdict_is_on_the_file_that_is_recorded(tmp_path):
    for _ in range(2):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tracker = Tracker(tmp_path / "run.h5", every_n_steps=5, stop_on_convergence=True)
            for step in range(5, 60, 5):
                tracker.after_step(step, settling(step / 10))
        assert tracker._watch.path == tracker.path
        tracker.close()
    assert tracker.path.name == "run-2.h5"


def test_an_empty_selection_and_an_unknown_mode_are_said_at_the_start(tmp_path):
    with pytest.raises(KoopscopeError, match="mode 'append' is not known"):
        Tracker(tmp_path / "run.h5", mode="append")
    with pytest.raises(KoopscopeError, match="no tensor"):
        Tracker(tmp_path / "other.h5", include=["none"]).start(0, settling(0))


def test_only_rank_0_records(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    tracker = Tracker(tmp_path / "run.h5", every_n_steps=1)
    tracker.after_step(1, settling(1))
    assert not (tmp_path / "run.h5").exists()


def test_the_watch_asks_what_the_command_asks(tmp_path):
    tracker = Tracker(tmp_path / "run.h5", every_n_steps=5, write_every_seconds=0)
    watch = ConvergenceWatch(tmp_path / "run.h5")
    for step in range(5, 150, 5):
        tracker.after_step(step, settling(step / 10))
        watch.stop_step()
    with open_run(tmp_path / "run.h5") as run:
        expected = convergence.DIAGNOSTIC.ask(Analysis.of(run, Settings()))
    assert watch.finding.status == expected.status
    assert watch.finding.evidence["stop_step"] == expected.evidence["stop_step"]
    assert watch.finding.evidence["remaining"] == pytest.approx(
        expected.evidence["remaining"], rel=1e-9
    )


class Verdict:
    """Stands in for the diagnostic where a test needs a verdict at a known step."""

    def __init__(self, step):
        self.step = step

    def ask(self, analysis):
        reached = analysis.description.steps[-1] >= self.step
        return Finding(
            "convergence",
            "KS101",
            "pass",
            "settled",
            evidence=convergence.ConvergenceEvidence(stop_step=self.step * reached or None),
        )


@pytest.mark.parametrize(("patience", "from_epoch", "stops"), [(0, 0, 5), (2, 0, 7), (0, 8, 8)])
def test_stopping_waits_for_patience_and_the_first_epoch(
    tmp_path, monkeypatch, patience, from_epoch, stops
):
    monkeypatch.setattr(convergence, "DIAGNOSTIC", Verdict(50))
    tracker = Tracker(
        tmp_path / "run.h5",
        stop_on_convergence=True,
        patience=patience,
        start_from_epoch=from_epoch,
    )
    for epoch in range(1, 20):
        tracker.after_epoch(epoch, 10 * epoch, settling(epoch))
        if tracker.should_stop:
            break
    assert (tracker.stopped_epoch, tracker.stopped_step) == (stops, 10 * stops)
    assert tracker.stopping_reason_message == "settled"


def test_a_watch_that_fails_warns_once_and_lets_training_go_on(tmp_path):
    watch = ConvergenceWatch(tmp_path / "none.h5")
    with pytest.warns(RuntimeWarning, match="is not known"):
        assert watch.stop_step() is None
    assert watch.stop_step() is None


def test_parts_given_as_mappings_are_named_by_rank():
    parts = local_parts({"w": np.ones(3)}, 2, whole=False)
    assert list(parts) == ["w[2]"]
    assert local_parts({"w": np.ones(3)}, 2, whole=True) == {}


def _sharded_rank(rank, folder):
    import torch
    from torch.distributed.fsdp import fully_shard

    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2
    )
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2))
    fully_shard(model, mesh=torch.distributed.init_device_mesh("cpu", (2,)))
    refused = False
    try:
        Tracker(f"{folder}/whole.h5").start(0, model)
    except KoopscopeError as error:
        refused = "shards=True" in error.hint
    assert refused or rank
    tracker = Tracker(f"{folder}/run.h5", every_n_steps=1, shards=True)
    sketched = Tracker(f"{folder}/sketch.h5", every_n_steps=1, sketch=16)
    kept = Tracker(f"{folder}/kept.h5", every_n_steps=1, sketch=16, keep_every=2)
    refused = False
    try:
        kept.start(0, model)
    except KoopscopeError as error:
        refused = "cannot be kept" in str(error)
    assert refused
    sketched.start(0, model)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    inputs = torch.randn(16, 6)
    for step in range(1, 4):
        optimizer.zero_grad()
        model(inputs).square().mean().backward()
        optimizer.step()
        tracker.after_step(step, model)
        sketched.after_step(step, model, loss=1.0 / step)
    tracker.close()
    sketched.close()
    whole = {name: p.full_tensor().detach().numpy() for name, p in model.named_parameters()}
    if rank == 0:
        np.savez(f"{folder}/whole.npz", **whole)
    torch.distributed.destroy_process_group()


def test_sketches_are_taken_when_they_are_due_and_written_together(tmp_path):
    with Tracker(
        tmp_path / "run.h5", every_n_steps=2, sketch=16, keep_every=3, write_every_seconds=1000
    ) as tracker:
        tracker.start(0, settling(0))
        for step in range(1, 11):
            tracker.after_step(step, settling(step))
    with open_run(tmp_path / "run.h5") as run:
        assert run.description.steps.tolist() == [0, 2, 4, 6, 8, 10]
        assert run.description.sketch.kept == (0, 3)
        tensor = run.description.tensors[0]
        found = run.sketched(tensor)
        assert np.isfinite(found.fact("change")[1:]).all()
        exact = [
            np.square(settling(s)["fc.weight"] - settling(0)["fc.weight"]).sum() for s in (2, 4)
        ]
        np.testing.assert_allclose(found.fact("start")[1:3], exact, rtol=1e-9)


def test_shards_and_sketches_exclude_each_other(tmp_path):
    with pytest.raises(KoopscopeError, match="add up in one"):
        Tracker(tmp_path / "run.h5", shards=True, sketch=True)


def test_each_rank_records_its_part_of_a_sharded_model(tmp_path):
    torch = framework("torch")
    if not torch.distributed.is_available():
        pytest.skip("this PyTorch has no distributed package")
    context = multiprocessing.get_context("spawn")
    ranks = [context.Process(target=_sharded_rank, args=(rank, str(tmp_path))) for rank in (0, 1)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(120)
    assert [process.exitcode for process in ranks] == [0, 0]
    parts = {}
    with open_shards([tmp_path / "run.rank0.h5", tmp_path / "run.rank1.h5"]) as run:
        assert run.description.steps.tolist() == [1, 2, 3]
        for block in run.blocks():
            parts[block.tensor.name] = block.values[-1].reshape(block.tensor.shape).copy()
    with np.load(tmp_path / "whole.npz") as whole:
        assert len(parts) == 2 * len(whole.files)
        for name in whole.files:
            joined = np.concatenate([parts[f"{name}[0]"], parts[f"{name}[1]"]])
            np.testing.assert_array_equal(joined, whole[name])
        _assert_sums_of_sketches(tmp_path / "sketch.h5", whole)


def _assert_sums_of_sketches(path, whole):
    """Rank 0's sums of what every rank sketched are the sketches of the whole tensors."""
    with open_run(path) as run:
        assert run.description.steps.tolist() == [0, 1, 2, 3]
        assert run.description.metrics["loss"].tolist()[1:] == [1.0, 0.5, 1.0 / 3]
        tensors = {tensor.name: tensor for tensor in run.description.tensors}
        assert {name: tensor.shape for name, tensor in tensors.items()} == {
            name: whole[name].shape for name in whole.files
        }
        alone = Sketcher(SketchInfo(16, 0)).measured({name: whole[name] for name in whole.files})
        for name in whole.files:
            found = run.sketched(tensors[name])
            np.testing.assert_allclose(found.values[-1], alone[name].values, atol=1e-6)
            square = float(np.square(whole[name]).sum())
            np.testing.assert_allclose(found.fact("square")[-1], square, rtol=1e-6)
            assert np.isfinite(found.fact("change")[1:]).all()
