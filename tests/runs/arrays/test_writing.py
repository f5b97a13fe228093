"""Arrays written block by block come back whole, under their own names, or not at all."""

import json
import resource
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pytest

from koopscope import KoopscopeError
from koopscope.runs.arrays.spec import ArraySpec
from koopscope.runs.arrays.writing import array_writer
from koopscope.runs.detect.opening import open_run
from tests.frameworks import framework

NAMES = {"layers.0.weight": (7, 5), "dense/kernel": (3, 2, 4), "scale": ()}


def written(path: Path, dtype: str, chunk: int = 4) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    specs = {name: ArraySpec(shape, dtype) for name, shape in NAMES.items()}
    arrays = {
        name: generator.integers(0, 2, spec.shape).astype(spec.words)
        for name, spec in specs.items()
    }
    with array_writer(path, specs, {"run": "run.h5"}) as out:
        for name, array in arrays.items():
            flat = array.reshape(-1)
            for start in range(0, flat.size, chunk):
                out.append(name, flat[start : start + chunk])
    return arrays


@pytest.mark.parametrize("dtype", ["bool", "float32", "float64", "complex128"])
def test_hdf5_holds_every_array_in_its_own_shape(tmp_path: Path, dtype: str) -> None:
    arrays = written(tmp_path / "out.h5", dtype)
    with h5py.File(tmp_path / "out.h5") as file:
        assert file.attrs["run"] == "run.h5"
        for name, array in arrays.items():
            np.testing.assert_array_equal(file[name][()], array)


@pytest.mark.parametrize("dtype", ["bool", "float32", "complex128"])
def test_npz_is_read_by_numpy_without_pickle(tmp_path: Path, dtype: str) -> None:
    arrays = written(tmp_path / "out.npz", dtype)
    with np.load(tmp_path / "out.npz", allow_pickle=False) as loaded:
        assert json.loads(str(loaded["__metadata__"])) == {"run": "run.h5"}
        for name, array in arrays.items():
            np.testing.assert_array_equal(loaded[name], array)


@pytest.mark.parametrize("dtype", ["bool", "float32"])
def test_safetensors_is_read_by_its_own_library(tmp_path: Path, dtype: str) -> None:
    library = framework("safetensors")
    arrays = written(tmp_path / "out.safetensors", dtype)
    with library.safe_open(tmp_path / "out.safetensors", "numpy") as loaded:
        assert loaded.metadata() == {"run": "run.h5"}
        for name, array in arrays.items():
            np.testing.assert_array_equal(loaded.get_tensor(name), array)


def test_safetensors_stores_bfloat16_words_as_bfloat16(tmp_path: Path) -> None:
    torch = framework("torch")
    framework("safetensors")
    from safetensors.torch import load_file

    values = torch.linspace(-3, 3, 12).to(torch.bfloat16).reshape(3, 4)
    words = values.view(torch.int16).numpy().view(np.uint16).reshape(-1)
    with array_writer(tmp_path / "out.safetensors", {"w": ArraySpec((3, 4), "bfloat16")}) as out:
        out.append("w", words)
    loaded = load_file(tmp_path / "out.safetensors")["w"]
    assert loaded.dtype == torch.bfloat16
    assert torch.equal(loaded, values)


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("dtype", ["bool", "int64", "float16", "float32", "complex128"])
def test_a_state_dict_is_read_by_torch_as_weights_only(
    tmp_path: Path, dtype: str, mapped: bool
) -> None:
    torch = framework("torch")
    arrays = written(tmp_path / "out.pt", dtype)
    loaded = torch.load(tmp_path / "out.pt", weights_only=True, mmap=mapped)
    assert list(loaded) == list(arrays)
    for name, array in arrays.items():
        assert loaded[name].data_ptr() % 64 == 0 or not mapped
        np.testing.assert_array_equal(loaded[name].numpy(), array)
    with zipfile.ZipFile(tmp_path / "out.pt") as archive:
        assert json.loads(archive.read("archive/koopscope.json")) == {"run": "run.h5"}


