"""The newest checkpoint may be half written: the others are read, and a note names that one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

import koopscope
from koopscope import KoopscopeError
from studies.fuzzing.seeds import safetensors
from tests.frameworks import framework

STEPS = (10, 20, 30, 40, 50)


def tensors(step: int) -> dict[str, np.ndarray]:
    return {"w": np.full((30, 20), 0.9**step, "f4"), "b": np.full(7, 0.8**step, "f4")}


def as_safetensors(path: Path, step: int) -> Path:
    path = path.with_suffix(".safetensors")
    path.write_bytes(safetensors(tensors(step)))
    return path


def as_npz(path: Path, step: int) -> Path:
    np.savez(path.with_suffix(".npz"), **tensors(step))
    return path.with_suffix(".npz")


def as_hdf5(path: Path, step: int) -> Path:
    with h5py.File(path.with_suffix(".h5"), "w") as file:
        file.update(tensors(step))
    return path.with_suffix(".h5")


def as_torch(path: Path, step: int) -> Path:
    torch = framework("torch")
    state = {name: torch.from_numpy(values) for name, values in tensors(step).items()}
    torch.save(state, path.with_suffix(".pt"))
    return path.with_suffix(".pt")


WRITERS = [as_safetensors, as_npz, as_hdf5, as_torch]


def series(folder: Path, write: Callable[[Path, int], Path]) -> list[Path]:
    paths = [write(folder / f"step_{step}", step) for step in STEPS]
    for number, path in enumerate(paths):
        os.utime(path, (number, number))
    return paths


def cut(path: Path) -> None:
    times = path.stat()
    os.truncate(path, times.st_size // 2)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


@pytest.mark.parametrize("write", WRITERS)
def test_the_newest_is_left_out_with_a_note_that_names_it(tmp_path, write):
    paths = series(tmp_path, write)
    cut(paths[-1])
    with koopscope.open_run(tmp_path) as run:
        assert run.description.steps.tolist() == list(STEPS[:-1])
        (note,) = (note for note in run.description.notes if "newest" in note)
        assert note.startswith("the newest checkpoint is left out, it is not whole: ")
        assert str(paths[-1]) in note
        blocks = {block.tensor.name: block.values for block in run.blocks()}
        assert np.array_equal(blocks["b"][:, 0], [np.float32(0.8**step) for step in STEPS[:-1]])


@pytest.mark.parametrize("write", WRITERS)
def test_any_other_is_damage(tmp_path, write):
    paths = series(tmp_path, write)
    cut(paths[2])
    with pytest.raises(KoopscopeError, match="step_30"):
        koopscope.open_run(tmp_path)


def test_the_newest_is_the_one_that_was_written_last(tmp_path):
    paths = series(tmp_path, as_npz)
    cut(paths[1])
    os.utime(paths[1], (99, 99))
    with koopscope.open_run(tmp_path) as run:
        assert run.description.steps.tolist() == [10, 30, 40, 50]


def test_two_damaged_ones_are_damage(tmp_path):
    paths = series(tmp_path, as_npz)
    for path in paths[-2:]:
        cut(path)
    with pytest.raises(KoopscopeError, match="step_40"):
        koopscope.open_run(tmp_path)


def test_a_single_one_is_damaged(tmp_path):
    path = as_npz(tmp_path / "step_1", 1)
    cut(path)
    with pytest.raises(KoopscopeError, match="step_1"):
        koopscope.open_run(path)


def grouped(path: Path, name: str, drop: str = "", allocate_only: str = "") -> Path:
    with h5py.File(path, "w") as file:
        for step in STEPS:
            group = file.create_group(name.format(step))
            for key, values in tensors(step).items():
                torn = step == STEPS[-1]
                if torn and key == allocate_only:
                    group.create_dataset(key, values.shape, values.dtype, chunks=values.shape)
                elif not (torn and key == drop):
                    group[key] = values
    return path


@pytest.mark.parametrize("name", ["step_{}", "snapshots/{}"])
@pytest.mark.parametrize("torn", [{"drop": "b"}, {"allocate_only": "w"}])
def test_a_group_that_its_writer_did_not_end_is_left_out(tmp_path, name, torn):
    path = grouped(tmp_path / "run.h5", name, **torn)
    with koopscope.open_run(path) as run:
        assert run.description.steps.tolist() == list(STEPS[:-1])
        (note,) = (note for note in run.description.notes if "last group" in note)
        assert str(STEPS[-1]) in note


def test_a_group_in_the_middle_that_lacks_a_tensor_is_an_error(tmp_path):
    path = grouped(tmp_path / "run.h5", "step_{}")
    with h5py.File(path, "a") as file:
        del file["step_30/b"]
    with pytest.raises(KoopscopeError, match="lacks b"):
        koopscope.open_run(path)


def test_the_gate_names_what_it_did_not_judge(tmp_path, capsys):
    from tests.calling import called

    paths = [as_npz(tmp_path / f"step_{step}", step) for step in range(20)]
    words = ["check", tmp_path, "--isolated", "--config", 'preset="none"', "--config"]
    words += ['rules.finiteness.level="error"']
    assert called(capsys, *words, "--strict")[0] == 0
    os.utime(paths[-1], (2**33, 2**33))
    cut(paths[-1])
    code, _, err = called(capsys, *words)
    assert code == 0
    assert "warning: the newest checkpoint is left out, it is not whole" in err
    assert "step_19.npz" in err
    assert called(capsys, *words, "--strict")[0] == 2
