"""What one array in a file is: its shape, its dtype, and who takes its values. Opens no file."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class ArraySpec:
    """Shape and dtype of one array to be written.

    ``dtype`` is NumPy's name (``bool``, ``float32``, ``complex128``, ...) or ``bfloat16``, whose
    values are handed over as uint16 words.
    """

    shape: tuple[int, ...]
    dtype: str

    @property
    def words(self) -> np.dtype[Any]:
        """The NumPy dtype that holds the values."""
        return np.dtype(np.uint16 if self.dtype == "bfloat16" else self.dtype)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.size * self.words.itemsize

    def bytes_of(self, values: npt.NDArray[Any]) -> bytes:
        """Return values as a file of raw numbers has them: little-endian."""
        return np.ascontiguousarray(values, self.words.newbyteorder("<")).tobytes()


class ArrayWriter(Protocol):
    """Takes arrays in the specs' order, each one's flattened values from start to end."""

    def append(self, name: str, values: npt.NDArray[Any]) -> None:
        """Add the next values (1-D) of the array called ``name``."""
