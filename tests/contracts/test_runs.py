"""What every ``Run`` promises, held against arrays: each class inherits the same tests."""

from __future__ import annotations

import importlib
import itertools
import os
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np
import pytest

import koopscope
from koopscope import Recorder
from koopscope.runs.detect.opening import open_run, open_shards
from koopscope.runs.run import Run
from koopscope.runs.views.averaged import PooledRun
from koopscope.runs.views.excerpt import Excerpt
from koopscope.runs.views.progression import evenly_spaced
from koopscope.runs.views.realigned import AxisOrder, Realigned
from koopscope.runs.views.side_by_side import SideBySide
from tests.series_files import SHAPES, trajectory, write_series

SNAPSHOTS = 12
LOSS = 1.0 / np.arange(1, SNAPSHOTS + 1)


@dataclass(frozen=True)
class Known:
    """What a run must give.

    Attributes
    ----------
    weights
        (T, *shape) of each tensor by name, in order, in the dtype that ``read`` delivers.
    steps
        Of the snapshots.
    metrics
        (T,) each.
    """

    weights: Mapping[str, np.ndarray]
    steps: list[int]
    metrics: Mapping[str, np.ndarray] = field(default_factory=dict)


class RunContract(ABC):
    """The tests; a class of runs says how one is made, and what is in it."""

    #: The class whose promise is tested.
    kind: str

    @abstractmethod
    def write(self, folder: Path) -> Known:
        """Write the files of a run."""

    def open(self, folder: Path) -> Run:
        """Open the run that ``write`` wrote."""
        return open_run(folder / "run.h5")

    @pytest.fixture
    def known(self, tmp_path: Path) -> Known:
        return self.write(tmp_path)

    @pytest.fixture
    def run(self, known: Known, tmp_path: Path) -> Iterator[Run]:
        with self.open(tmp_path) as run:
            assert type(run).__name__ == self.kind
            yield run

    def test_the_description_says_what_is_there(self, run: Run, known: Known) -> None:
        about = run.description
        assert about.steps.dtype == np.int64
        assert about.steps.tolist() == known.steps
        assert about.snapshots == len(known.steps)
        assert [tensor.name for tensor in about.tensors] == list(known.weights)
        for tensor, values in zip(about.tensors, known.weights.values(), strict=True):
            assert tensor.shape == values.shape[1:]
            assert run.read_dtype(tensor) == values.dtype
        assert about.parameters == sum(values[0].size for values in known.weights.values())
        assert about.path
        assert about.format

    def test_every_metric_has_a_value_for_every_snapshot(self, run: Run, known: Known) -> None:
        assert set(run.description.metrics) == set(known.metrics)
        for name, values in known.metrics.items():
            assert run.description.metrics[name].dtype == np.float64
            np.testing.assert_allclose(run.description.metrics[name], values, rtol=1e-15)

    def test_every_range_of_every_tensor_is_read(self, run: Run, known: Known) -> None:
        for tensor, values in zip(run.description.tensors, known.weights.values(), strict=True):
            flat = values.reshape(len(values), -1)
            for start, stop in itertools.combinations_with_replacement(range(tensor.size + 1), 2):
                np.testing.assert_array_equal(_read(run, tensor, start, stop), flat[:, start:stop])

    @pytest.mark.parametrize("block_bytes", [1, 100, 1000, 10**6])
    def test_blocks_hold_every_weight_once_and_in_order(
        self, run: Run, known: Known, block_bytes: int
    ) -> None:
        found: dict[str, list[np.ndarray]] = {name: [] for name in known.weights}
        for block in run.blocks(block_bytes=block_bytes):
            assert block.start == sum(part.shape[1] for part in found[block.tensor.name])
            assert block.stop == block.start + block.values.shape[1]
            found[block.tensor.name].append(block.values.copy())
        assert list(found) == list(known.weights)
        for name, values in known.weights.items():
            np.testing.assert_array_equal(
                np.concatenate(found[name], axis=1), values.reshape(len(values), -1)
            )

    def test_blocks_of_some_tensors_come_as_asked_for(self, run: Run, known: Known) -> None:
        chosen = run.description.tensors[::-1][:2]
        found = [(block.tensor, block.values.copy()) for block in run.blocks(chosen)]
        assert [tensor for tensor, _ in found] == list(chosen)
        for tensor, values in found:
            wanted = known.weights[tensor.name]
            np.testing.assert_array_equal(values, wanted.reshape(len(wanted), -1))

    @pytest.mark.parametrize("width", [1, 5, 7, 1000])
    def test_cuts_share_a_tensor_out_without_a_gap(self, run: Run, width: int) -> None:
        for tensor in run.description.tensors:
            cuts = list(run.cuts(tensor, width))
            assert cuts[0][0] == 0
            assert cuts[-1][1] == tensor.size
            assert all(start < stop for start, stop in cuts)
            assert all(one[1] == other[0] for one, other in itertools.pairwise(cuts))

    def test_the_volume_is_what_the_blocks_hold(self, run: Run) -> None:
        tensors = run.description.tensors
        assert run.volume(tensors) == sum(block.values.nbytes for block in run.blocks())
        assert run.volume(tensors[:1]) == sum(b.values.nbytes for b in run.blocks(tensors[:1]))

    def test_announcing_a_read_changes_nothing(self, run: Run) -> None:
        for tensor in run.description.tensors:
            before = _read(run, tensor, 1, tensor.size)
            run.announce(tensor, 1, tensor.size)
            np.testing.assert_array_equal(_read(run, tensor, 1, tensor.size), before)
            assert 1 <= run.grain(tensor) <= tensor.size

    def test_opened_twice_it_is_the_same_run(self, run: Run, tmp_path: Path) -> None:
        with self.open(tmp_path) as again:
            assert again.description.tensors == run.description.tensors
            assert again.description.notes == run.description.notes
            assert again.description.skipped == run.description.skipped
            assert again.description.metadata == run.description.metadata
            for one, other in zip(run.blocks(), again.blocks(), strict=True):
                np.testing.assert_array_equal(one.values, other.values)

    def test_a_closed_run_holds_no_file_open_and_can_be_closed_again(
        self, known: Known, tmp_path: Path
    ) -> None:
        run = self.open(tmp_path)
        for _ in run.blocks():
            pass
        run.close()
        run.close()
        assert not _open_files(tmp_path)

    def test_a_run_that_names_its_files_is_found_in_them(
        self, run: Run, known: Known, tmp_path: Path
    ) -> None:
        """A cluster sends no run to its workers: they open the files anew."""
        if not run.files:
            pytest.skip(f"{self.kind} names no files, and is refused by a cluster")
        found: dict[str, np.ndarray] = {}
        for path in run.files:
            with open_run(path) as part:
                assert part.description.steps.tolist() == known.steps
                for tensor in part.description.tensors:
                    found[tensor.name] = _read(part, tensor, 0, tensor.size)
        assert found.keys() == known.weights.keys()
        for name, values in known.weights.items():
            np.testing.assert_array_equal(found[name], values.reshape(len(values), -1))


