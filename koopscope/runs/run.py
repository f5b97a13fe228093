"""A run: a time-ordered trajectory of named weight tensors, read in bounded memory.

Every source of trajectories is a ``Run``. This module knows names, shapes, steps and how to walk
through the weights block by block; it knows no mathematics and holds no whole snapshot.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from koopscope.errors import KoopscopeError
from koopscope.runs.names import TensorFilter, layer_of
from koopscope.runs.names import usual_kind as usual_kind
from koopscope.runs.sketches import SketchInfo, TensorSketch

FloatArray = npt.NDArray[np.floating[Any]]

_WHOLE_NUMBERS = re.compile(r"(u?int\d+|[IU]\d+|bool|BOOL) values|a running count|tied to ")

#: Bytes of one block as it is stored (T rows x n weights): a few MiB keep the block in reach of
#: the processor's caches and make the bookkeeping per block negligible.
BLOCK_BYTES = 8 * 2**20


@dataclass(frozen=True)
class TensorInfo:
    """One recorded tensor.

    Attributes
    ----------
    name
        The framework's own name, verbatim.
    shape
        Shape of one snapshot of it, without the time axis.
    dtype
        How it was stored: ``float16``, ``bfloat16``, ``float32``, ``float64``, ``complex64`` or
        ``complex128``.
    kind
        ``parameter``, ``buffer``, or ``state`` for iterates of a network operator.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    kind: str = "parameter"

    @property
    def size(self) -> int:
        """Number of weights in one snapshot."""
        return math.prod(self.shape)

    @property
    def is_complex(self) -> bool:
        """Whether its weights are complex numbers."""
        return self.dtype.startswith("complex")

    @property
    def layer(self) -> str:
        """The module that owns the tensor: see ``koopscope.runs.names.layer_of``."""
        return layer_of(self.name)


@dataclass(frozen=True)
class Skipped:
    """Something in the source that is not part of the trajectory, and why.

    Attributes
    ----------
    name, reason
        What it is called, and why it is left out.
    weights
        How many weights of the network are not read for it: 0 for what is none (a counter, an
        optimizer's state, another name of a tensor that is read), ``None`` where it is not known.
    """

    name: str
    reason: str
    weights: int | None = 0

    @property
    def counts(self) -> bool:
        """Whether whole numbers were left out: no trajectory has any, so nobody misses them."""
        return _WHOLE_NUMBERS.match(self.reason) is not None


@dataclass(frozen=True)
class Block:
    """The weights ``[start, start + n)`` of one flattened tensor in every snapshot.

    ``values`` has shape (T, n) and a floating or complex dtype. It is a view of a buffer that the
    next block reuses: copy what must outlive the iteration.
    """

    tensor: TensorInfo
    start: int
    values: FloatArray

    @property
    def stop(self) -> int:
        """Index after the last weight of the block."""
        return self.start + int(self.values.shape[1])


