"""The parts of a tensor that this process holds, as words on the host or on their device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from koopscope._types import Float64
from koopscope.errors import KoopscopeError
from koopscope.runs.dtypes import (
    STORED_AS,
    LeftOutError,
    StoredArray,
    as_stored,
    values_problem,
    widen_bfloat16,
)
from koopscope.runs.sketching.devices import Device, on_device
from koopscope.runs.sketching.parts import Part, runs_of
from koopscope.runs.sketching.pattern import TensorPattern
from koopscope.runs.sketching.projection import Sums, sums_of
from koopscope.runs.sketching.spread import parts_of


@dataclass(frozen=True)
class Box:
    """A part of a tensor.

    Attributes
    ----------
    dtype
        Of the tensor; ``bfloat16`` where the words on the host are those.
    shape, start
        Of the whole tensor, and where in it the part begins.
    own_shape
        Of the part.
    words, device
        Where it lies: one of them is ``None``.
    """

    dtype: str
    shape: tuple[int, ...]
    start: tuple[int, ...]
    own_shape: tuple[int, ...]
    words: npt.NDArray[Any] | None
    device: Device | None

    def runs(self, pairs: int) -> list[tuple[int, int, int]]:
        """Return where its weights lie in the flattened tensor; see ``runs_of``."""
        runs = runs_of(self.own_shape, self.shape, self.start)
        return [(pairs * begin, pairs * where, pairs * length) for begin, where, length in runs]

    def sums(self, own: TensorPattern, pairs: int, workers: int = 1) -> Sums:
        """Return its cells; ``pairs`` is 2 for complex weights, ``workers`` are threads."""
        if self.device is not None:
            return self.device.sums_of(self.runs(pairs), own)
        assert self.words is not None
        flat = self.words.reshape(-1)
        if pairs == 2:
            flat = flat.view(flat.real.dtype)
        return sums_of(flat, self.dtype, self.runs(pairs), own, workers)

    def sample(self, places: slice | npt.NDArray[np.intp]) -> npt.NDArray[Any]:
        """Return some entries of the flattened part, as words."""
        if self.device is not None:
            return self.device.sampled(places)
        assert self.words is not None
        return self.words.reshape(-1)[places]

    def numbers(self, places: npt.NDArray[np.intp]) -> Float64:
        """Return some entries as numbers."""
        words = self.sample(places)
        if self.dtype == "bfloat16":
            words = widen_bfloat16(words)
        return words.astype(np.float64)


def boxes_of(value: Any) -> list[Box]:
    """Return a value's parts; none if other processes hold it, or if it is no tensor."""
    try:
        boxes = [_box(each) for each in parts_of(value)]
    except LeftOutError:  # whoever plans the file says why
        return []
    if len({(box.dtype, box.shape) for box in boxes}) > 1:
        raise KoopscopeError(
            "parts of different tensors were given as those of one",
            "give each part the whole tensor's shape, and all of them one dtype",
        )
    return boxes


def _box(value: Any) -> Box:
    part = value if isinstance(value, Part) else None
    inner = part.values if part is not None else value
    device = on_device(inner)
    if device is None:
        if part is not None and 0 in getattr(inner, "shape", ()):
            stored = _empty(inner)
        else:
            stored = as_stored(inner)
        dtype, own_shape, words = stored.dtype, stored.words.shape, stored.words
        if part is None:
            return Box(dtype, own_shape, (0,) * len(own_shape), own_shape, words, None)
        return Box(dtype, part.shape, part.start, own_shape, words, None)
    dtype = str(inner.dtype).rpartition(".")[2]
    own_shape = tuple(int(n) for n in inner.shape)
    problem = values_problem(dtype, own_shape)
    if problem and (part is None or dtype not in STORED_AS):
        raise LeftOutError(problem)
    shape, start = (part.shape, part.start) if part else (own_shape, (0,) * len(own_shape))
    return Box(dtype, shape, start, own_shape, None, device)


def _empty(value: Any) -> StoredArray:
    """Return the words of a part in which nothing lies: more processes than rows."""
    dtype = str(getattr(value, "dtype", "float32")).rpartition(".")[2]
    dtype = dtype if dtype in STORED_AS else "float32"
    return StoredArray(dtype, np.empty(tuple(value.shape), STORED_AS[dtype]))
