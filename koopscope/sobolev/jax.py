"""Squared H^-s norms as JAX losses: the definitions of ``koopscope.sobolev``, differentiable.

Needs ``pip install 'koopscope[jax]'``; nothing else of the package imports this module. Shapes
and settings are static under ``jax.jit``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from koopscope._types import Float64
from koopscope.errors import KoopscopeError
from koopscope.sobolev.grid import Lengths, batch_weights

try:
    import jax.numpy as jnp
except ImportError as absent:
    raise KoopscopeError("JAX is not installed", "pip install 'koopscope[jax]'") from absent

if TYPE_CHECKING:
    from jax import Array


def grid_loss(
    prediction: Array,
    target: Array,
    s: float,
    lengths: Lengths = 1.0,
    *,
    dimension: int | None = None,
) -> Array:
    """Return |prediction - target|^2 in H^-s on a periodic grid, the mean over a batch.

    Parameters
    ----------
    prediction, target
        [..., *grid], float32 (or float64 where JAX has it enabled).
    s, lengths, dimension
        See ``koopscope.sobolev.squared_norm``.
    """
    error = prediction - target
    weights, axes = batch_weights(tuple(error.shape), s, lengths, dimension)
    coefficients = jnp.fft.rfftn(error, axes=axes)
    power = coefficients.real**2 + coefficients.imag**2
    return (power * jnp.asarray(weights, error.dtype)).sum(axis=axes).mean()


def scattered_loss(prediction: Array, target: Array, kernel: Array | Float64) -> Array:
    """Return |prediction - target|^2 in H^-s at scattered points, the mean over a batch.

    Parameters
    ----------
    prediction, target
        [..., n] values at the points.
    kernel
        [n, n], ``koopscope.sobolev.kernel_matrix`` of the points.
    """
    error = prediction - target
    matrix = jnp.asarray(kernel, error.dtype)
    return ((error @ matrix) * error).sum(axis=-1).mean() / error.shape[-1] ** 2
