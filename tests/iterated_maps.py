"""Operators x -> T(x) + f whose contraction factor is known because it is put in."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.floating]
Operator = Callable[[Vector], Vector]

SIZE = 60


def _orthogonal(rng: np.random.Generator, size: int = SIZE) -> Vector:
    return np.linalg.qr(rng.standard_normal((size, size)))[0]


def affine(matrix: Vector, seed: int = 0) -> tuple[Operator, Vector]:
    """Return x -> A x + f for a random f, and a random start."""
    rng = np.random.default_rng(seed + 1000)
    f, start = rng.standard_normal((2, len(matrix)))
    return (lambda x: matrix @ x + f), start


def symmetric(factor: float, seed: int = 0, lowest: float = -1.0) -> Vector:
    """Eigenvalues spread over [lowest * factor, factor], the largest standing 3% apart."""
    rng = np.random.default_rng(seed)
    Q = _orthogonal(rng)
    values = np.minimum(rng.uniform(lowest * factor, factor, SIZE), 0.97 * factor)
    values[0] = factor
    return (Q * values) @ Q.T


def non_normal(factor: float, seed: int = 0, strength: float = 0.5) -> Vector:
    """Known eigenvalues on the diagonal of a full upper triangle."""
    rng = np.random.default_rng(seed)
    Q = _orthogonal(rng)
    values = rng.uniform(0.0, 0.9 * factor, SIZE)
    values[0] = factor
    upper = np.triu(rng.standard_normal((SIZE, SIZE)), 1) * strength / np.sqrt(SIZE)
    return Q @ (np.diag(values) + upper) @ Q.T


def rotation(angle: float, factor: float = 1.0, planes: int = 3) -> Vector:
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return factor * np.kron(np.eye(planes), turn)


@lru_cache
def tanh_layer(factor: float, seed: int = 0) -> tuple[Operator, Vector]:
    """x -> tanh(g W x + b), with g such that the Jacobian at the fixed point has that radius."""
    rng = np.random.default_rng(seed)
    W = rng.standard_normal((SIZE, SIZE))
    W /= np.linalg.norm(W, 2)
    b = rng.standard_normal(SIZE) / 2
    start = 2 * rng.standard_normal(SIZE)

    def layer(gain: float) -> Operator:
        return lambda x: np.tanh(gain * (W @ x) + b)

    def radius(gain: float) -> float:
        x = iterate(layer(gain), np.zeros(SIZE), 400)[-1]
        slope = 1 - np.tanh(gain * (W @ x) + b) ** 2
        return float(np.abs(np.linalg.eigvals(slope[:, None] * gain * W)).max())

    low, high = 0.5, 1.0
    while radius(high) < factor:
        low, high = high, 1.2 * high
    for _ in range(16):
        middle = (low + high) / 2
        low, high = (middle, high) if radius(middle) < factor else (low, middle)
    return layer(low), start


def iterate(
    operator: Operator, start: Vector, count: int, dtype: npt.DTypeLike = np.float64
) -> Vector:
    """Return [count + 1, N] iterates, rounded to ``dtype`` each time."""
    x = start.astype(dtype)
    iterates = [x]
    for _ in range(count):
        x = operator(x).astype(dtype)
        iterates.append(x)
    return np.array(iterates)


def iterations_to(operator: Operator, start: Vector, tolerance: float, limit: int = 30000) -> int:
    """Count, by iterating to the end, the iterations until |x_n - x*| <= tolerance |x_0 - x*|."""
    iterates = [start]
    while len(iterates) < limit:
        iterates.append(operator(iterates[-1]))
        if len(iterates) % 20:
            continue
        move = np.linalg.norm(iterates[-1] - iterates[-2])
        if move <= 1e-14 * np.linalg.norm(iterates[-1]):
            break
    errors = np.linalg.norm(np.array(iterates) - iterates[-1], axis=1)
    return int(np.argmax(errors <= tolerance * errors[0]))


def rounding_length(iterates: Vector) -> float:
    """Length of the rounding error of one increment."""
    unit = np.finfo(iterates.dtype).eps / 2
    return float(unit * np.linalg.norm(iterates[-1]) * np.sqrt(2 / 3))
