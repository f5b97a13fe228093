"""One checkpoint on disk: what it holds, known without reading a weight, and how to read a part.

The contract between the kinds of checkpoint files and everything that joins them into a run. It
knows no file format.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from koopscope.runs.names import Unit as Unit
from koopscope.runs.names import plain_names as plain_names
from koopscope.runs.run import FloatArray, Skipped, TensorInfo


class TensorReader(Protocol):
    """An open checkpoint."""

    def read(self, tensor: TensorInfo, start: int, stop: int, out: FloatArray) -> None:
        """Fill ``out`` (stop - start) with those weights of the flattened tensor."""

    def close(self) -> None:
        """Release the file."""


@dataclass(frozen=True)
class Snapshot:
    """One snapshot of the weights in a checkpoint.

    Attributes
    ----------
    path
        The file or folder, as the user named it.
    kind
        For people: ``Keras 3 weights``, ``safetensors``, ...
    tensors
        In the file's own order.
    open
        Opens it for reading.
    step, unit
        What the checkpoint itself says, or ``None``.
    metrics
        Numbers that belong to this snapshot.
    log
        Entries of a training log that the checkpoint carries, each with its ``step``.
    metadata
        What it says about the run.
    skipped
        What is not part of the trajectory, and why.
    notes
        Sentences a reader of the numbers should know.
    """

    path: str
    kind: str
    tensors: tuple[TensorInfo, ...]
    open: Callable[[], TensorReader]
    step: int | None = None
    unit: Unit = "step"
    metrics: Mapping[str, float] = field(default_factory=dict)
    log: tuple[Mapping[str, float], ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()
