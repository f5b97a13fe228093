"""What a source of Gram matrices is: it reads tensors of a run and returns their inner products.

A pass in this process, a cache around another source, and a cluster all are one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from koopscope.engine.store import GramStore
from koopscope.runs.run import Run, TensorInfo

#: Called with the number of stored bytes that have just been read.
ProgressListener = Callable[[int], None]

#: What an exact pass achieves on two cores of 2024, roughly: bytes read and products per second.
_BYTES_PER_SECOND, _PRODUCTS_PER_SECOND = 1e9, 4e10


class GramSource(Protocol):
    """Turns tensors of a run into their Gram matrices."""

    def __call__(
        self,
        run: Run,
        tensors: Sequence[TensorInfo],
        on_progress: ProgressListener | None = None,
    ) -> GramStore:
        """Return the Gram matrix of each of these tensors by name, in their order.

        Raises
        ------
        KoopscopeError
            If the run holds no snapshot, or cannot be read.
        """

    def expected_seconds(self, run: Run, tensors: Sequence[TensorInfo]) -> float:
        """Return about how many seconds this machine will work for the answer."""

    @property
    def opens_files(self) -> bool:
        """Whether other machines open the run's files: they see the files and no view of them."""

    @property
    def remarks(self) -> Sequence[str]:
        """What happened in the calls so far that their user may want to know, in sentences."""


@dataclass(frozen=True)
class Portion:
    """The weights ``[start, stop)`` of one flattened tensor."""

    tensor: TensorInfo
    start: int
    stop: int

    @classmethod
    def of(cls, tensor: TensorInfo) -> Portion:
        """Return all of a tensor."""
        return cls(tensor, 0, tensor.size)


def exact_pass_seconds(
    run: Run, tensors: Sequence[TensorInfo], multiplied: int | None = None
) -> float:
    """Return about how long an exact pass takes here: reading, and N T^2 products.

    Parameters
    ----------
    multiplied
        T, where not all snapshots are multiplied.
    """
    weights = sum(tensor.size for tensor in tensors)
    products = weights * (multiplied or run.description.snapshots) ** 2
    return run.volume(tensors) / _BYTES_PER_SECOND + products / _PRODUCTS_PER_SECOND
