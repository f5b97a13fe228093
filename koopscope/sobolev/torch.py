"""Squared H^-s norms as PyTorch losses: the definitions of ``koopscope.sobolev``, differentiable.

Needs ``pip install 'koopscope[torch]'``; nothing else of the package imports this module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from koopscope._types import Float64
from koopscope.errors import KoopscopeError
from koopscope.sobolev.grid import Lengths, batch_weights

try:
    import torch
except ImportError as absent:
    raise KoopscopeError("PyTorch is not installed", "pip install 'koopscope[torch]'") from absent

if TYPE_CHECKING:
    from torch import Tensor


def grid_loss(
    prediction: Tensor,
    target: Tensor,
    s: float,
    lengths: Lengths = 1.0,
    *,
    dimension: int | None = None,
) -> Tensor:
    """Return |prediction - target|^2 in H^-s on a periodic grid, the mean over a batch.

    Parameters
    ----------
    prediction, target
        [..., *grid], float32 or float64, on any device.
    s, lengths, dimension
        See ``koopscope.sobolev.squared_norm``.
    """
    error = prediction - target
    weights, axes = batch_weights(tuple(error.shape), s, lengths, dimension)
    coefficients = torch.fft.rfftn(error, dim=axes)
    power = coefficients.real.square() + coefficients.imag.square()
    loss: Tensor = (power * _like(weights, error)).sum(dim=axes).mean()
    return loss


def scattered_loss(prediction: Tensor, target: Tensor, kernel: Tensor | Float64) -> Tensor:
    """Return |prediction - target|^2 in H^-s at scattered points, the mean over a batch.

    Parameters
    ----------
    prediction, target
        [..., n] values at the points.
    kernel
        [n, n], ``koopscope.sobolev.kernel_matrix`` of the points.
    """
    error = prediction - target
    matrix = _like(kernel, error)
    loss: Tensor = ((error @ matrix) * error).sum(dim=-1).mean() / error.shape[-1] ** 2
    return loss


def _like(values: Any, tensor: Tensor) -> Tensor:
    # A copy: PyTorch warns about arrays that may not be written to, and cached weights are such.
    array: Tensor = values if isinstance(values, torch.Tensor) else torch.from_numpy(values.copy())
    converted: Tensor = array.to(tensor)
    return converted
