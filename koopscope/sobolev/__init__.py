"""Negative Sobolev norms, which weigh an error's large scales above its small ones.

``grid`` for periodic grids, ``scattered`` for points anywhere, both on NumPy arrays;
``koopscope.sobolev.torch`` and ``koopscope.sobolev.jax`` hold the same norms as training losses
and are imported only by who asks for them. Pure mathematics: knows no run and no file.
"""

from koopscope.sobolev.grid import gradient, norm, squared_norm, symbol
from koopscope.sobolev.scattered import (
    kernel_matrix,
    scattered_gradient,
    scattered_norm,
    scattered_squared_norm,
)

__all__ = [
    "gradient",
    "kernel_matrix",
    "norm",
    "scattered_gradient",
    "scattered_norm",
    "scattered_squared_norm",
    "squared_norm",
    "symbol",
]