def _read(run: Run, tensor: object, start: int, stop: int) -> np.ndarray:
    """Read a range into the middle of a buffer, and see that nothing beside it is touched."""
    shape = (run.description.snapshots, stop - start)
    buffer = np.full(shape[0] * shape[1] + 2, 77.0, run.read_dtype(tensor))
    out = buffer[1:-1].reshape(shape)
    run.read(tensor, start, stop, out)
    assert buffer[0] == buffer[-1] == 77.0
    return out


def _open_files(folder: Path) -> list[str]:
    """Return the files below a folder that this process holds open, where that can be known."""
    descriptors = Path("/proc/self/fd")
    if not descriptors.exists():
        return []
    found = []
    for descriptor in descriptors.iterdir():
        try:
            found.append(os.readlink(descriptor))
        except OSError:  # the one of the listing itself
            continue
    return [path for path in found if path.startswith(str(folder))]


def record(path: Path, names: tuple[str, ...] = tuple(SHAPES), spacing: int = 10) -> Known:
    """Record some tensors of the common trajectory, one snapshot every ``spacing`` steps."""
    weights = {name: values for name, values in trajectory(SNAPSHOTS).items() if name in names}
    with koopscope.Recorder(path) as recorder:
        for t in range(SNAPSHOTS):
            snapshot = {name: values[t] for name, values in weights.items()}
            assert recorder.snapshot(spacing * t, snapshot, loss=LOSS[t])
    return Known(weights, [spacing * t for t in range(SNAPSHOTS)], {"loss": LOSS})


class TestRunFile(RunContract):
    kind = "RunFile"

    def write(self, folder: Path) -> Known:
        return record(folder / "run.h5")


class TestShardedRun(RunContract):
    kind = "ShardedRun"

    def write(self, folder: Path) -> Known:
        first = record(folder / "run.rank0.h5", ("first.weight", "first.bias"))
        last = record(folder / "run.rank1.h5", ("last.weight",))
        return Known({**first.weights, **last.weights}, first.steps, first.metrics)

    def open(self, folder: Path) -> Run:
        return open_shards(sorted(folder.glob("run.rank*.h5")))


