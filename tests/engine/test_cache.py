"""The cache gives the same numbers as reading, or is not used."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
import pytest

import koopscope
from koopscope.engine import cache
from koopscope.engine.cache import SUFFIX, Cached
from koopscope.engine.local import LocalPass, portion_grams, snapshot_grams
from koopscope.engine.source import Portion, ProgressListener
from koopscope.engine.store import GramStore
from koopscope.runs.detect.opening import open_run
from koopscope.runs.run import Run, TensorInfo
from tests.engine.counts import assert_same_counts


@pytest.fixture(autouse=True)
def every_run_is_worth_a_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "LEAST_BYTES", 0)
    monkeypatch.setattr(cache, "LARGEST_PART", 1e9)


class Passes(LocalPass):
    """Counts how many tensors were really read."""

    def __init__(self) -> None:
        self.tensors = 0

    def __call__(
        self, run: Run, tensors: Sequence[TensorInfo], listener: ProgressListener | None = None
    ) -> GramStore:
        self.tensors += len(tensors)
        return snapshot_grams(run, tensors, listener)


def weights(snapshots: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    full = {"a.weight": (40, 30), "a.bias": (40,), "b.weight": (5, 40)}
    return {
        name: (
            rng.standard_normal(shape) + 1e-2 * rng.standard_normal((30, *shape)).cumsum(0)
        ).astype(np.float32)[:snapshots]
        for name, shape in full.items()
    }


def record(path: Path, snapshots: int, first: int = 0) -> None:
    with koopscope.Recorder(path) as recorder:
        for t in range(first, snapshots):
            recorder.snapshot(10 * t, {name: values[t] for name, values in weights(30).items()})


def ask(path: Path, folder: Path, passes: Passes | None = None) -> tuple[GramStore, Cached]:
    cached = Cached(folder, passes or Passes())
    with open_run(path) as run:
        return cached(run, run.description.tensors), cached


def assert_equal(found: GramStore, wanted: GramStore, tolerance: float = 0.0) -> None:
    assert list(found) == list(wanted)
    for name in wanted:
        for field in ("increments", "anchor_increments", "nonfinite"):
            one, other = getattr(found[name], field), getattr(wanted[name], field)
            np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * np.abs(other).max())
        assert found[name].anchor_square == pytest.approx(wanted[name].anchor_square, rel=1e-14)
        assert_same_counts(found[name], wanted[name])


def read(path: Path) -> GramStore:
    with open_run(path) as run:
        return snapshot_grams(run)


def test_the_second_answer_reads_no_tensor_and_is_the_same_to_the_bit(tmp_path: Path) -> None:
    record(tmp_path / "run.h5", 20)
    passes = Passes()
    first, _ = ask(tmp_path / "run.h5", tmp_path / "user", passes)
    second, cached = ask(tmp_path / "run.h5", tmp_path / "user", passes)
    assert passes.tensors == 3
    assert_equal(first, read(tmp_path / "run.h5"))
    assert_equal(second, first)
    assert "come from" in cached.remarks[0]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["run.h5", "run.h5" + SUFFIX, "user"]


def test_appended_snapshots_extend_the_cache(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    record(path, 20)
    ask(path, tmp_path)
    record(path, 25, first=20)
    passes = Passes()
    grown, cached = ask(path, tmp_path, passes)
    assert passes.tensors == 0
    assert "5 snapshots were added" in cached.remarks[-1]
    assert_equal(grown, read(path), tolerance=1e-13)
    again, _ = ask(path, tmp_path, passes)
    assert passes.tensors == 0
    assert_equal(again, grown)


def test_old_snapshots_that_changed_under_appended_ones_are_noticed(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    record(path, 20)
    ask(path, tmp_path)
    record(path, 22, first=20)
    with h5py.File(path, "a") as file:
        file["weights/a.weight"][7, 3, 3] += 0.5  # outside the sampled weights
    passes = Passes()
    found, cached = ask(path, tmp_path, passes)
    assert passes.tensors == 3
    assert "written anew" in cached.remarks[-1]
    assert_equal(found, read(path))


def _value(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file["weights/a.bias"][2, 1] += 1.0


def _value_behind_the_clock(path: Path) -> None:
    before = path.stat()
    with h5py.File(path, "a") as file:
        file["weights/a.bias"][:, 12:28] += 1.0
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _steps(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file["step"][-1] += 1


def _fewer(path: Path) -> None:
    path.unlink()
    record(path, 12)


def _other_name(path: Path) -> None:
    with h5py.File(path, "a") as file:
        file.move("weights/a.bias", "weights/c.bias")


@pytest.mark.parametrize("change", [_value, _value_behind_the_clock, _steps, _fewer, _other_name])
def test_any_change_of_the_run_makes_the_cache_useless(tmp_path: Path, change: object) -> None:
    path = tmp_path / "run.h5"
    record(path, 20)
    ask(path, tmp_path)
    change(path)  # type: ignore[operator]
    passes = Passes()
    found, cached = ask(path, tmp_path, passes)
    assert passes.tensors == 3
    assert "another state of the run" in cached.remarks[0]
    assert_equal(found, read(path))


def _cut(data: bytes) -> bytes:
    return data[:-9]


def _flipped(data: bytes) -> bytes:
    return data[:-500] + bytes([data[-500] ^ 1]) + data[-499:]


def _garbage(data: bytes) -> bytes:
    return b"\x00" * len(data)


def _wrong_kind(data: bytes) -> bytes:
    return b'koopscope-cache\n{"identity": 3, "tensors": 4}\n' + data


@pytest.mark.parametrize("harm", [_cut, _flipped, _garbage, _wrong_kind, lambda data: b""])
def test_a_damaged_cache_is_not_used_and_is_replaced(tmp_path: Path, harm: object) -> None:
    path = tmp_path / "run.h5"
    record(path, 20)
    ask(path, tmp_path)
    sidecar = tmp_path / ("run.h5" + SUFFIX)
    whole = sidecar.read_bytes()
    sidecar.write_bytes(harm(whole))  # type: ignore[operator]
    passes = Passes()
    found, cached = ask(path, tmp_path, passes)
    assert passes.tensors == 3
    assert "is damaged" in cached.remarks[0]
    assert_equal(found, read(path))
    assert sidecar.read_bytes() == whole


def test_a_cache_of_another_version_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.h5"
    record(path, 20)
    monkeypatch.setattr(cache, "__version__", "0.0.9")
    ask(path, tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr(cache, "LEAST_BYTES", 0)
    passes = Passes()
    _, cached = ask(path, tmp_path, passes)
    assert passes.tensors == 3
    assert "another version of koopscope (0.0.9)" in cached.remarks[0]


def test_a_choice_of_tensors_is_answered_from_the_cache_of_all(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    record(path, 20)
    ask(path, tmp_path)
    passes = Passes()
    with open_run(path) as run:
        found = Cached(tmp_path, passes)(run, run.description.tensors[1:2])
    assert passes.tensors == 0
    assert list(found) == ["a.bias"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_replaced_by_the_users(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    record(tmp_path / "runs" / "run.h5", 20)
    (tmp_path / "runs").chmod(0o555)
    _assert_cached_in(tmp_path / "user", tmp_path / "runs" / "run.h5")


def test_where_the_sidecar_cannot_be_the_users_folder_serves(tmp_path: Path) -> None:
    record(tmp_path / "run.h5", 20)
    (tmp_path / ("run.h5" + SUFFIX)).mkdir()
    _assert_cached_in(tmp_path / "user", tmp_path / "run.h5")


def _assert_cached_in(folder: Path, path: Path) -> None:
    passes = Passes()
    first, _ = ask(path, folder, passes)
    second, _ = ask(path, folder, passes)
    assert passes.tensors == 3
    assert_equal(second, first)
    assert sorted(p.suffix for p in folder.iterdir()) == [".key", SUFFIX]


def test_an_interrupted_write_leaves_the_old_cache_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.h5"
    record(path, 20)
    ask(path, tmp_path)
    before = (tmp_path / ("run.h5" + SUFFIX)).read_bytes()
    record(path, 21, first=20)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("koopscope.engine.cache_file.os.replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ask(path, tmp_path)
    assert (tmp_path / ("run.h5" + SUFFIX)).read_bytes() == before
    found = sorted(p.name for p in tmp_path.iterdir())
    assert found == ["cache.key", "run.h5", "run.h5" + SUFFIX]  # the folder is the user's too


def test_runs_at_the_same_time_leave_one_whole_cache(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    record(path, 20)
    found: list[GramStore] = []
    threads = [
        threading.Thread(target=lambda: found.append(ask(path, tmp_path)[0])) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    for store in found:
        assert_equal(store, found[0])
    passes = Passes()
    ask(path, tmp_path, passes)
    assert passes.tensors == 0


def test_a_run_that_grew_during_the_pass_is_not_remembered(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    record(path, 20)

    def grows(run: Run, tensors: Sequence[TensorInfo], listener: object = None) -> GramStore:
        found = snapshot_grams(run, tensors)
        record(path, 22, first=20)
        return found

    with open_run(path) as run:
        Cached(tmp_path, grows)(run, run.description.tensors)
    assert not (tmp_path / ("run.h5" + SUFFIX)).exists()


def test_non_finite_snapshots_are_read_again_rather_than_extended(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    record(path, 20)
    with h5py.File(path, "a") as file:
        file["weights/a.bias"][4, 0] = np.nan
    ask(path, tmp_path)
    record(path, 23, first=20)
    passes = Passes()
    found, _ = ask(path, tmp_path, passes)
    assert passes.tensors == 1
    assert_equal(found, read(path), tolerance=1e-13)


def test_a_known_answer_is_expected_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.h5"
    record(path, 20)
    monkeypatch.setattr(cache, "_WORTH_A_LOOK", 0.0)
    cached = Cached(tmp_path)
    with open_run(path) as run:
        tensors = run.description.tensors
        before = cached.expected_seconds(run, tensors)
        cached(run, tensors[1:])
        assert cached.expected_seconds(run, tensors) == before > 0.0
        assert cached.expected_seconds(run, tensors[1:]) == 0.0


def test_small_runs_get_no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "LEAST_BYTES", 2**20)
    record(tmp_path / "run.h5", 20)
    ask(tmp_path / "run.h5", tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["run.h5"]


def test_the_header_says_what_the_cache_is_of(tmp_path: Path) -> None:
    record(tmp_path / "run.h5", 20)
    ask(tmp_path / "run.h5", tmp_path)
    line = (tmp_path / ("run.h5" + SUFFIX)).read_bytes().split(b"\n")[1]
    identity = json.loads(line)["identity"]
    assert identity["steps"] == list(range(0, 200, 10))
    assert identity["files"][0][0] == "run.h5"
    assert [name for name, _, _ in identity["tensors"]] == list(weights(1))


def test_only_the_new_rows_are_multiplied(tmp_path: Path) -> None:
    record(tmp_path / "run.h5", 20)
    with open_run(tmp_path / "run.h5") as run:
        whole = snapshot_grams(run)["a.weight"].increments
        tensor = run.description.tensors[0]
        ((_, part),) = portion_grams(run, [Portion(tensor, 0, tensor.size)], None, 14)
    assert not part.increments[:14, :14].any()
    np.testing.assert_allclose(part.increments[14:], whole[14:], rtol=1e-12)


def test_a_cache_sealed_with_another_secret_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "run.h5"
    record(path, 20)
    ask(path, tmp_path / "other")  # another user, or a cache that came with the run
    passes = Passes()
    _, cached = ask(path, tmp_path / "user", passes)
    assert passes.tensors == 3
    assert "was not written by this user and is not used" in cached.remarks[0]
    _, again = ask(path, tmp_path / "user", passes)
    assert passes.tensors == 3
    assert "come from" in again.remarks[0]


@pytest.mark.parametrize("harm", ["readable", "link", "short"])
def test_a_secret_that_is_not_the_users_alone_is_not_used(tmp_path: Path, harm: str) -> None:
    path, folder = tmp_path / "run.h5", tmp_path / "user"
    record(path, 20)
    ask(path, folder)
    key = folder / "cache.key"
    assert (key.stat().st_mode & 0o777, key.stat().st_size) == (0o600, 32)
    if harm == "readable":
        key.chmod(0o644)
    elif harm == "link":
        key.rename(folder / "elsewhere")
        key.symlink_to(folder / "elsewhere")
    else:
        key.write_bytes(b"short")
    passes = Passes()
    found, cached = ask(path, folder, passes)
    assert passes.tensors == 3
    assert "holds no secret that is this user's alone" in cached.remarks[0]
    assert_equal(found, read(path))
