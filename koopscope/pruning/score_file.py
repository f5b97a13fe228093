"""Scores on disk: one pass over the run writes them, every later question reads only them.

Costs 8 bytes per weight and column in the temporary folder, a few per cent of the run itself, and
never more memory than one block.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from typing import IO

import numpy as np

from koopscope._types import Float64
from koopscope.engine.source import ProgressListener
from koopscope.errors import KoopscopeError
from koopscope.pruning.criteria import Criterion
from koopscope.runs.hdf5.slabs import positions
from koopscope.runs.run import Run, TensorInfo

#: Scores read at once, and elements of a mask made at once.
CHUNK = 1 << 18


class ScoreSpool:
    """The scores of some tensors by several criteria; close it, or use it as a context manager."""

    def __init__(
        self,
        run: Run,
        tensors: Sequence[TensorInfo],
        criteria: Sequence[Criterion],
        on_progress: ProgressListener | None = None,
    ) -> None:
        self.tensors = tuple(tensors)
        self._stack = ExitStack()
        self._files: dict[str, IO[bytes]] = {}
        self._starts: dict[str, int] = {}
        position = 0
        for tensor in self.tensors:
            self._starts[tensor.name] = position
            position += tensor.size
        try:
            for criterion in criteria:
                file = self._stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
                self._files[criterion.name] = file
            self._write(run, criteria, on_progress)
        except OSError as error:
            with suppress(OSError):  # what could not be written is tried once more on closing
                self.close()
            raise KoopscopeError(
                f"the scores of {position:,} weights do not fit the temporary folder "
                f"{tempfile.gettempdir()}: {error.strerror}",
                "name a larger folder in TMPDIR, or choose fewer tensors with --include",
            ) from error
        except BaseException:
            self.close()
            raise

    def _write(
        self, run: Run, criteria: Sequence[Criterion], on_progress: ProgressListener | None
    ) -> None:
        for block in run.blocks(self.tensors):
            for criterion in criteria:
                scores = criterion.scores(block.tensor.name, block.start, block.values)
                self._files[criterion.name].write(scores.tobytes())
            if on_progress is not None:
                on_progress(block.values.nbytes)
        for file in self._files.values():
            file.flush()

    def scores(self, criterion: str, tensor: TensorInfo) -> Iterator[Float64]:
        """Yield float64 [up to ``CHUNK``]: a tensor's scores in flattened order."""
        file = self._files[criterion]
        for start in range(0, tensor.size, CHUNK):
            file.seek(8 * (self._starts[tensor.name] + start))
            count = min(CHUNK, tensor.size - start)
            yield np.frombuffer(file.read(8 * count), np.float64)

    def unit_scores(self, criterion: str, tensor: TensorInfo, axis: int) -> Float64:
        """Return float64 [units]: the mean score at each index of one axis of the tensor."""
        units = tensor.shape[axis]
        sums = np.zeros(units)
        start = 0
        for chunk in self.scores(criterion, tensor):
            owners = positions(tensor.shape, axis, start, start + len(chunk))
            sums += np.bincount(owners, chunk, minlength=units)
            start += len(chunk)
        return sums / (tensor.size // units)

    def sample(self, criterion: str, tensor: TensorInfo, every: int) -> Float64:
        """Return float64 [size / every]: one score in ``every`` of a tensor, in flattened order."""
        parts, start = [], 0
        for chunk in self.scores(criterion, tensor):
            parts.append(chunk[-start % every :: every])
            start += len(chunk)
        return np.concatenate(parts)

    def close(self) -> None:
        """Give the disk space back."""
        self._stack.close()

    def __enter__(self) -> ScoreSpool:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
