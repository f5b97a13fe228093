"""How the work of an analysis grows with tensors, snapshots and weights: counted, not timed.

The same laws that ``benchmarks.scaling`` measures in seconds: bytes that are read, matrices that
are decomposed, and how large they are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import scaling
from benchmarks.shaped_runs import shaped_run
from koopscope.analysis.analysis import Analysis
from koopscope.diagnostics.diagnosis import diagnose
from koopscope.runs.detect.opening import open_run
from koopscope.runs.hdf5.stacked import StackedRun
from koopscope.runs.run import FloatArray, TensorInfo
from koopscope.spectra.leading import DIRECT_UP_TO


class Work:
    """What was done since it was last cleared."""

    def __init__(self) -> None:
        self.bytes_read = 0
        self.decomposed: list[int] = []

    def clear(self) -> None:
        """Begin to count anew."""
        self.__init__()  # type: ignore[misc]


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    counted = Work()
    read, eigh = StackedRun.read_rows, np.linalg.eigh

    def reading(
        run: StackedRun, tensor: TensorInfo, start: int, stop: int, rows: range, out: FloatArray
    ) -> None:
        counted.bytes_read += out.nbytes
        read(run, tensor, start, stop, rows, out)

    def decomposing(matrices: Any) -> Any:
        count = len(matrices) if matrices.ndim == 3 else 1
        counted.decomposed += [matrices.shape[-1]] * count
        return eigh(matrices)

    monkeypatch.setattr(StackedRun, "read_rows", reading)
    monkeypatch.setattr(np.linalg, "eigh", decomposing)
    return counted


def done(work: Work, path: Path) -> Work:
    """Analyse a run, as the table does, and return the work."""
    work.clear()
    with open_run(path) as run:
        diagnosis = diagnose(Analysis.of(run))
        assert diagnosis.summary.layers
    return work


@pytest.mark.parametrize(
    ("less", "more"),
    [((4, 60, 30), (16, 60, 30)), ((4, 60, 30), (4, 240, 30)), ((4, 60, 30), (4, 60, 90))],
)
def test_every_weight_is_read_once(
    tmp_path: Path, work: Work, less: tuple[int, int, int], more: tuple[int, int, int]
) -> None:
    for shape in (less, more):
        path = shaped_run(tmp_path / f"{'x'.join(map(str, shape))}.h5", *shape)
        tensors, weights, snapshots = shape
        assert done(work, path).bytes_read == 4 * tensors * weights * snapshots


def test_decompositions_grow_with_the_layers(tmp_path: Path, work: Work) -> None:
    counts = []
    for tensors in (4, 20, 36):
        path = shaped_run(tmp_path / f"{tensors}.h5", tensors, 60, 40)
        counts.append(len(done(work, path).decomposed))
    assert counts[2] - counts[1] == counts[1] - counts[0]  # so many a layer, whatever the run
    per_layer = (counts[1] - counts[0]) / 8
    assert per_layer <= 10


def test_decompositions_cost_no_more_than_in_proportion_to_the_snapshots(
    tmp_path: Path, work: Work
) -> None:
    costs = []
    for snapshots in (500, 1000):
        path = shaped_run(tmp_path / f"{snapshots}.h5", 4, 200, snapshots)
        sizes = done(work, path).decomposed
        assert max(sizes) <= DIRECT_UP_TO  # of all snapshots at once, the leading part alone
        costs.append(sum(size**3 for size in sizes))
    assert costs[1] <= 2.2 * costs[0]


def test_the_table_of_the_benchmark_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scaling.main([str(tmp_path / "runs"), "--small", "sample", "very_many_snapshots"])
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if "MiB |" in line]
    assert [row[0] for row in rows] == ["| sample run, table", "| very many snapshots, table"]
    assert all("s of processor" in row[1] for row in rows)
