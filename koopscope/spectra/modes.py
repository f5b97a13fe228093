"""The second pass: N-dimensional modes as combinations of snapshots, block by block.

Takes any stream of blocks (objects with ``tensor``, ``start`` and ``values`` (T, n)) and gives a
stream of mode blocks of the same shape of thing; never holds N x r numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from koopscope._types import Complex128
from koopscope.errors import KoopscopeError
from koopscope.spectra.dmd import Spectrum
from koopscope.spectra.gram import Observable, Products

TensorT = TypeVar("TensorT")
TensorT_co = TypeVar("TensorT_co", covariant=True)


class SnapshotBlock(Protocol[TensorT_co]):
    """What the second pass needs of a block of a run."""

    @property
    def tensor(self) -> TensorT_co:
        """What the weights belong to."""

    @property
    def start(self) -> int:
        """Index of the first weight of the block in its flattened tensor."""

    @property
    def values(self) -> npt.NDArray[np.inexact[Any]]:
        """The weights, (T, n)."""


@dataclass(frozen=True)
class ModeBlock(Generic[TensorT]):
    """Modes on the weights ``[start, start + n)`` of a tensor; ``values``: complex128 (n, k)."""

    tensor: TensorT
    start: int
    values: Complex128


def modes(
    spectrum: Spectrum,
    blocks: Iterable[SnapshotBlock[TensorT]],
    window: slice,
    *,
    which: Sequence[int] | None = None,
    kind: Literal["exact", "projected"] = "exact",
) -> Iterator[ModeBlock[TensorT]]:
    """Yield the modes of a spectrum, one block of weights at a time.

    Parameters
    ----------
    spectrum
        Computed from the same snapshots.
    blocks
        The run, streamed once more; ``values`` may hold snapshots outside the window.
    window
        Which rows of ``values`` the spectrum was computed from.
    which
        Indices of the wanted modes, in the spectrum's order; all by default.
    kind
        ``exact`` (scaled as in ``Spectrum.exact_coefficients``) or ``projected`` (unit norm).

    Raises
    ------
    KoopscopeError
        If there is no such mode, or an exact one does not exist.

    Notes
    -----
    A mode of a delay-embedded observable is given by its first, undelayed part. A mode of
    ``weights`` is given in the weights' own coordinates: the constant entry of the observable
    carries the anchor, so the combination of snapshots is the same.
    """
    if kind == "exact":
        coefficients, shift = spectrum.exact_coefficients(), 1
    else:
        coefficients, shift = spectrum.projected_coefficients(), 0
    if which is not None:
        coefficients = coefficients[:, list(which)]
    if not np.isfinite(coefficients).all():
        raise KoopscopeError(
            "an exact mode was asked for whose eigenvalue is zero",
            "leave it out, or ask for projected modes",
        )
    parts = np.concatenate([coefficients.real, coefficients.imag], axis=1)
    count = coefficients.shape[1]
    for block in blocks:
        series = observable_values(block.values[window], spectrum.observable)
        used = series[shift : shift + len(coefficients)].T
        if np.iscomplexobj(used):
            yield ModeBlock(block.tensor, block.start, used @ coefficients)
            continue
        product = used @ parts
        yield ModeBlock(block.tensor, block.start, product[:, :count] + 1j * product[:, count:])


def observable_values(snapshots: npt.NDArray[np.inexact[Any]], observable: Observable) -> Products:
    """Return [T, n], or [T - 1, n] of increments: the observable's values on a block of snapshots.

    float64, or complex128 of complex snapshots.

    The entries on the weights only: the constant entry that ``weights`` and ``centered`` also have
    is not a weight.
    """
    wide = np.result_type(snapshots.dtype, np.float64)
    if observable == "increments":
        increments: Products = np.subtract(snapshots[1:], snapshots[:-1], dtype=wide)
        return increments
    values: Products = snapshots.astype(wide)
    return values - values.mean(axis=0) if observable == "centered" else values