def test_a_state_dict_stores_bfloat16_words_as_bfloat16_and_empty_tensors(tmp_path: Path) -> None:
    torch = framework("torch")
    values = torch.linspace(-3, 3, 12).to(torch.bfloat16).reshape(3, 4)
    words = values.view(torch.int16).numpy().view(np.uint16).reshape(-1)
    specs = {"none": ArraySpec((0, 3), "float32"), "w": ArraySpec((3, 4), "bfloat16")}
    with array_writer(tmp_path / "out.pt", specs) as out:
        out.append("w", words)
    loaded = torch.load(tmp_path / "out.pt", weights_only=True)
    assert torch.equal(loaded["w"], values)
    assert loaded["none"].shape == (0, 3)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_koopscope_reads_what_it_writes(tmp_path: Path, suffix: str) -> None:
    arrays = written(tmp_path / f"step_7{suffix}", "float32")
    with open_run(tmp_path / f"step_7{suffix}") as run:
        assert run.description.steps.tolist() == [7]
        found = {block.tensor.name: block.values[0].copy() for block in run.blocks()}
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name].reshape(array.shape), array)


def test_safetensors_of_mixed_widths_are_aligned_for_readers_that_map_them(tmp_path: Path) -> None:
    framework("torch")
    framework("safetensors")
    from safetensors.torch import load_file

    specs = {"odd": ArraySpec((3,), "bool"), "wide": ArraySpec((2,), "float64")}
    with array_writer(tmp_path / "out.safetensors", specs) as out:
        out.append("odd", np.array([True, False, True]))
        out.append("wide", np.array([1.5, -2.0]))
    loaded = load_file(tmp_path / "out.safetensors")
    assert loaded["odd"].tolist() == [True, False, True]
    assert loaded["wide"].tolist() == [1.5, -2.0]


def test_safetensors_has_no_complex128(tmp_path: Path) -> None:
    with pytest.raises(KoopscopeError, match="no complex128"):
        written(tmp_path / "out.safetensors", "complex128")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".h5", ".npz", ".safetensors", ".pt"])
def test_an_interrupted_write_leaves_nothing_and_keeps_what_was_there(
    tmp_path: Path, suffix: str
) -> None:
    target = tmp_path / f"out{suffix}"
    target.write_bytes(b"older")
    specs = {"w": ArraySpec((4,), "float32")}
    with (
        pytest.raises(KeyboardInterrupt),
        array_writer(target, specs, force=True) as out,
    ):
        out.append("w", np.ones(2, np.float32))
        raise KeyboardInterrupt
    assert target.read_bytes() == b"older"
    assert list(tmp_path.iterdir()) == [target]


@contextmanager
def space_for(size: int) -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.95, 0.999])
@pytest.mark.parametrize("suffix", [".h5", ".npz", ".safetensors", ".pt"])
def test_a_full_disk_is_one_error_and_leaves_what_was_there(
    tmp_path: Path, suffix: str, share: float
) -> None:
    specs = {f"layer.{k}": ArraySpec((40, 50), "float32") for k in range(5)}

    def write(target: Path) -> None:
        with array_writer(target, specs, {"run": "run.h5"}, force=True) as out:
            for name in specs:
                for _ in range(4):
                    out.append(name, np.ones(500, np.float32))

    target = tmp_path / f"out{suffix}"
    write(target)
    needed = target.stat().st_size
    target.write_bytes(b"older")
    with (
        pytest.raises(KoopscopeError, match=r"out\.\w+ cannot be written: File too large"),
        space_for(int(share * needed)),
    ):
        write(target)
    assert target.read_bytes() == b"older"
    assert list(tmp_path.iterdir()) == [target]
    write(target)


def test_an_existing_file_is_kept_unless_forced(tmp_path: Path) -> None:
    target = tmp_path / "out.npz"
    written(target, "bool")
    with pytest.raises(KoopscopeError, match="exists and is kept"):
        written(target, "bool")


@pytest.mark.parametrize(
    ("name", "problem"),
    [("out.bin", "does not say how"), ("missing/out.npz", "there is no folder")],
)
def test_a_target_that_cannot_be_written_is_named(tmp_path: Path, name: str, problem: str) -> None:
    with pytest.raises(KoopscopeError, match=problem):
        written(tmp_path / name, "bool")
