"""Flax and Orbax write; koopscope reads the same numbers, and refuses what is damaged."""

import json
import struct
import sys

import numpy as np
import pytest

from koopscope.errors import KoopscopeError
from koopscope.runs.checkpoints.msgpack import msgpack_snapshot
from koopscope.runs.detect.opening import open_run
from koopscope.runs.native.recorder import Recorder
from tests.calling import called
from tests.frameworks import assert_same_numbers, framework
from tests.series_files import trajectory


def trees(snapshots=12, dtype="float32"):
    run = trajectory(snapshots, dtype)
    for t in range(snapshots):
        weights = {name: values[t] for name, values in sorted(run.items())}
        yield {"params": {"net": weights, "others": [weights["first.bias"]]}, "step": 10 * t}


def recorded(tmp_path, **kwargs):
    with Recorder(tmp_path / "beside.h5") as recorder:
        for tree in trees(**kwargs):
            net = tree["params"]["net"]
            named = {f"params/net/{name}": values for name, values in net.items()}
            recorder.snapshot(tree["step"], {**named, "params/others/0": net["first.bias"]})
    return tmp_path / "beside.h5"


def weights(run):
    found = {}
    for tensor in run.description.tensors:
        out = np.empty((run.description.snapshots, tensor.size), run.read_dtype(tensor))
        run.read(tensor, 0, tensor.size, out)
        part = np.empty((run.description.snapshots, tensor.size - 2), out.dtype)
        run.read(tensor, 1, tensor.size - 1, part)
        np.testing.assert_array_equal(part, out[:, 1:-1])
        found[tensor.name] = (tensor.shape, tensor.dtype, out)
    return found


def assert_same_run(one, other):
    with open_run(one) as first, open_run(other) as second:
        assert first.description.steps.tolist() == second.description.steps.tolist()
        mine, theirs = weights(first), weights(second)
    assert mine.keys() == theirs.keys()
    for name, (shape, dtype, values) in mine.items():
        assert (shape, dtype) == theirs[name][:2]
        np.testing.assert_array_equal(values, theirs[name][2])
    assert_same_numbers(other, one, 0)


@pytest.mark.parametrize("name", ["checkpoint_{}", "step_{}.msgpack"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_flax_bytes_are_the_run_recorded_beside(tmp_path, name, dtype):
    serialization = framework("flax.serialization")
    folder = tmp_path / "saved"
    folder.mkdir()
    for tree in trees(dtype=dtype):
        path = folder / name.format(tree["step"])
        path.write_bytes(serialization.to_bytes(tree))
    assert_same_run(folder, recorded(tmp_path, dtype=dtype))


def test_bfloat16_scalars_and_chunks_of_flax(tmp_path, monkeypatch):
    serialization = framework("flax.serialization")
    jnp = framework("jax.numpy")
    monkeypatch.setattr(serialization, "MAX_CHUNK_SIZE", 40)
    tree = {
        "w": np.arange(60, dtype=np.float32).reshape(5, 12),
        "half": jnp.asarray([1.0, -2.5, 3.0], jnp.bfloat16),
        "epoch": np.int64(7),
        "loss": 0.25,
        "count": 3 + 4j,
    }
    path = tmp_path / "a.msgpack"
    path.write_bytes(serialization.msgpack_serialize(tree))
    with open_run(path) as run:
        assert run.description.steps.tolist() == [7]
        assert run.description.metrics["loss"].tolist() == [0.25]
        found = weights(run)
    assert found["w"][0] == (5, 12)
    np.testing.assert_array_equal(found["w"][2][0], np.arange(60))
    assert found["half"][1] == "bfloat16"
    assert found["half"][2].tolist() == [[1.0, -2.5, 3.0]]


def ext(shape, dtype, data, code=1):
    def text(words):
        return bytes([0xA0 | len(words)]) + words.encode()

    axes = b"".join(b"\xcf" + n.to_bytes(8, "big") for n in shape)
    body = b"\x93" + bytes([0x90 | len(shape)]) + axes + text(dtype)
    body += b"\xc6" + len(data).to_bytes(4, "big") + data
    return b"\xc9" + len(body).to_bytes(4, "big") + bytes([code]) + body


GOOD = b"\x81\xa1w" + ext((2,), "float32", struct.pack("<2f", 1, 2))


def test_the_smallest_file_is_read(tmp_path):
    path = tmp_path / "a.msgpack"
    path.write_bytes(GOOD)
    with open_run(path) as run:
        assert weights(run)["w"][2].tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "ends at byte 0"),
        (GOOD[:-3], "ends at byte"),
        (GOOD + b"\0", "bytes follow"),
        (b"\x81\xa1w" + ext((2**40,), "float32", b"1234"), "does not fit"),
        (b"\x81\xa1w" + ext((2**62, 4), "float32", b""), "does not fit"),
        (b"\x81\xa1w\xc6\xff\xff\xff\xff", "are wanted"),
        (b"\xdf\xff\xff\xff\xff", "declares"),
        (b"\x81\xa1w\xdd\xff\xff\xff\xff", "declares"),
        (b"\x81\xa1w" + b"\x91" * 5000 + b"\xc0", "nested deeper"),
        (b"\x81\xa1w\xc1", "begins no value"),
        (b"\x82" + GOOD[1:] + GOOD[1:], "twice"),
        (b"\x81\x90" + GOOD[3:], "no text"),
        (b"\x81\xa2\xff\xff\xc0", "not UTF-8"),
        (b"\x93\x01\x02\x03\x04", "bytes follow"),
        (b"\xc0", "no mapping"),
    ],
)
def test_damaged_msgpack_is_one_sentence(tmp_path, data, said, capsys):
    path = tmp_path / "bad.msgpack"
    path.write_bytes(data)
    code, _, told = called(capsys, "inspect", path)
    assert code == 2
    assert said in told
    assert "Traceback" not in told


