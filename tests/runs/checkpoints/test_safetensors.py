"""Damaged safetensors are named with file and tensor; good ones are read exactly."""

import json

import numpy as np
import pytest

from koopscope.errors import KoopscopeError
from koopscope.runs.detect.opening import open_run
from tests.series_files import trajectory, write_raw_safetensors, write_safetensors


@pytest.fixture
def tensors():
    return {name: values[0] for name, values in trajectory(1).items()}


def header_of(path):
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    return json.loads(raw[8 : 8 + length]), raw[8 + length :]


def refused(path, *words):
    with pytest.raises(KoopscopeError) as caught:
        open_run([path])
    for word in (str(path), *words):
        assert word in caught.value.message


def test_a_truncated_file_names_the_first_tensor_that_is_cut(tmp_path, tensors):
    path = write_safetensors(tmp_path / "step_1.safetensors", tensors)
    path.write_bytes(path.read_bytes()[:-8])
    refused(path, "truncated", "last.weight")


@pytest.mark.parametrize("length", [0, 5, 8, 40])
def test_a_file_cut_in_its_header_is_truncated(tmp_path, tensors, length):
    path = write_safetensors(tmp_path / "step_1.safetensors", tensors)
    path.write_bytes(path.read_bytes()[:length])
    refused(path, "truncated")


@pytest.mark.parametrize(
    "offsets", [[4, 100], [0, 2**63], [-4, 92], [96, 0], [0], "0:96", [0.0, 96.0], None]
)
def test_wrong_offsets_name_the_tensor(tmp_path, tensors, offsets):
    path = write_safetensors(tmp_path / "step_1.safetensors", tensors)
    header, data = header_of(path)
    header["first.weight"]["data_offsets"] = offsets
    write_raw_safetensors(path, header, data)
    refused(path, "first.")


def test_a_shape_that_does_not_fit_its_bytes_names_the_tensor(tmp_path, tensors):
    path = write_safetensors(tmp_path / "step_1.safetensors", tensors)
    header, data = header_of(path)
    header["first.bias"]["shape"] = [60]
    write_raw_safetensors(path, header, data)
    refused(path, "first.bias", "[60]")


@pytest.mark.parametrize("header", [[], "text", {"w": 3}, {"w": {}}])
def test_headers_of_another_form_are_refused(tmp_path, header):
    refused(write_raw_safetensors(tmp_path / "step_1.safetensors", header, b""))


def sharded(folder, tensors):
    names = list(tensors)
    homes = {name: f"model-0000{1 + (i > 0)}-of-00002.safetensors" for i, name in enumerate(names)}
    for home in set(homes.values()):
        write_safetensors(folder / home, {n: tensors[n] for n in names if homes[n] == home})
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": homes}))
    return index, homes


def test_a_sharded_checkpoint_is_read_through_its_index(tmp_path, tensors):
    sharded(tmp_path, tensors)
    with open_run(tmp_path) as run:
        assert run.description.format == "sharded safetensors, 1 checkpoint"
        for block in run.blocks():
            np.testing.assert_array_equal(block.values[0], tensors[block.tensor.name].ravel())


def test_a_missing_shard_is_named_with_a_tensor_that_it_held(tmp_path, tensors):
    index, homes = sharded(tmp_path, tensors)
    (tmp_path / homes["first.weight"]).unlink()
    with pytest.raises(KoopscopeError, match=r"00001-of-00002.safetensors is missing") as caught:
        open_run([index])
    assert "first.weight" in caught.value.message


def test_an_index_that_points_elsewhere_is_refused(tmp_path, tensors):
    index, _ = sharded(tmp_path, tensors)
    index.write_text(json.dumps({"weight_map": {"first.weight": "../secret.safetensors"}}))
    with pytest.raises(KoopscopeError, match="not next to it"):
        open_run([index])


def test_a_tensor_lost_from_its_shard_is_named(tmp_path, tensors):
    index, homes = sharded(tmp_path, tensors)
    home = tmp_path / homes["first.bias"]
    write_safetensors(home, {"last.weight": tensors["last.weight"]})
    with pytest.raises(KoopscopeError, match=r"lacks first\.bias"):
        open_run([index])


def test_tied_names_in_the_metadata_are_listed_as_skipped(tmp_path, tensors):
    path = tmp_path / "step_1.safetensors"
    write_safetensors(path, tensors, {"head.weight": "last.weight", "format": "pt"})
    with open_run([path]) as run:
        assert [(s.name, s.reason) for s in run.description.skipped] == [
            ("head.weight", "tied to last.weight")
        ]
