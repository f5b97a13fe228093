"""H^-s norms of values at scattered points, by the Green's function of (1 - Laplacian)^s.

|e|^2 = V e^T K e / n^2 (Manojlovic et al. 2006.11765) for n points in a domain of volume V. The
Green's function is a sum of heat kernels, (1 - Laplacian)^-s = 1/Gamma(s) int t^(s-1) e^-t
e^(t Laplacian) dt, so K is a sum of Gaussians with positive weights: positive definite for any
points, periodic or not, in any dimension. Holds n x n numbers; reads no file.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import gamma, gammaincc

from koopscope._types import Float64
from koopscope.errors import KoopscopeError
from koopscope.sobolev.grid import FloatArray, Lengths, check_lengths, check_order

#: Gauss-Legendre nodes per factor e^4 of diffusion time: the integrand is analytic in log t, and
#: twelve leave a relative error of 1e-8 in the norm (tests/sobolev), eight 1e-5.
_NODES_PER_E4 = 12

#: Diffusion time at which e^-t has fallen below rounding.
_LONGEST_TIME = 40.0


def kernel_matrix(
    points: FloatArray,
    s: float,
    *,
    period: Lengths | None = None,
    volume: float | None = None,
) -> Float64:
    """Return V K, the matrix whose quadratic form over n^2 is the squared H^-s norm.

    Parameters
    ----------
    points
        [n, d] or [n] with d from 1 to 3.
    s
        Order of the norm, at least 0; 0 gives n times the identity, the mean square.
    period
        Side lengths of the torus the points live on; free space by default.
    volume
        Of the domain that the points sample; the torus', or in free space the bounding box's.

    Returns
    -------
    float64 [n, n], symmetric, positive definite.

    Raises
    ------
    KoopscopeError
        If the points or the settings make no sense.

    Notes
    -----
    For 2 s <= d the Green's function is infinite at distance 0, and a finite number has to stand
    there. Diffusion times below (c h)^2 are left out, h = (V / n)^(1/d) the points' mean spacing;
    c is the one number, for each s and d, for which the norm of a smooth function on a uniform grid
    is the integral again: what the omitted times lack is what the sum over points adds.
    """
    points = _checked_points(points)
    count, dimension = points.shape
    s = check_order(s)
    if s == 0.0:
        identity: Float64 = count * np.eye(count)
        return identity
    sides = None if period is None else check_lengths(period, dimension)
    if volume is None:
        box = sides if sides is not None else np.ptp(points, axis=0)
        volume = float(np.prod(np.asarray(box))) or 1.0
    if not volume > 0.0:
        raise KoopscopeError(
            f"a domain of volume {volume} has no norm", "give the volume that the points sample"
        )
    spacing = (volume / count) ** (1.0 / dimension)
    times, weights = _diffusion_times(s, _shortest_time(s, dimension) * spacing**2)
    rows, columns = np.triu_indices(count)
    distances = np.ascontiguousarray((points[rows] - points[columns]).T)
    products = np.zeros(len(rows))
    for time, weight in zip(times, weights, strict=True):
        heat = np.full(len(rows), weight * volume)
        for axis in range(dimension):
            heat *= _heat_kernel(distances[axis], time, sides[axis] if sides else None)
        products += heat
    matrix = np.empty((count, count))
    matrix[rows, columns] = matrix[columns, rows] = products
    return matrix


def scattered_squared_norm(e: FloatArray, kernel: Float64) -> float:
    """Return e^T (V K) e / n^2 for values e [n] and the matrix of ``kernel_matrix``."""
    e = _checked_values(e, kernel)
    return float(e @ kernel @ e) / len(e) ** 2


def scattered_norm(e: FloatArray, kernel: Float64) -> float:
    """Return |e| in H^-s; parameters as for ``scattered_squared_norm``."""
    return math.sqrt(max(scattered_squared_norm(e, kernel), 0.0))


def scattered_gradient(e: FloatArray, kernel: Float64) -> Float64:
    """Return float64 [n]: the gradient of ``scattered_squared_norm`` in e, 2 (V K) e / n^2."""
    e = _checked_values(e, kernel)
    slope: Float64 = 2.0 * (kernel @ e) / len(e) ** 2
    return slope


def _checked_points(points: FloatArray) -> Float64:
    array = np.asarray(points, np.float64)
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or not len(array) or not 1 <= array.shape[1] <= 3:
        raise KoopscopeError(
            f"points of shape {array.shape} are not a set of points",
            "give [n, d] coordinates in one to three dimensions",
        )
    if not np.isfinite(array).all():
        raise KoopscopeError("a point has a NaN or infinite coordinate", "leave it out")
    return array


def _checked_values(e: FloatArray, kernel: Float64) -> Float64:
    values = np.asarray(e, np.float64)
    if values.shape != kernel.shape[:1] or kernel.shape != kernel.shape[:1] * 2:
        raise KoopscopeError(
            f"values of shape {values.shape} do not fit a kernel of shape {kernel.shape}",
            "give one value for each point that kernel_matrix was given",
        )
    return values


def _heat_kernel(x: Float64, time: float, period: float | None) -> npt.NDArray[np.floating[Any]]:
    """Heat kernel on the line, or on the circle as images or waves, whichever end sooner."""
    if period is None:
        return np.exp(-(x**2) / (4.0 * time)) / math.sqrt(4.0 * math.pi * time)
    x = x - period * np.round(x / period)
    kernel = np.zeros_like(x)
    if time < period**2 / (4.0 * math.pi):
        images = _terms(period**2 / (4.0 * time))
        for image in range(-images, images + 1):
            kernel += np.exp(-((x + image * period) ** 2) / (4.0 * time))
        return kernel / math.sqrt(4.0 * math.pi * time)
    rate = time * (2.0 * math.pi / period) ** 2
    for wave in range(1, _terms(rate) + 1):
        kernel += 2.0 * math.exp(-rate * wave**2) * np.cos(2.0 * math.pi * wave * x / period)
    return (kernel + 1.0) / period


def _terms(rate: float) -> int:
    """Last m for which exp(-rate (m - 1/2)^2) is not below rounding."""
    return math.floor(math.sqrt(37.0 / rate) + 0.5)


def _diffusion_times(s: float, shortest: float) -> tuple[Float64, Float64]:
    """Return nodes t and weights of 1/Gamma(s) int_shortest^inf t^(s-1) e^-t (.) dt."""
    low, high = math.log(shortest), math.log(_LONGEST_TIME)
    pieces = max(1, math.ceil((high - low) / 4.0))
    nodes, weights = np.polynomial.legendre.leggauss(_NODES_PER_E4)
    edges = np.linspace(low, high, pieces + 1)
    half = (edges[1] - edges[0]) / 2.0
    logs = ((edges[:-1] + edges[1:]) / 2.0)[:, None] + half * nodes
    times = np.exp(logs.ravel())
    density = np.tile(half * weights, pieces) * times**s * np.exp(-times) / gamma(s)
    return times, density


@lru_cache(maxsize=64)
def _shortest_time(s: float, dimension: int) -> float:
    """Return c^2: the omitted diffusion time on a grid of unit spacing.

    Leaving out t < c^2 takes c^2s / Gamma(s + 1) from the weight of every long wave; summing over
    grid points instead of integrating folds the waves of all other multiples m of the sampling
    frequency onto it. c balances the two (Poisson summation).
    """
    reach = {1: 2000, 2: 60, 3: 14}[dimension]
    axes = np.meshgrid(*[np.arange(-reach, reach + 1) ** 2] * dimension)
    squares, repeats = np.unique(np.sum(axes, axis=0), return_counts=True)
    waves = 4.0 * np.pi**2 * squares[1:]

    def excess(log_time: float) -> float:
        time = math.exp(log_time)
        folded = float(repeats[1:] @ (waves**-s * gammaincc(s, time * waves)))
        return folded - float(time**s / gamma(s + 1.0))

    return math.exp(float(brentq(excess, -40.0, 2.0)))