def test_every_cut_and_every_changed_byte_is_read_or_refused(tmp_path):
    path = tmp_path / "bad.msgpack"
    for place in range(len(GOOD)):
        for value in (0, 0x7F, 0x93, 0xC9, 0xDF, 0xFF):
            path.write_bytes(GOOD[:place] + bytes([value]) + GOOD[place + 1 :])
            try:
                snapshot = msgpack_snapshot(path)
            except KoopscopeError:
                continue
            assert all(tensor.size <= len(GOOD) for tensor in snapshot.tensors)


def save_orbax(folder, **settings):
    ocp = framework("orbax.checkpoint")
    framework("tensorstore")
    handler = ocp.PyTreeCheckpointHandler(**settings)
    with ocp.Checkpointer(handler) as checkpointer:
        for tree in trees():
            checkpointer.save(folder / str(tree["step"]), tree)


@pytest.mark.parametrize("settings", [{}, {"use_ocdbt": False}, {"use_zarr3": True}])
def test_orbax_is_the_run_recorded_beside(tmp_path, settings):
    save_orbax(tmp_path / "saved", **settings)
    assert_same_run(tmp_path / "saved", recorded(tmp_path))


def test_the_manager_of_orbax_and_what_it_has_not_completed(tmp_path):
    ocp = framework("orbax.checkpoint")
    framework("tensorstore")
    with ocp.CheckpointManager(tmp_path / "saved") as manager:
        for tree in trees():
            manager.save(tree["step"], args=ocp.args.StandardSave(tree))
        manager.wait_until_finished()
    (tmp_path / "saved" / "99.orbax-checkpoint-tmp").mkdir()
    assert_same_run(tmp_path / "saved", recorded(tmp_path))


def test_orbax_without_tensorstore_says_what_to_install(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "10"
    folder.mkdir()
    (folder / "_METADATA").write_text("{}")
    monkeypatch.setitem(sys.modules, "tensorstore", None)
    code, _, told = called(capsys, "inspect", folder)
    assert code == 2
    assert "read with the package tensorstore" in told
    assert "koopscope[orbax]" in told


def test_damaged_orbax_is_one_sentence(tmp_path, capsys):
    save_orbax(tmp_path / "saved")
    folder = tmp_path / "saved" / "10"
    said = json.loads((folder / "_METADATA").read_text())
    for spoilt in ("{", "[]", json.dumps({"tree_metadata": {"a": 1}}), "[" * 100_000):
        (folder / "_METADATA").write_text(spoilt)
        code, _, told = called(capsys, "inspect", folder)
        assert code == 2
        assert "is not the metadata of an Orbax checkpoint" in told
    for key in ("../../etc", "..", "a/b"):
        entry = dict(next(iter(said["tree_metadata"].values())))
        entry["key_metadata"] = [{"key": key}]
        (folder / "_METADATA").write_text(json.dumps({"tree_metadata": {"a": entry}}))
        code, _, told = called(capsys, "inspect", folder)
        assert code == 2
        assert "no name in a store" in told
    (folder / "_METADATA").write_text(json.dumps(said))
    for path in folder.rglob("*"):
        if path.is_file() and path.name != "_METADATA":
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    code, _, told = called(capsys, "inspect", folder)
    assert code == 2
    assert "cannot be read" in told