class TestStackedLayout(RunContract):
    kind = "StackedLayout"
    options: Mapping[str, object] = {}

    def write(self, folder: Path) -> Known:
        weights = dict(sorted(trajectory(SNAPSHOTS).items()))
        with h5py.File(folder / "run.h5", "w") as file:
            for name, values in weights.items():
                file.create_dataset(name, data=values, **self.options)
            file["step"] = np.arange(5, 5 + SNAPSHOTS)
            file["loss"] = LOSS
        return Known(weights, list(range(5, 5 + SNAPSHOTS)), {"loss": LOSS})


class TestPackedStackedLayout(TestStackedLayout):
    options: Mapping[str, object] = {"chunks": True, "compression": "gzip"}


class TestGroupPerStep(RunContract):
    kind = "GroupPerStep"

    def write(self, folder: Path) -> Known:
        weights = dict(sorted(trajectory(SNAPSHOTS).items()))
        with h5py.File(folder / "run.h5", "w") as file:
            for t in range(SNAPSHOTS):
                for name, values in weights.items():
                    file[f"step_{3 * t}/{name}"] = values[t]
                file[f"step_{3 * t}/loss"] = LOSS[t]
        return Known(weights, [3 * t for t in range(SNAPSHOTS)], {"loss": LOSS})


class TestCheckpointSeries(RunContract):
    kind = "CheckpointSeries"
    suffix = ".safetensors"

    def write(self, folder: Path) -> Known:
        write_series(folder / "run", self.suffix, SNAPSHOTS)
        return Known(trajectory(SNAPSHOTS), list(range(1, SNAPSHOTS + 1)))

    def open(self, folder: Path) -> Run:
        return open_run(folder / "run")


class TestCheckpointSeriesOfNumPy(TestCheckpointSeries):
    suffix = ".npz"


class TestCheckpointSeriesOfHdf5(TestCheckpointSeries):
    suffix = ".h5"

    def write(self, folder: Path) -> Known:
        known = super().write(folder)
        return Known(dict(sorted(known.weights.items())), known.steps)


