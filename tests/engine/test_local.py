"""One pass: the same inner products whatever the file's layout, the threads and the block size."""

from __future__ import annotations

import threading
from pathlib import Path

import h5py
import numpy as np
import pytest

from koopscope.analysis import plan
from koopscope.analysis.analysis import Analysis
from koopscope.analysis.settings import Settings
from koopscope.engine import local
from koopscope.engine.gram_words import record_words
from koopscope.engine.local import Plan, portion_grams, snapshot_grams
from koopscope.engine.source import Portion
from koopscope.engine.store import GramStore
from koopscope.errors import KoopscopeError
from koopscope.runs.detect.opening import open_run
from koopscope.runs.dtypes import StoredArray
from koopscope.spectra.accumulating import gram_of
from koopscope.spectra.gram import SnapshotGram, total
from tests.engine.counts import assert_same_counts


def trajectory(shape: tuple[int, ...], snapshots: int = 12, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.standard_normal(shape) + 1e-3 * rng.standard_normal((snapshots, *shape)).cumsum(0)


def write(path: Path, tensors: dict[str, np.ndarray], **layout: object) -> Path:
    with h5py.File(path, "w", track_order=True) as file:
        file.attrs.update({"format": "koopscope-run", "format_version": "1.0"})
        weights = file.create_group("weights", track_order=True)
        for name, values in tensors.items():
            weights.create_dataset(name, data=values, **layout)
        file["step"] = np.arange(len(next(iter(tensors.values()))))
    return path


def assert_same(found: SnapshotGram, wanted: SnapshotGram, tolerance: float = 1e-12) -> None:
    scale = np.abs(wanted.increments).max()
    np.testing.assert_allclose(found.increments, wanted.increments, rtol=0, atol=tolerance * scale)
    along = np.abs(wanted.anchor_increments).max()
    np.testing.assert_allclose(
        found.anchor_increments, wanted.anchor_increments, rtol=0, atol=tolerance * along
    )
    assert found.anchor_square == pytest.approx(wanted.anchor_square, rel=max(tolerance, 1e-12))
    assert found.size == wanted.size
    assert list(found.nonfinite) == list(wanted.nonfinite)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize(
    "layout", [{}, {"chunks": True}, {"chunks": True, "compression": "gzip"}], ids=str
)
def test_every_tensor_has_the_inner_products_of_its_own_weights(
    tmp_path: Path, dtype: str, layout: dict[str, object]
) -> None:
    shapes = {"large": (700, 90), "bias": (7,), "scalar": (1,), "next": (33, 5), "last": (40000,)}
    tensors = {
        name: trajectory(shape, seed=seed).astype(dtype)
        for seed, (name, shape) in enumerate(shapes.items())
    }
    with open_run(write(tmp_path / "run.h5", tensors, **layout)) as run:
        grams = snapshot_grams(run)
    assert list(grams) == list(tensors)
    for name, values in tensors.items():
        assert_same(grams[name], gram_of(values.reshape(len(values), -1)))


def test_bfloat16_words_are_read_as_the_numbers_they_stand_for(tmp_path: Path) -> None:
    stored = StoredArray("float32", trajectory((300, 70)).astype(np.float32)).cast("bfloat16")
    path = write(tmp_path / "run.h5", {"w": stored.words}, chunks=(1, 300, 70))
    with h5py.File(path, "a") as file:
        file["weights/w"].attrs["dtype"] = "bfloat16"
    with open_run(path) as run:
        found = snapshot_grams(run)["w"]
    assert_same(found, gram_of(stored.cast("float32").words.reshape(12, -1)))


@pytest.mark.parametrize("processors", [1, 2, 5])
def test_the_number_of_threads_changes_no_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processors: int
) -> None:
    tensors = {f"w{k}": trajectory((50_000 + k,), seed=k).astype(np.float32) for k in range(3)}
    with open_run(write(tmp_path / "run.h5", tensors, chunks=True)) as run:
        alone = snapshot_grams(run)
        monkeypatch.setattr(local, "cores", lambda: processors)
        together = snapshot_grams(run)
    for name in tensors:
        assert np.array_equal(alone[name].increments, together[name].increments)


def test_portions_of_a_tensor_add_up_to_the_whole(tmp_path: Path) -> None:
    values = trajectory((300_000,)).astype(np.float32)
    with open_run(write(tmp_path / "run.h5", {"w": values}, chunks=(1, 65536))) as run:
        (tensor,) = run.description.tensors
        border = max(start for start, _ in run.cuts(tensor, Plan.of(12).width) if start < 200_000)
        portions = [Portion(tensor, 0, border), Portion(tensor, border, tensor.size)]
        parts = [gram for _, gram in portion_grams(run, portions)]
        whole = snapshot_grams(run)["w"]
    assert [part.size for part in parts] == [border, tensor.size - border]
    assert_same(parts[0] + parts[1], whole)


