"""Weights of a whole network out of a run, in the run's own names, shapes and dtypes.

What ``restore`` and ``average`` share: parts that are computed as they are asked for go to a file,
or are gathered as arrays. Computes none.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from koopscope.export.arrays import Part, RunArrays
from koopscope.runs.arrays.spec import ArraySpec
from koopscope.runs.dtypes import StoredArray
from koopscope.runs.run import Run, TensorInfo

#: A tensor, and the next of its flattened values; the buffer may be used again for the next part.
WeightPart = tuple[TensorInfo, npt.NDArray[Any]]


def write_weights(
    run: Run,
    tensors: Sequence[TensorInfo],
    parts: Iterable[WeightPart],
    path: str | os.PathLike[str],
    facts: Mapping[str, str],
    *,
    force: bool = False,
) -> None:
    """Write weights, every tensor rounded once to the run's own dtype.

    Parameters
    ----------
    parts
        Of the tensors in their order, in NumPy's dtypes.
    path, facts, force
        See ``RunArrays``.

    Raises
    ------
    KoopscopeError
        If the file cannot be written; nothing is left behind.
    """
    specs = {tensor.name: ArraySpec(tensor.shape, tensor.dtype) for tensor in tensors}

    def stored() -> Iterator[Part]:
        for tensor, values in parts:
            yield tensor.name, StoredArray(str(values.dtype), values).cast(tensor.dtype).words

    RunArrays(run.description, specs, facts).write(path, stored(), force=force)


def gathered(
    run: Run, tensors: Sequence[TensorInfo], parts: Iterable[WeightPart]
) -> dict[str, npt.NDArray[Any]]:
    """Return the same weights as arrays by name, in the dtypes that the run is read in."""
    arrays: dict[str, list[npt.NDArray[Any]]] = {}
    for tensor, values in parts:
        arrays.setdefault(tensor.name, []).append(values.astype(run.read_dtype(tensor)))
    return {t.name: np.concatenate(arrays[t.name]).reshape(t.shape) for t in tensors}
