"""What every source of Gram matrices promises: the products that NumPy finds, and the refusals."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path

import h5py
import numpy as np
import pytest

from koopscope.engine import cache
from koopscope.engine.cache import Cached
from koopscope.engine.cluster import DaskEngine
from koopscope.engine.local import LocalPass
from koopscope.engine.sampled import Sample
from koopscope.engine.source import GramSource, exact_pass_seconds
from koopscope.errors import KoopscopeError
from koopscope.runs.detect.opening import open_run
from koopscope.runs.run import Run
from koopscope.spectra.gram import SnapshotGram
from tests.frameworks import framework
from tests.recorded import recorded, settling

SHAPES = {"a.weight": (40, 30), "a.bias": (40,), "b.weight": (5, 40)}


class SourceContract(ABC):
    """The tests; a class of sources says how one is made."""

    @abstractmethod
    @pytest.fixture
    def source(self, tmp_path: Path) -> GramSource: ...

    @pytest.fixture
    def weights(self) -> dict[str, np.ndarray]:
        return settling(SHAPES, snapshots=15)

    @pytest.fixture
    def run(self, tmp_path: Path, weights: dict[str, np.ndarray]) -> Iterator[Run]:
        with open_run(recorded(tmp_path / "run.h5", weights)) as run:
            yield run

    def test_the_products_are_those_of_the_whole_matrix(
        self, source: GramSource, run: Run, weights: Mapping[str, np.ndarray]
    ) -> None:
        found = source(run, run.description.tensors, None)
        assert list(found) == list(weights)
        for name, values in weights.items():
            assert_products(found[name], values)

    def test_asked_again_it_says_the_same(self, source: GramSource, run: Run) -> None:
        first, again = (source(run, run.description.tensors, None) for _ in range(2))
        for name in first:
            for part in ("increments", "anchor_increments", "anchor_square", "nonfinite"):
                np.testing.assert_array_equal(
                    getattr(first[name], part), getattr(again[name], part)
                )

    def test_only_what_was_asked_for_is_given(
        self, source: GramSource, run: Run, weights: Mapping[str, np.ndarray]
    ) -> None:
        (chosen,) = (tensor for tensor in run.description.tensors if tensor.name == "b.weight")
        found = source(run, [chosen], None)
        assert list(found) == ["b.weight"]
        assert_products(found["b.weight"], weights["b.weight"])

    def test_progress_tells_of_every_byte(self, source: GramSource, run: Run) -> None:
        told: list[int] = []
        source(run, run.description.tensors, told.append)
        assert sum(told) == run.volume(run.description.tensors)

    def test_it_says_what_it_will_cost_and_what_happened(
        self, source: GramSource, run: Run
    ) -> None:
        exact = exact_pass_seconds(run, run.description.tensors)
        assert 0.0 <= source.expected_seconds(run, run.description.tensors) <= exact
        assert list(source.remarks) == []
        source(run, run.description.tensors, None)
        source(run, run.description.tensors, None)
        assert all(isinstance(remark, str) and remark for remark in source.remarks)

    def test_numbers_that_are_none_are_counted_by_snapshot(
        self, source: GramSource, tmp_path: Path, weights: dict[str, np.ndarray]
    ) -> None:
        weights["a.bias"][9:, 3] = np.nan
        weights["a.bias"][12, 5] = np.inf
        with open_run(recorded(tmp_path / "broken.h5", weights)) as run:
            found = source(run, run.description.tensors, None)["a.bias"]
        assert found.nonfinite.tolist() == [0] * 9 + [1, 1, 1, 2, 1, 1]
        assert_products(found, weights["a.bias"], finite=9)

    def test_a_run_without_a_snapshot_is_refused(self, source: GramSource, tmp_path: Path) -> None:
        with h5py.File(tmp_path / "empty.h5", "w") as file:
            file.attrs.update({"format": "koopscope-run", "format_version": "1.0"})
            shape = {"shape": (0, 40, 30), "maxshape": (None, 40, 30), "chunks": (1, 40, 30)}
            file.create_dataset("weights/a.weight", dtype=np.float32, **shape)
            file.create_dataset("step", shape=(0,), maxshape=(None,), dtype=np.int64)
        with open_run(tmp_path / "empty.h5") as run:
            assert run.description.snapshots == 0
            with pytest.raises(KoopscopeError, match="holds no snapshot") as refused:
                source(run, run.description.tensors, None)
        assert "Recorder.snapshot()" in refused.value.hint


def assert_products(found: SnapshotGram, values: np.ndarray, finite: int | None = None) -> None:
    """Hold a Gram matrix against float64 products of (T, *shape), or of the first snapshots."""
    W = values.reshape(len(values), -1)[:finite].astype(np.float64)
    D = np.diff(W, axis=0)
    assert found.size == W.shape[1]
    assert found.snapshots == len(values)
    scale = np.abs(D @ D.T).max()
    increments = found.increments[: len(D), : len(D)]
    np.testing.assert_allclose(increments, D @ D.T, rtol=0, atol=1e-12 * scale)
    anchored = D @ W[0]
    np.testing.assert_allclose(
        found.anchor_increments[: len(D)], anchored, rtol=0, atol=1e-12 * np.abs(anchored).max()
    )
    assert found.anchor_square == pytest.approx(W[0] @ W[0], rel=1e-12)


class TestLocal(SourceContract):
    @pytest.fixture
    def source(self) -> GramSource:
        return LocalPass()


class TestCached(SourceContract):
    """Asked a second time it reads the cache."""

    @pytest.fixture
    def source(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GramSource:
        monkeypatch.setattr(cache, "LEAST_BYTES", 0)
        monkeypatch.setattr(cache, "LARGEST_PART", 1e9)
        return Cached(tmp_path / "caches")


class TestCompressed(SourceContract):
    """A sample that has grown to every weight is exact."""

    @pytest.fixture
    def source(self) -> GramSource:
        return LargeSample()


class LargeSample(LocalPass):
    """Draws more weights than there are."""

    def __call__(self, run, tensors, on_progress=None):
        sample = Sample(run, tensors, seed=0, on_progress=on_progress)
        sample.draw(100_000)
        return sample.grams


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    distributed = framework("distributed")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=True, dashboard_address=None
    ) as running:
        yield running.scheduler_address


class TestCluster(SourceContract):
    @pytest.fixture
    def source(self, scheduler: str) -> GramSource:
        return DaskEngine(scheduler)