def test_many_snapshots_are_multiplied_in_float32_with_the_stated_floor(tmp_path: Path) -> None:
    values = trajectory((9000,), snapshots=local.DOUBLE_UP_TO + 1).astype(np.float32)
    with open_run(write(tmp_path / "run.h5", {"w": values})) as run:
        grams = snapshot_grams(run)
    assert_same(grams["w"], gram_of(values), tolerance=3e-6)
    assert not np.array_equal(grams["w"].increments, gram_of(values).increments)
    assert "float32" in " ".join(grams.notes)


def test_a_bad_entry_spoils_its_own_snapshot_only(tmp_path: Path) -> None:
    values = trajectory((30_000,)).astype(np.float32)
    values[5, 20_001] = np.nan
    with open_run(write(tmp_path / "run.h5", {"w": values})) as run:
        found = snapshot_grams(run)["w"]
    assert list(np.flatnonzero(found.nonfinite)) == [5]
    assert_same(found.window(0, 5), gram_of(values[:5]))


def test_matrices_that_do_not_fit_in_memory_come_back_from_a_file() -> None:
    store = GramStore(12, memory_bytes=3 * 8 * 12**2)
    grams = {f"w{k}": gram_of(trajectory((50,), seed=k)) for k in range(8)}
    for name, gram in grams.items():
        store.put(name, gram)
    assert store.spilled_bytes == 5 * 8 * record_words(12)
    for name, gram in grams.items():
        assert_same(store[name], gram, tolerance=0.0)
        assert list(store[name].changes.unchanged) == list(gram.changes.unchanged)


def test_an_interrupt_leaves_no_thread_behind(tmp_path: Path) -> None:
    tensors = {f"w{k}": trajectory((50_000,), seed=k).astype(np.float32) for k in range(4)}

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with open_run(write(tmp_path / "run.h5", tensors)) as run, pytest.raises(KeyboardInterrupt):
        snapshot_grams(run, on_progress=interrupt)
    assert not [t for t in threading.enumerate() if t.name.startswith("koopscope-product")]


def test_a_run_without_snapshots_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "run.h5", {"w": np.zeros((0, 4), np.float32)})
    with open_run(path) as run, pytest.raises(KoopscopeError, match="holds no snapshot"):
        snapshot_grams(run)


@pytest.mark.parametrize("snapshots", [2, 100, 300, 301, 2000])
@pytest.mark.parametrize("processors", [1, 2, 16, 128])
def test_a_pass_is_planned_within_its_memory(snapshots: int, processors: int) -> None:
    plan = Plan.of(snapshots, processors=processors)
    assert plan.workers <= processors
    if snapshots <= 300:
        assert plan.memory_bytes() <= local.PASS_BYTES + 2**24
    else:
        assert plan.memory_bytes() <= 6e8


def test_a_window_of_very_many_snapshots_is_multiplied_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "DOUBLE_UP_TO", 10)
    values = trajectory((5000,), snapshots=40).astype(np.float32)
    path = write(tmp_path / "run.h5", {"a.weight": values, "b.weight": values[:, :70]})
    settings = Settings(window=(5, 20))
    with open_run(path) as run:
        part = Analysis.of(run, settings)
        whole = Analysis(run.description, snapshot_grams(run), settings)
    assert any("only the 16 snapshots" in note for note in part.description.notes)
    assert not part.grams["a.weight"].increments[20:].any()
    for scope in ("network", "a", "b.weight"):
        assert_same(part.gram(scope), whole.gram(scope))
        assert list(part.gram(scope).changes.unchanged) == list(whole.gram(scope).changes.unchanged)
    np.testing.assert_allclose(part.spectrum().eigenvalues, whole.spectrum().eigenvalues, atol=1e-9)


@pytest.mark.parametrize("snapshots", [2, 12, 300])
def test_a_store_adds_up_records_as_it_would_matrices(snapshots: int) -> None:
    rng = np.random.default_rng(0)
    grams = {name: gram_of(rng.standard_normal((snapshots, 9))) for name in "abcd"}
    store = GramStore(snapshots, memory_bytes=8 * snapshots**2)  # one stays in memory
    for name, gram in grams.items():
        store.put(name, gram)
    for names in ("a", "c", "ad", "bd", "abcd"):
        found, expected = store.total(names), total(grams[name] for name in names)
        np.testing.assert_allclose(found.increments, expected.increments, rtol=1e-13, atol=1e-12)
        np.testing.assert_allclose(found.anchor_increments, expected.anchor_increments)
        assert found.anchor_square == pytest.approx(expected.anchor_square)
        assert_same_counts(found, expected)
    for name, gram in grams.items():
        nonfinite, changes = store.counts(name)
        assert nonfinite.tolist() == gram.nonfinite.tolist()
        assert changes.unchanged.tolist() == gram.changes.unchanged.tolist()
        assert (changes.still, changes.twins) == (gram.changes.still, gram.changes.twins)
