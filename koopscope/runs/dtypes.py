"""Turn whatever a framework calls a tensor into a NumPy array that a run file can hold.

Works by what a value can do, never by importing the framework it came from: a training loop that
uses PyTorch must not load TensorFlow because a recorder looked at it. It never changes a value, and
what it cannot use it leaves out with a reason.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

#: What a run file stores, and the NumPy dtype that holds it there.
STORED_AS: dict[str, np.dtype[Any]] = {
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(np.uint16),
    "float32": np.dtype(np.float32),
    "float64": np.dtype(np.float64),
    "complex64": np.dtype(np.complex64),
    "complex128": np.dtype(np.complex128),
}

_STORABLE = "float16, bfloat16, float32, float64, complex64 or complex128"

_WRAPPERS_DEEP = 4


class LeftOutError(Exception):
    """A value that becomes no tensor of a trajectory. Caught where tensors are collected.

    Attributes
    ----------
    reason
        Why, as ``Skipped.reason``.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def values_problem(dtype: str, shape: Sequence[int]) -> str:
    """Return why values of this dtype and shape are no tensor of a trajectory, or nothing."""
    if dtype not in STORED_AS:
        return f"{dtype} values, not {_STORABLE}"
    return "" if math.prod(shape) else f"no elements (shape {list(shape)})"


@dataclass(frozen=True)
class StoredArray:
    """A tensor as the file holds it: ``words`` are of ``dtype``, bfloat16 as its uint16 words."""

    dtype: str
    words: npt.NDArray[Any]

    def cast(self, dtype: str) -> StoredArray:
        """Return the same numbers in another dtype, rounded to nearest where it is narrower."""
        if dtype == self.dtype:
            return self
        values = widen_bfloat16(self.words) if self.dtype == "bfloat16" else self.words
        if dtype == "bfloat16":
            return StoredArray(dtype, _round_to_bfloat16(values))
        with np.errstate(over="ignore"):
            return StoredArray(dtype, values.astype(STORED_AS[dtype]))


#: NumPy makes up the name of a dtype whenever it is asked, for every tensor of every snapshot.
_USUAL_NAMES = {np.dtype(name): name for name in ("float16", "float32", "float64")}

#: Number formats that networks are stored in, read here or not; packed ones only by their name.
_REAL_OR_COMPLEX = re.compile(r"b?float\d|longdouble|complex|[fc]\d|\d+-bit float", re.IGNORECASE)
_PACKED = re.compile(r"q?u?int\d|[iu]\d", re.IGNORECASE)
_PACKED_NAMES = re.compile(r"weight(?!_mask|_zero|_shape)|kernel", re.IGNORECASE)


def unread_weights(name: str, shape: Sequence[int], dtype: str) -> int:
    """Return how many weights of the network a tensor holds that is left out; counters hold none.

    Real and complex numbers are weights, and so are integers where the name says ``weight`` or
    ``kernel`` (quantized and packed networks).
    """
    packed = _PACKED.match(dtype) and _PACKED_NAMES.search(name.rpartition(".")[2])
    return math.prod(shape) if packed or _REAL_OR_COMPLEX.match(dtype) else 0


def named_tensors(tensors: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (name, value) in order, the names of nested mappings joined with ``/``."""
    for key, value in tensors.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from named_tensors(value, f"{name}/")
        else:
            yield name, value


def as_stored(value: Any) -> StoredArray:
    """Return the array to store for a tensor of any framework: its shape, its numbers.

    Raises
    ------
    LeftOutError
        If it is no tensor, or none of floats.
    """
    if isinstance(value, StoredArray):
        return value
    try:
        array = _as_numpy(value, _WRAPPERS_DEEP)
    except Exception as error:  # any framework's own refusal: a sparse, quantized or meta tensor
        raise LeftOutError(f"cannot be converted to an array ({_first_line(error)})") from error
    if array is None:
        raise LeftOutError(f"not a tensor but {_article(type(value).__name__)}")
    name = _USUAL_NAMES.get(array.dtype) or array.dtype.name
    if name == "bfloat16":
        array = array.view(np.uint16)
    elif name == "uint16" and _dtype_name(value) == "bfloat16":
        name = "bfloat16"
    problem = values_problem(name, array.shape)
    if problem:
        raise LeftOutError(problem)
    return StoredArray(name, np.ascontiguousarray(array, STORED_AS[name]).reshape(array.shape))


def weights_left_out(name: str, value: Any) -> int | None:
    """Return how many weights a value holds that is not recorded, ``None`` if it does not say."""
    shape = value.words.shape if isinstance(value, StoredArray) else getattr(value, "shape", ())
    try:
        return unread_weights(name, [int(length) for length in shape], _dtype_name(value))
    except (TypeError, ValueError):
        return None


def widen_bfloat16(
    words: npt.NDArray[np.uint16], out: npt.NDArray[np.float32] | None = None
) -> npt.NDArray[np.float32]:
    """Return bfloat16 words as the float32 numbers they stand for, exactly, in the same shape."""
    if out is None:
        out = np.empty(words.shape, np.float32)
    np.left_shift(words, np.uint32(16), out=out.view(np.uint32), dtype=np.uint32)
    return out


def _round_to_bfloat16(values: npt.NDArray[Any]) -> npt.NDArray[np.uint16]:
    with np.errstate(over="ignore"):
        bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    nan = (bits & np.uint32(0x7FFFFFFF)) > np.uint32(0x7F800000)
    quiet = (bits >> np.uint32(16)) | np.uint32(0x40)
    words: npt.NDArray[np.uint16] = np.where(nan, quiet, rounded).astype(np.uint16)
    return words.reshape(values.shape)


def _as_numpy(value: Any, depth: int) -> npt.NDArray[Any] | None:
    if isinstance(value, (np.ndarray, np.generic)):
        return np.asarray(value)
    if hasattr(value, "detach") and hasattr(value, "cpu"):
        return _torch_as_numpy(value)
    if not hasattr(value, "shape"):
        return None
    if callable(getattr(value, "numpy", None)):
        return np.asarray(value.numpy())
    if hasattr(value, "__array__"):
        return np.asarray(value)
    inner = getattr(value, "value", None)
    if inner is None or callable(inner) or depth == 0:
        return None
    return _as_numpy(inner, depth - 1)


def _torch_as_numpy(value: Any) -> npt.NDArray[Any] | None:
    tensor = value.detach().cpu()
    if hasattr(tensor, "resolve_conj"):  # conjugates and negatives may be no more than a mark
        tensor = tensor.resolve_conj().resolve_neg()
    if _dtype_name(tensor) == "bfloat16":  # NumPy has no bfloat16: hand over the words
        tensor = tensor.contiguous().view(sys.modules["torch"].int16)
        return np.asarray(tensor.numpy()).view(np.uint16)
    return np.asarray(tensor.numpy())


def _dtype_name(value: Any) -> str:
    return str(getattr(value, "dtype", "")).rpartition(".")[2]


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def _article(noun: str) -> str:
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"
