"""Fit the textbook DMD to coordinates of columns, with the corrections that PyDMD's DMD offers.

Arrays of T x T numbers in, a frozen result out (Tu et al. 2014). Knows no data matrix: modes come
out as combinations of columns.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from koopscope._types import Complex128, Float64
from koopscope.errors import KoopscopeError
from koopscope.estimator.columns import Numbers
from koopscope.estimator.options import BadValueError, Options, RescaleMode, SortedEigs


@dataclass(frozen=True, eq=False)
class Operator:
    """The operator in the r leading directions of X, with its eigenpairs.

    Attributes
    ----------
    as_numpy_array
        [r, r]: U^* Y V S^-1 unless corrected; complex where the data are.
    eigenvalues
        complex128 [r].
    eigenvectors
        complex128 [r, r]: of the operator, scaled as ``rescale_mode`` says.
    singular_values
        float64, all of X's.
    inverse
        [pairs, r], V S^-1: the leading directions as combinations of X's columns.
    weights
        complex128 [r, r]: modes are Y (exact ones) or X (projected ones) times ``inverse`` times
        these. Kept apart, since the first may be large where the second is not.
    """

    as_numpy_array: Numbers
    eigenvalues: Complex128
    eigenvectors: Complex128
    singular_values: Float64
    inverse: Numbers
    weights: Complex128

    @property
    def shape(self) -> tuple[int, ...]:
        """(r, r)."""
        return self.as_numpy_array.shape

    def modes(self, columns: Numbers) -> Complex128:
        """Return complex128 [n, r] from rows [n, pairs] of the matrix that modes are made of."""
        combined: Complex128 = columns @ self.inverse @ self.weights
        return combined

    def on(self, projector: Numbers) -> Operator:
        """Return the same operator with modes made of columns before a projector [pairs, pairs]."""
        return replace(self, inverse=projector @ self.inverse)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Numbers:
        return np.array(self.as_numpy_array, dtype)

    def __call__(self, reduced: Numbers) -> Numbers:
        """Return one step on from reduced coordinates [r] or [r, k]."""
        ahead: Numbers = self.as_numpy_array @ reduced
        return ahead


def total_least_squares(X: Numbers, Y: Numbers, rank: int) -> Numbers:
    """Return the projector [pairs, pairs] onto the leading right singular vectors of X over Y.

    Multiplied from the right it takes the noise out of both, which otherwise pulls eigenvalues
    inwards (Hemati et al. 2017).
    """
    V = np.linalg.svd(np.vstack([X, Y]), full_matrices=False)[2][:rank].conj().T
    projector: Numbers = V @ V.conj().T
    return projector


def fitted(X: Numbers, Y: Numbers, rank: int, options: Options) -> Operator:
    """Fit the operator of a given rank that takes the columns of X to those of Y.

    Parameters
    ----------
    X, Y
        [k, pairs], in one orthonormal basis.
    rank
        At most the number of singular values of X that are not zero.

    Raises
    ------
    KoopscopeError
        If ``rescale_mode`` does not fit the rank, or there is no backward operator.
    """
    U, S, Vt = np.linalg.svd(X, full_matrices=False)
    inverse = Vt[:rank].conj().T / S[:rank]
    U = U[:, :rank]
    atilde: Numbers = U.conj().T @ Y @ inverse
    if options.forward_backward:
        atilde = _forward_backward(atilde, U.conj().T @ X, U.conj().T @ Y)
    factors = _mode_factors(options.rescale_mode, S[:rank])
    roots = np.sqrt(factors)
    eigenvalues, vectors = np.linalg.eig(atilde * roots / roots[:, None])
    order = _order(eigenvalues, options.sorted_eigs)
    vectors = vectors[:, order].astype(np.complex128)
    values = eigenvalues[order].astype(np.complex128)
    return Operator(atilde, values, vectors, S, inverse, roots[:, None] * vectors)


def _forward_backward(forward: Numbers, X: Numbers, Y: Numbers) -> Numbers:
    """Return (K_f K_b^-1)^(1/2), K_b fitted from Y to X in the same directions.

    Noise moves both operators the same way, so it cancels (Dawson et al. 2016). Of the two roots of
    every eigenvalue the one nearer to what the forward operator does to that direction is taken:
    the principal root would turn -0.6 into 0.6.
    """
    backward = X @ np.linalg.pinv(Y)
    try:
        squares, W = np.linalg.eig(np.linalg.solve(backward.T, forward.T).T)
        dual = np.linalg.inv(W)
    except np.linalg.LinAlgError:
        raise KoopscopeError(
            "the data have no backward operator at this rank",
            "ask for a smaller svd_rank, or leave forward_backward out",
        ) from None
    roots = np.sqrt(squares.astype(np.complex128))
    quotients = np.einsum("ij,jk,ki->i", dual, forward, W)
    roots = np.where((roots.conj() * quotients).real < 0.0, -roots, roots)
    corrected: Numbers = (W * roots) @ dual
    if np.isrealobj(forward) and np.abs(corrected.imag).max() <= 1e-9 * np.abs(corrected).max():
        return corrected.real
    return corrected


def _mode_factors(mode: RescaleMode, singular_values: Float64) -> Float64:
    if mode is None:
        return np.ones(len(singular_values))
    if isinstance(mode, str):
        return singular_values
    if len(mode) != len(singular_values):
        raise BadValueError(
            f"rescale_mode has {len(mode)} numbers for {len(singular_values)} modes",
            "give one per mode, or 'auto'",
        )
    return mode


def _order(eigenvalues: Numbers, rule: SortedEigs) -> Numbers:
    if rule == "abs":
        return np.argsort(np.abs(eigenvalues), kind="stable")
    if rule == "real":
        return np.lexsort((eigenvalues.imag, eigenvalues.real))
    return np.arange(len(eigenvalues))


def amplitudes(
    modes: Numbers, eigenvalues: Complex128, columns: Numbers, opt: bool | int
) -> Complex128:
    """Return b of x_t ~ sum_j b_j lambda_j^(t - s) v_j, complex128 [r].

    Parameters
    ----------
    modes, columns
        [k, r] and [k, T], in one orthonormal basis.
    opt
        ``False``: fitted to the first column, s = 0. A whole number s: to that one. ``True``: to
        all columns by least squares, s = 0 (Jovanovic, Schmid, Nichols 2014, without its normal
        equations).
    """
    if opt is not True:
        return _least_squares(modes, columns[:, int(opt)])
    Q, R = np.linalg.qr(modes)
    powers = eigenvalues[:, None] ** np.arange(columns.shape[1])
    every = (R[:, None, :] * powers.T[None]).reshape(-1, len(eigenvalues))
    return _least_squares(every, (Q.conj().T @ columns).reshape(-1))


def _least_squares(A: Numbers, b: Numbers) -> Complex128:
    solved = np.linalg.lstsq(A, b.astype(np.complex128), rcond=None)[0]
    return np.asarray(solved, np.complex128)