@dataclass(frozen=True)
class RunDescription:
    """What is known of a run before a single weight is read.

    Attributes
    ----------
    path
        Where it came from, as the user named it.
    format
        The layout found, for example ``koopscope-run 1.0``.
    steps
        int64 [T], optimizer steps, strictly increasing.
    tensors
        In model order.
    metrics
        float64 [T] each, NaN where no value was given.
    metadata
        What the recording program said about the run.
    skipped
        What was left out, and why.
    notes
        Sentences a reader of the numbers should know (an interrupted write, a newer format, ...).
    unread
        Those of the notes that tell of snapshots which are there and could not be read.
    generation
        How often snapshots were taken out of the file: two looks at a growing run see the same
        snapshots at the same steps only if they see the same number.
    sketch
        How the snapshots were sketched; ``None`` where they hold weights.
    """

    path: str
    format: str
    steps: npt.NDArray[np.int64]
    tensors: tuple[TensorInfo, ...]
    metrics: Mapping[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    generation: int = 0
    sketch: SketchInfo | None = None

    @property
    def snapshots(self) -> int:
        """Number of snapshots T."""
        return len(self.steps)

    @property
    def parameters(self) -> int:
        """Number of weights N in one snapshot, over all tensors."""
        return sum(tensor.size for tensor in self.tensors)

    @property
    def dtype(self) -> str:
        """The stored dtype, or all of them joined by ``+`` where tensors differ."""
        return "+".join(sorted({tensor.dtype for tensor in self.tensors}))

    @property
    def layers(self) -> tuple[str, ...]:
        """Layer names in model order."""
        return tuple(dict.fromkeys(tensor.layer for tensor in self.tensors))


class Run(ABC):
    """A trajectory that can be read block by block. Close it, or use it as a context manager."""

    description: RunDescription

    #: The files the weights are read from, where nothing else is: a change of the run changes one.
    files: tuple[Path, ...] = ()

    @abstractmethod
    def read(self, tensor: TensorInfo, start: int, stop: int, out: FloatArray) -> None:
        """Fill ``out`` (T, stop - start) with those weights of the flattened tensor.

        ``out`` is C-contiguous with the dtype that ``read_dtype`` names.
        """

    def read_rows(
        self, tensor: TensorInfo, start: int, stop: int, rows: range, out: FloatArray
    ) -> None:
        """Fill ``out`` (len(rows), stop - start) with those weights of some snapshots alone.

        A source that has to read all snapshots for it holds them for that moment.
        """
        every = np.empty((self.description.snapshots, stop - start), out.dtype)
        self.read(tensor, start, stop, every)
        out[...] = every[rows.start : rows.stop : rows.step]

    @property
    def parts(self) -> Mapping[TensorInfo, int]:
        """How many weights went into the sketch of tensors of which only a part is here."""
        return {}

    def sketched(self, tensor: TensorInfo) -> TensorSketch:
        """Return the sketches of a tensor's snapshots, where the description says there are some.

        Raises
        ------
        KoopscopeError
            If the run holds weights, or cannot be read.
        """
        raise KoopscopeError(
            f"{self.description.path} holds weights and no sketches",
            "record sketches with koopscope.Recorder(..., sketch=True)",
        )

    def with_weights(self, purpose: str) -> Run:
        """Return the run, or the snapshots of it whose weights are there, for what needs weights.

        Closing what is returned closes the run.

        Parameters
        ----------
        purpose
            What for: "pruning", for the sentence that says why it is not possible.

        Raises
        ------
        KoopscopeError
            If it holds sketches alone.
        """
        if self.description.sketch is None:
            return self
        raise KoopscopeError(
            f"{purpose} needs weights, and {self.description.path} holds "
            f"{self.description.sketch.words} and no weights",
            "keep the weights of some snapshots: Recorder(..., sketch=True, keep_every=N)",
        )

    @abstractmethod
    def close(self) -> None:
        """Release the file. Calling it twice is fine."""

    def read_dtype(self, tensor: TensorInfo) -> np.dtype[Any]:
        """Return the dtype in which ``read`` delivers a tensor; bfloat16 widens to float32."""
        return np.dtype(np.float32 if tensor.dtype == "bfloat16" else tensor.dtype)

    def volume(self, tensors: Sequence[TensorInfo]) -> int:
        """Return how many bytes the blocks of these tensors hold together."""
        snapshots = self.description.snapshots
        return sum(snapshots * tensor.size * self.read_dtype(tensor).itemsize for tensor in tensors)

    def grain(self, tensor: TensorInfo) -> int:
        """Return how many neighbouring weights it takes the source to read a single one."""
        return 1

    def announce(self, tensor: TensorInfo, start: int, stop: int) -> None:  # noqa: B027
        """Say that these weights will be read soon; a source may fetch them ahead of time."""

    def cuts(self, tensor: TensorInfo, width: int) -> Iterator[tuple[int, int]]:
        """Yield (start, stop) ranges of about ``width`` weights that the source reads well."""
        for start in range(0, tensor.size, width):
            yield start, min(start + width, tensor.size)

    def blocks(
        self, tensors: Sequence[TensorInfo] | None = None, *, block_bytes: int = BLOCK_BYTES
    ) -> Iterator[Block]:
        """Stream the run as blocks of about ``block_bytes``, tensor by tensor, in model order.

        One buffer per dtype is reused for all blocks, so memory does not grow with the size of
        the network.
        """
        snapshots = self.description.snapshots
        buffers: dict[np.dtype[Any], FloatArray] = {}
        for tensor in self.description.tensors if tensors is None else tensors:
            dtype = self.read_dtype(tensor)
            width = max(1, block_bytes // (max(1, snapshots) * dtype.itemsize))
            for start, stop in self.cuts(tensor, width):
                needed = snapshots * (stop - start)
                buffer = buffers.get(dtype)
                if buffer is None or buffer.size < needed:
                    buffer = buffers[dtype] = np.empty(needed, dtype)
                values = buffer[:needed].reshape(snapshots, stop - start)
                self.read(tensor, start, stop, values)
                yield Block(tensor, start, values)

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def snapshots_between(
    steps: npt.NDArray[np.int64], window: tuple[int | None, int | None]
) -> tuple[int, int]:
    """Return the first snapshot inside a window of steps, and the one after the last.

    Parameters
    ----------
    window
        First and last step, both inside; ``None`` leaves a side open.
    """
    low, high = window
    first = 0 if low is None else int(np.searchsorted(steps, low))
    stop = len(steps) if high is None else int(np.searchsorted(steps, high, side="right"))
    return first, stop


def select_tensors(
    description: RunDescription, include: Sequence[str] = (), exclude: Sequence[str] = ()
) -> tuple[TensorInfo, ...]:
    """Return the tensors matched by any ``include`` glob (all, if none) and no ``exclude`` glob.

    Raises
    ------
    KoopscopeError
        If nothing is left.
    """
    wanted = TensorFilter(tuple(include), tuple(exclude))
    chosen = tuple(tensor for tensor in description.tensors if wanted(tensor.name))
    if description.tensors and not chosen:
        raise KoopscopeError(
            f"no tensor of {description.path} is left by {wanted}",
            "list the names with `koopscope inspect`, and quote globs for the shell",
        )
    return chosen
