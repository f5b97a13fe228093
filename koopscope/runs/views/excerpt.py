"""Some snapshots of a run, as a run.

Reads the rows of the window alone where they lie evenly and the run beneath can; else whole
columns, of which it keeps those rows. Does not close the run beneath.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from koopscope._types import Floating
from koopscope.runs.run import Run, TensorInfo
from koopscope.runs.sketches import TensorSketch


class Excerpt(Run):
    """The snapshots of ``run`` inside ``window``; leaves the run open when it is closed.

    Parameters
    ----------
    run
        The run beneath.
    window
        Which of its snapshots: a slice, or increasing indices.
    width
        The widest block of weights that is read from the run beneath at once: all of its snapshots
        are held for the moment of the read.
    """

    def __init__(self, run: Run, window: slice | npt.NDArray[np.intp], width: int) -> None:
        self._run, self._window, self._width = run, window, width
        description = run.description
        sketch = description.sketch
        if sketch is not None:  # the weights that were kept are the whole run's
            sketch = replace(sketch, kept=())
        self.description = replace(
            description,
            steps=description.steps[window],
            metrics={name: values[window] for name, values in description.metrics.items()},
            sketch=sketch,
        )
        self._rows = np.empty(0, np.float64)

    def read(self, tensor: TensorInfo, start: int, stop: int, out: Floating) -> None:
        """Fill ``out`` (snapshots of the window, stop - start) with the weights of a tensor."""
        snapshots = self._run.description.snapshots
        if isinstance(self._window, slice):
            chosen = range(*self._window.indices(snapshots))
            self._run.read_rows(tensor, start, stop, chosen, out)
            return
        needed = snapshots * (stop - start) * out.dtype.itemsize
        if self._rows.nbytes < needed:
            self._rows = np.empty(-(-needed // 8), np.float64)
        rows = self._rows.view(out.dtype)[: snapshots * (stop - start)]
        rows = rows.reshape(snapshots, stop - start)
        self._run.read(tensor, start, stop, rows)
        out[...] = rows[self._window]

    def sketched(self, tensor: TensorInfo) -> TensorSketch:
        """Return the sketches of the snapshots of the window."""
        return self._run.sketched(tensor).chosen(self._window)

    def volume(self, tensors: Sequence[TensorInfo]) -> int:
        """Return how many bytes are read for these tensors."""
        if self.description.sketch is not None:
            return self._run.volume(tensors)
        return super().volume(tensors)

    def read_dtype(self, tensor: TensorInfo) -> np.dtype[np.floating]:
        """Return the dtype in which the run beneath delivers a tensor."""
        return self._run.read_dtype(tensor)

    def grain(self, tensor: TensorInfo) -> int:
        """Return how many neighbouring weights the run beneath reads for a single one."""
        return self._run.grain(tensor)

    def cuts(self, tensor: TensorInfo, width: int) -> Iterator[tuple[int, int]]:
        """Yield the blocks of the run beneath, none wider than it can hold whole."""
        return self._run.cuts(tensor, min(width, self._width))

    def close(self) -> None:
        """Do nothing: the run beneath belongs to somebody else."""