class TestPooledRun(RunContract):
    kind = "PooledRun"
    every, first, stop = 3, 1, SNAPSHOTS

    def write(self, folder: Path) -> Known:
        whole = record(folder / "run.h5")
        groups = (self.stop - self.first) // self.every
        rows = slice(self.stop - groups * self.every, self.stop)

        def pooled(values: np.ndarray) -> np.ndarray:
            parts = values[rows].reshape(groups, self.every, *values.shape[1:])
            return parts[:, 0] if self.every == 1 else parts.mean(axis=1, dtype=np.float64)

        middles = np.arange(rows.start + self.every // 2, rows.stop, self.every)
        return Known(
            {name: pooled(values) for name, values in whole.weights.items()},
            [whole.steps[t] for t in middles],
            {name: pooled(values) for name, values in whole.metrics.items()},
        )

    def open(self, folder: Path) -> Run:
        return _closing(PooledRun(open_run(folder / "run.h5"), self.every, self.first, self.stop))


class TestPooledRunOfOne(TestPooledRun):
    every, first, stop = 1, 2, 9


class TestExcerpt(RunContract):
    kind = "Excerpt"

    def write(self, folder: Path) -> Known:
        whole, window = record(folder / "run.h5"), slice(2, 9)
        return Known(
            {name: values[window] for name, values in whole.weights.items()},
            whole.steps[window],
            {name: values[window] for name, values in whole.metrics.items()},
        )

    def open(self, folder: Path) -> Run:
        return _closing(Excerpt(open_run(folder / "run.h5"), slice(2, 9), 2**20))


class TestRealigned(RunContract):
    """Rows of matrices backwards, the last ones twice as large."""

    kind = "Realigned"

    def write(self, folder: Path) -> Known:
        whole = record(folder / "run.h5")
        weights = dict(whole.weights)
        for name, order in self.orders(folder).items():
            (axis,) = order
            scale = np.expand_dims(axis.scale, tuple(range(1, len(axis.shape))))
            turned = weights[name][:, ::-1] * scale
            weights[name] = turned.astype(weights[name].dtype)
        return Known(weights, whole.steps, whole.metrics)

    def open(self, folder: Path) -> Run:
        return _closing(Realigned(open_run(folder / "run.h5"), self.orders(folder)))

    def orders(self, folder: Path) -> Mapping[str, Sequence[AxisOrder]]:
        with open_run(folder / "run.h5") as run:
            shapes = {t.name: t.shape for t in run.description.tensors if len(t.shape) > 1}
        assert shapes
        found = {}
        for name, shape in shapes.items():
            scale = np.where(np.arange(shape[0]) == shape[0] - 1, 2.0, 1.0)
            found[name] = [AxisOrder(shape, 0, np.arange(shape[0])[::-1].copy(), scale)]
        return found


class TestProgressionRun(RunContract):
    """Steps 0, 1, 2, 4, 8, 16, ...: the even progression inside them is what is read."""

    kind = "ProgressionRun"
    steps = (0, 1, 2, 4, 8, 16, 24, 32, 40, 48, 56, 64)
    chosen = (0, 4, 5, 6, 7, 8, 9, 10, 11)

    def write(self, folder: Path) -> Known:
        weights = trajectory(SNAPSHOTS)
        with Recorder(folder / "run.h5") as recorder:
            for t, step in enumerate(self.steps):
                tensors = {name: values[t] for name, values in weights.items()}
                recorder.snapshot(step, tensors, loss=LOSS[t])
        chosen = list(self.chosen)
        return Known(
            {name: values[chosen] for name, values in weights.items()},
            [self.steps[t] for t in chosen],
            {"loss": LOSS[chosen]},
        )

    def open(self, folder: Path) -> Run:
        return _closing(evenly_spaced(open_run(folder / "run.h5")))


class TestTimeLastLayout(RunContract):
    """Time is the last axis, as MATLAB writes it; ``step`` says so."""

    kind = "TimeLastLayout"

    def write(self, folder: Path) -> Known:
        weights = dict(sorted(trajectory(SNAPSHOTS).items()))
        with h5py.File(folder / "run.h5", "w") as file:
            for name, values in weights.items():
                file[name] = np.moveaxis(values, 0, -1)
            file["step"] = np.arange(5, 5 + SNAPSHOTS)
            file["loss"] = LOSS
        return Known(weights, list(range(5, 5 + SNAPSHOTS)), {"loss": LOSS})


class TestKeptRun(RunContract):
    """A sketched run with the weights of some snapshots beside the sketches."""

    kind = "KeptRun"
    kept = (1, 4, 5, 9)

    def write(self, folder: Path) -> Known:
        weights = trajectory(SNAPSHOTS)
        with Recorder(folder / "run.h5", sketch=16) as recorder:
            for t in range(SNAPSHOTS):
                tensors = {name: values[t] for name, values in weights.items()}
                assert recorder.snapshot(10 * t, tensors, keep=t in self.kept, loss=LOSS[t])
        kept = list(self.kept)
        return Known(
            {name: values[kept] for name, values in weights.items()},
            [10 * t for t in kept],
            {"loss": LOSS[kept]},
        )

    def open(self, folder: Path) -> Run:
        return open_run(folder / "run.h5", weights_for="a test")


class TestSideBySide(RunContract):
    """Two runs as one: the snapshots of the first, then those of the second."""

    kind = "SideBySide"

    def write(self, folder: Path) -> Known:
        first, second = record(folder / "run.h5"), record(folder / "other.h5", spacing=20)
        return Known(
            {name: np.concatenate([v, second.weights[name]]) for name, v in first.weights.items()},
            list(range(2 * SNAPSHOTS)),
        )

    def open(self, folder: Path) -> Run:
        first, second = open_run(folder / "run.h5"), open_run(folder / "other.h5")
        pairs = list(zip(first.description.tensors, second.description.tensors, strict=True))
        every = np.arange(SNAPSHOTS)
        view = SideBySide(first, second, pairs, (every, every))
        view._run = first
        closed = _closing(view)
        close_first = closed.close

        def close() -> None:
            close_first()
            second.close()

        closed.close = close
        return closed


def _closing(view: Run) -> Run:
    """Return the view; closing it closes the run underneath, which views leave open."""
    below, close_view = view._run, view.close

    def close() -> None:
        close_view()
        below.close()

    view.close = close
    return view


def test_every_class_of_runs_is_held_to_the_contract() -> None:
    for module in pkgutil.walk_packages(koopscope.__path__, "koopscope."):
        if module.name.startswith(("koopscope.runs.", "koopscope.engine.")):
            importlib.import_module(module.name)
    classes: set[type[Run]] = set()
    waiting: list[type[Run]] = [Run]
    while waiting:
        below = [c for c in waiting.pop().__subclasses__() if c.__module__.startswith("koopscope")]
        classes |= set(below)
        waiting += below
    tested = {
        test.kind
        for test in globals().values()
        if isinstance(test, type) and issubclass(test, RunContract) and hasattr(test, "kind")
    }
    bases = {base.__name__ for each in classes if each.__name__ in tested for base in each.__mro__}
    assert {each.__name__ for each in classes} <= bases
    assert len(classes) >= 9
