"""Small files that PyTorch wrote in every form are read without it, bit for bit.

``tests/data/torch/make.py`` wrote them, and what PyTorch itself reads of them.
"""

import random
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from koopscope.errors import KoopscopeError
from koopscope.runs.checkpoints.torch.distributed import distributed_snapshot
from koopscope.runs.checkpoints.torch.snapshots import is_torch, torch_snapshot
from koopscope.runs.checkpoints.torch.window import opened
from koopscope.runs.detect.opening import open_run

DATA = Path(__file__).parents[2] / "data" / "torch"
FILES = ("zip.pt", "stream.pt", "checkpoint_003.pth.tar", "module", "scripted.pt", "lightning.ckpt")


def expected(name):
    with np.load(DATA / "expected.npz") as stored:
        return {key.partition("|")[2]: stored[key] for key in stored if key.startswith(f"{name}|")}


def values(snapshot, width=3):
    reader, found = snapshot.open(), {}
    try:
        for tensor in snapshot.tensors:
            kind = np.float32 if tensor.dtype == "bfloat16" else np.dtype(tensor.dtype)
            out = np.empty(tensor.size, kind)
            for start in range(0, tensor.size, width):
                stop = min(start + width, tensor.size)
                reader.read(tensor, start, stop, out[start:stop])
            found[tensor.name] = out.reshape(tensor.shape)
    finally:
        reader.close()
    return found


def assert_as_pytorch_reads(found, name):
    wanted = expected(name)
    wanted.pop("tied", None)
    assert found.keys() == wanted.keys()
    for tensor, right in wanted.items():
        assert found[tensor].dtype == right.dtype
        np.testing.assert_array_equal(found[tensor], right, err_msg=tensor)


@pytest.mark.parametrize("width", [1, 3, 1000])
@pytest.mark.parametrize("name", FILES)
def test_every_form_is_read_as_pytorch_reads_it(name, width, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert_as_pytorch_reads(values(torch_snapshot(DATA / name), width), name)


@pytest.mark.parametrize("name", ["zip.pt", "stream.pt"])
def test_what_is_no_weight_is_named_with_its_reason(name):
    skipped = {skip.name: skip.reason for skip in torch_snapshot(DATA / name).skipped}
    assert skipped == {
        "tied": "tied to plain.weight",
        "counts": "int64 values, not floats that are recorded",
        "sparse": "sparse layout, not a plain array",
    }


@pytest.mark.parametrize("name", ["zip.pt", "stream.pt"])
def test_weights_that_are_not_read_are_counted(name):
    missed = {skip.name: skip.weights for skip in torch_snapshot(DATA / name).skipped}
    assert missed == {"tied": 0, "counts": 0, "sparse": None}


def test_what_was_taken_and_what_else_is_there_is_said_and_key_chooses():
    path = DATA / "checkpoint_003.pth.tar"
    snapshot = torch_snapshot(path)
    assert (snapshot.step, snapshot.unit) == (3, "epoch")
    assert dict(snapshot.metrics) == {"best_acc1": 61.5}
    assert snapshot.notes == (
        "the weights are what lies under state_dict (--key chooses others: state_dict_ema)",
    )
    skipped = {skip.name: skip.reason for skip in snapshot.skipped}
    assert skipped["best_acc1"] == "a tensor beside the weights"
    assert skipped["args"] == "not a tensor but a Namespace"
    averages = values(torch_snapshot(path, "state_dict_ema"))
    for name, right in expected(path.name).items():
        np.testing.assert_array_equal(averages[name], right / 2)
    with pytest.raises(KoopscopeError, match="no tensors under nothing") as raised:
        torch_snapshot(path, "nothing")
    assert raised.value.hint == "tensors lie under state_dict, state_dict_ema"


def test_a_file_without_a_suffix_is_told_by_its_bytes(tmp_path):
    for name in (*FILES, "expected.npz", "make.py"):
        with opened(DATA / name) as window:
            assert is_torch(window) == (name in FILES)
    for epoch in (1, 2):
        shutil.copy(DATA / "stream.pt", tmp_path / f"weights-{epoch}")
    with open_run(tmp_path) as run:
        assert run.description.steps.tolist() == [1, 2]
    with open_run(DATA / "module") as run:
        assert run.description.steps.tolist() == [4]


def test_two_ranks_of_a_distributed_checkpoint_are_joined():
    snapshot = distributed_snapshot(DATA / "distributed" / ".metadata")
    assert snapshot.step == 7
    for width in (1, 4, 1000):
        assert_as_pytorch_reads(values(snapshot, width), "distributed")


def damaged(tmp_path, old, new):
    folder = tmp_path / "damaged"
    shutil.copytree(DATA / "distributed", folder)
    raw = (folder / ".metadata").read_bytes()
    assert old in raw
    (folder / ".metadata").write_bytes(raw.replace(old, new))
    return folder


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b"__1_0.distcp", b"../a/.distcp", "not beside it"),
        (b"__1_0.distcp", b"__7_0.distcp", r"__7_0\.distcp is missing"),
        (b"K\x03K\x00\x86", b"K\x02K\x00\x86", "overlap|listed twice|is in no file|does not hold"),
        (b"K\x05K\x03\x86", b"K\x06K\x03\x86", "hold 15 of its 18 values"),
        (b"K\x02K\x03\x86", b"K\x09K\x03\x86", "does not lie within its shape"),
    ],
)
def test_a_distributed_checkpoint_that_contradicts_itself_is_one_sentence(tmp_path, old, new, said):
    with pytest.raises(KoopscopeError, match=said) as raised:
        distributed_snapshot(damaged(tmp_path, old, new) / ".metadata")
    assert "\n" not in raised.value.message


def test_a_shard_that_is_cut_short_is_one_sentence(tmp_path):
    folder = tmp_path / "short"
    shutil.copytree(DATA / "distributed", folder)
    raw = (folder / "__1_0.distcp").read_bytes()
    (folder / "__1_0.distcp").write_bytes(raw[: len(raw) // 4])
    with pytest.raises(KoopscopeError, match=r"__1_0\.distcp has"):
        values(distributed_snapshot(folder / ".metadata"))


@pytest.mark.parametrize("name", FILES)
def test_a_changed_file_is_one_sentence_or_is_read(tmp_path, name):
    whole = (DATA / name).read_bytes()
    chance = random.Random(name)
    path = tmp_path / name
    for _ in range(60):
        changed = bytearray(whole)
        for _ in range(chance.choice((1, 1, 2, 8))):
            changed[chance.randrange(len(changed))] = chance.randrange(256)
        if chance.random() < 0.2:
            del changed[chance.randrange(len(changed)) :]
        path.write_bytes(changed)
        try:
            values(torch_snapshot(path), 1000)
        except KoopscopeError as error:
            assert "\n" not in error.message  # noqa: PT017


def test_changed_metadata_is_one_sentence_or_is_read(tmp_path):
    folder = tmp_path / "distributed"
    shutil.copytree(DATA / "distributed", folder)
    whole = (folder / ".metadata").read_bytes()
    chance = random.Random(0)
    for _ in range(100):
        changed = bytearray(whole)
        changed[chance.randrange(len(changed))] = chance.randrange(256)
        (folder / ".metadata").write_bytes(changed)
        try:
            values(distributed_snapshot(folder / ".metadata"), 1000)
        except KoopscopeError as error:
            assert "\n" not in error.message  # noqa: PT017
