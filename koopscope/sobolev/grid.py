"""H^-s norms on periodic grids in one to three dimensions, by the fast Fourier transform.

On the torus with sides L, |f|^2_{H^-s} = sum_k (1 + 4 pi^2 |k / L|^2)^-s |f^_k|^2 (Manojlovic et
al. 2006.11765; s = 1/2 is the mix-norm of Mathew, Mezic, Petzold 2005). With f^ the Fourier
coefficients, not sums, s = 0 is the mean square by Parseval. Never changes an array it is given.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft

from koopscope._types import Float64
from koopscope.errors import KoopscopeError

FloatArray = npt.NDArray[np.floating[Any]]
Lengths = float | Sequence[float]


def check_order(s: float) -> float:
    """Return s as a float.

    Raises
    ------
    KoopscopeError
        If it is negative or not finite: H^-1/2 is s = 0.5, not -0.5.
    """
    if not (math.isfinite(s) and s >= 0.0):
        raise KoopscopeError(
            f"s = {s} is not the order of a negative Sobolev norm",
            "H^-s takes s >= 0: write 0.5 for H^-1/2, and 0 for the mean square",
        )
    return float(s)


def check_lengths(lengths: Lengths, dimension: int) -> tuple[float, ...]:
    """Return one positive side length per axis.

    Raises
    ------
    KoopscopeError
        If there are not as many as axes, or one is not positive.
    """
    sides = (lengths,) * dimension if isinstance(lengths, int | float) else tuple(lengths)
    if len(sides) != dimension or not all(math.isfinite(side) and side > 0.0 for side in sides):
        raise KoopscopeError(
            f"side lengths {lengths} do not fit {dimension} dimensions",
            "give one positive length, or one for each axis",
        )
    return tuple(float(side) for side in sides)


def symbol(shape: Sequence[int], s: float, lengths: Lengths = 1.0) -> Float64:
    """Return (1 + 4 pi^2 |k / L|^2)^-s on the half spectrum that a real transform keeps.

    Parameters
    ----------
    shape
        Points along each of one to three axes.
    s
        Order of the norm, at least 0.
    lengths
        Side lengths L of the torus, in the unit in which wavelength 2 pi marks the turn of the
        weight from flat to falling.

    Returns
    -------
    float64 [*shape[:-1], shape[-1] // 2 + 1]

    Raises
    ------
    KoopscopeError
        If the order, the lengths or the number of axes make no sense.
    """
    if not 1 <= len(shape) <= 3 or min(shape) < 1:
        raise KoopscopeError(
            f"a grid of shape {tuple(shape)} has no Sobolev norm here",
            "grids have one to three axes, none of them empty",
        )
    return _symbol(tuple(shape), check_order(s), check_lengths(lengths, len(shape)))


@lru_cache(maxsize=32)
def _symbol(shape: tuple[int, ...], s: float, sides: tuple[float, ...]) -> Float64:
    squares = np.zeros(())
    for axis, (count, side) in enumerate(zip(shape, sides, strict=True)):
        half = axis == len(shape) - 1
        wave = (np.fft.rfftfreq if half else np.fft.fftfreq)(count, side / count)
        squares = np.add.outer(squares, wave**2)
    weights: Float64 = (1.0 + 4.0 * np.pi**2 * squares) ** -s
    weights.flags.writeable = False
    return weights


def multiplicity(count: int) -> Float64:
    """Return float64 [count // 2 + 1]: how often a full spectrum has each coefficient of a half.

    Zero and, for an even count, the highest frequency are their own mirror images.
    """
    twice = np.full(count // 2 + 1, 2.0)
    twice[0] = 1.0
    if count % 2 == 0:
        twice[-1] = 1.0
    return twice


def power_weights(shape: tuple[int, ...], s: float, lengths: Lengths = 1.0) -> Float64:
    """Return float64, in the half spectrum's shape: the weight of |coefficient|^2 in the norm."""
    once: Float64 = multiplicity(shape[-1]) / math.prod(shape) ** 2
    return symbol(shape, s, lengths) * once


def batch_weights(
    shape: tuple[int, ...], s: float, lengths: Lengths, dimension: int | None
) -> tuple[Float64, tuple[int, ...]]:
    """Return the ``power_weights`` of a batch of grids, and the axes that are the grid.

    Parameters
    ----------
    shape
        Of the batch: [..., *grid].
    s, lengths, dimension
        See ``squared_norm``.

    Raises
    ------
    KoopscopeError
        If the settings do not fit the shape.
    """
    axes = _grid_axes(shape, dimension)
    return power_weights(shape[-len(axes) :], s, lengths), axes


def squared_norm(
    f: FloatArray, s: float, lengths: Lengths = 1.0, *, dimension: int | None = None
) -> npt.NDArray[np.floating[Any]]:
    """Return |f|^2 in H^-s.

    Parameters
    ----------
    f
        Real [..., *grid], float32 or float64 (others are widened to float64).
    s, lengths
        See ``symbol``.
    dimension
        How many trailing axes are the grid; all by default. Leading ones are a batch.

    Returns
    -------
    One number per batch entry, in the dtype of ``f``.

    Raises
    ------
    KoopscopeError
        If ``f`` is not real or the settings do not fit it.
    """
    f = _prepared(f)
    weights, axes = batch_weights(f.shape, s, lengths, dimension)
    coefficients = fft.rfftn(f, axes=axes)
    power = coefficients.real**2 + coefficients.imag**2
    total: FloatArray = (power * weights.astype(f.dtype)).sum(axis=axes)
    return total


def norm(
    f: FloatArray, s: float, lengths: Lengths = 1.0, *, dimension: int | None = None
) -> npt.NDArray[np.floating[Any]]:
    """Return |f| in H^-s, one for each of the leading axes; parameters as for ``squared_norm``."""
    root: FloatArray = np.sqrt(squared_norm(f, s, lengths, dimension=dimension))
    return root


def gradient(
    f: FloatArray, s: float, lengths: Lengths = 1.0, *, dimension: int | None = None
) -> FloatArray:
    """Return the gradient of ``squared_norm`` with respect to every value of ``f``.

    (2 / n) (1 - Laplacian)^-s f for a grid of n points, in the shape and dtype of ``f``.
    """
    f = _prepared(f)
    axes = _grid_axes(f.shape, dimension)
    shape = f.shape[-len(axes) :]
    weights = (symbol(shape, s, lengths) * (2.0 / math.prod(shape))).astype(f.dtype)
    smoothed: FloatArray = fft.irfftn(fft.rfftn(f, axes=axes) * weights, s=shape, axes=axes)
    return smoothed


def _prepared(f: FloatArray) -> FloatArray:
    f = np.asarray(f)
    if np.iscomplexobj(f) or not np.issubdtype(f.dtype, np.number):
        raise KoopscopeError(
            f"a Sobolev norm of {f.dtype} values is not defined here", "give real numbers"
        )
    if f.dtype not in (np.float32, np.float64):
        f = f.astype(np.float64)
    return f


def _grid_axes(shape: tuple[int, ...], dimension: int | None) -> tuple[int, ...]:
    dimension = len(shape) if dimension is None else dimension
    if not 1 <= dimension <= min(3, len(shape)):
        raise KoopscopeError(
            f"an array of shape {shape} has no grid of {dimension} dimensions",
            "grids have one to three axes; leading axes of a batch need dimension=",
        )
    return tuple(range(-dimension, 0))
