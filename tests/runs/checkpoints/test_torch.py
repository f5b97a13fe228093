"""PyTorch's own files: what they hold is read, and what would run code is refused and does not."""

import pickle
import zipfile

import numpy as np
import pytest

from koopscope.errors import KoopscopeError
from koopscope.runs.detect.converting import convert
from koopscope.runs.detect.opening import open_foreign, open_run
from koopscope.runs.native.recorder import Recorder
from tests.frameworks import assert_same_numbers, framework

torch = framework("torch")


def trained(folder, wrap=lambda state, step: state, **save):
    """Train a small network; save a checkpoint and record a snapshot at every step."""
    torch.manual_seed(0)
    folder.mkdir()
    network = torch.nn.Sequential(
        torch.nn.Linear(5, 9), torch.nn.BatchNorm1d(9), torch.nn.Tanh(), torch.nn.Linear(9, 1)
    )
    optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9)
    inputs = torch.randn(32, 5)
    recorder = Recorder(folder.parent / "run.h5")
    for step in range(1, 11):
        optimizer.zero_grad()
        ((network(inputs) - inputs[:, :1]) ** 2).mean().backward()
        optimizer.step()
        torch.save(wrap(network.state_dict(), step), folder / f"step_{step}.pt", **save)
        recorder.snapshot(step, network.state_dict())
    return folder


@pytest.mark.filterwarnings("ignore:not recorded")
@pytest.mark.parametrize(
    "wrap",
    [
        lambda state, step: state,
        lambda state, step: {"model_state_dict": state, "epoch": step, "loss": 1.0 / step},
        lambda state, step: {"model": {f"module.{k}": v for k, v in state.items()}, "step": step},
    ],
)
def test_saved_state_dicts_hold_the_numbers_recorded_beside_them(tmp_path, wrap):
    trained(tmp_path / "saved", wrap)
    assert_same_numbers(tmp_path / "run.h5", tmp_path / "saved", first_step=1)
    with open_foreign([tmp_path / "saved"]) as run:
        convert(run, tmp_path / "converted.h5", tensors=run.description.tensors, metrics={})
        skipped = {skip.name: skip.reason for skip in run.description.skipped}
        assert skipped["1.num_batches_tracked"].startswith("int64")
    assert_same_numbers(tmp_path / "run.h5", tmp_path / "converted.h5", first_step=1)


@pytest.mark.filterwarnings("ignore:not recorded")
def test_files_from_before_pytorch_1_6_are_read_too(tmp_path):
    trained(tmp_path / "saved", _use_new_zipfile_serialization=False)
    assert_same_numbers(tmp_path / "run.h5", tmp_path / "saved", first_step=1)


def saved(path, content):
    torch.save(content, path)
    return path


def test_tied_tensors_are_read_once(tmp_path):
    weight = torch.ones(3, 4)
    path = saved(tmp_path / "step_1.pt", {"embed.weight": weight, "head.weight": weight})
    with open_run([path]) as run:
        assert [tensor.name for tensor in run.description.tensors] == ["embed.weight"]
        assert run.description.skipped[0].reason == "tied to embed.weight"


def test_bfloat16_and_transposed_tensors_are_read_as_what_they_hold(tmp_path):
    tensors = {"a": torch.randn(4, 3).bfloat16(), "b": torch.randn(4, 3).T}
    path = saved(tmp_path / "step_1.pt", tensors)
    with open_run([path]) as run:
        for block in run.blocks(block_bytes=16):
            expected = tensors[block.tensor.name].float().reshape(-1).numpy()
            np.testing.assert_array_equal(block.values[0], expected[block.start : block.stop])


class Hostile:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_a_pickle_that_runs_code_is_refused_and_nothing_runs(tmp_path):
    path = saved(tmp_path / "step_1.pt", {"w": torch.ones(3), "x": Hostile(tmp_path / "ran")})
    plain = tmp_path / "step_2.pt"
    plain.write_bytes(pickle.dumps({"w": Hostile(tmp_path / "ran")}))
    for hostile in (path, plain):
        with pytest.raises(KoopscopeError, match=rf"{hostile.name} is refused"):
            open_run([hostile])
    assert not (tmp_path / "ran").exists()
    torch.load(path, weights_only=False)["x"].close()
    assert (tmp_path / "ran").exists()


def test_a_truncated_file_is_named(tmp_path):
    path = saved(tmp_path / "step_1.pt", {"w": torch.ones(1000)})
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(KoopscopeError, match=r"step_1\.pt cannot be read by PyTorch"):
        open_run([path])


@pytest.mark.parametrize("content", [{"epoch": 3, "name": "x"}, [1, 2], 3.0])
def test_a_file_without_named_tensors_is_an_error(tmp_path, content):
    with pytest.raises(KoopscopeError, match=r"step_1\.pt holds"):
        open_run([saved(tmp_path / "step_1.pt", content)])


def test_an_archive_of_something_else_is_an_error(tmp_path):
    with zipfile.ZipFile(tmp_path / "step_1.pt", "w") as archive:
        archive.writestr("readme.txt", "none")
    with pytest.raises(KoopscopeError, match=r"step_1\.pt"):
        open_run([tmp_path / "step_1.pt"])


def test_a_tensor_that_declares_more_than_the_file_stores_is_left_out(tmp_path):
    vast = torch.ones(1).expand(10**12)
    path = saved(tmp_path / "step_1.pt", {"vast": vast, "w": torch.ones(3)})
    with open_run([path]) as run:
        assert [tensor.name for tensor in run.description.tensors] == ["w"]
        assert "more values than the file stores" in run.description.skipped[0].reason
