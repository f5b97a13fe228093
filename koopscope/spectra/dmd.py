"""Exact dynamic mode decomposition from inner products alone.

For an observable y_0 .. y_m with Gram matrix H, X = (y_0 .. y_{m-1}) and Y = (y_1 .. y_m):
X^* X = H[:m, :m], X^* Y = H[:m, 1:] and Y^* Y = H[1:, 1:] are all that DMD needs
(Tu et al. 2014; scaling and residuals after Drmac, Mezic, Mohr 2018). The N-dimensional modes are
combinations of snapshots, so only their coefficients are computed here. Never reads a weight.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from koopscope._types import Complex128, Float64
from koopscope._views import shown
from koopscope.errors import KoopscopeError
from koopscope.markup import table
from koopscope.spectra.fit import fitted_all
from koopscope.spectra.gram import Observable, Products, SnapshotGram
from koopscope.spectra.rank import AUTO, RankRule
from koopscope.spectra.reduction import DRIFT, Reduction

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame

#: Magnitudes that a spectrum names of itself.
_NAMED = 4


@dataclass(frozen=True)
class Spectrum:
    """Ritz values of the Koopman operator on one observable, largest amplitude first.

    With orthonormal leading directions u_1 .. u_r of the (scaled) observable, the dynamics is
    y_t ~ sum_j b_j lambda_j^t v_j for t = 0 .. m, where the exact mode v_j is scaled so that its
    projection onto those directions has unit norm.

    Attributes
    ----------
    observable, delay
        What y_t is: see ``SnapshotGram.observable``.
    spacing_steps
        Optimizer steps between two snapshots; eigenvalues are per snapshot.
    singular_values
        float64 [m], descending, of X with columns scaled to unit norm. Beyond
        ``koopscope.spectra.leading.DIRECT_UP_TO`` pairs only leading ones where the rank is a
        number or ``auto``: the retained ones to rounding, further ones to a relative 1e-3.
    eigenvalues
        complex128 [r]. Complex ones come in neighbouring conjugate pairs, positive imaginary first
        (of real data; complex data have no such pairs).
    residuals
        float64 [r]: how far the pair is from being an eigenpair on the data it was computed from;
        see ``Reduction.residuals``. NaN where it would be 0 whatever the data.
    coordinates
        complex128 [r], b_j: the first observable expanded in the modes.
    eigenvectors
        complex128 [r, r], in the reduced coordinates; unit columns, but for that of ``resting``,
        which stands for a value of the observable of unit norm.
    operator
        [r, r], the reduced Koopman operator K: float64, or complex128 of complex data, as the
        next two are.
    basis
        [m, r]: u_j = sum_t basis[t, j] y_t.
    trajectory
        [r, m + 1]: y_t in the reduced coordinates.
    scales
        float64 [m], by which columns of X and Y were divided; see ``Reduction``.
    resting
        Of an affine law (``weights``, ``centered``), which eigenvalue is the constant's own, 1
        exactly. Its mode is the predicted fixed point (I - A)^-1 c, and its amplitude the distance
        of the fixed point from where the observable is 0. ``None`` of a linear law.
    """

    observable: Observable
    delay: int
    spacing_steps: float
    singular_values: Float64
    eigenvalues: Complex128
    residuals: Float64
    coordinates: Complex128
    eigenvectors: Complex128
    operator: Products
    basis: Products
    trajectory: Products
    scales: Float64
    resting: int | None = None

    def __repr__(self) -> str:
        first = ", ".join(f"{magnitude:.4f}" for magnitude in self.magnitudes[:_NAMED])
        more = ", ..." if self.rank > _NAMED else ""
        what = f"{self.observable}, rank {self.rank} of {self.pairs}"
        return f"Spectrum({what}, |lambda| = {first or 'none'}{more})"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the eigenvalues, largest amplitude first."""
        rows = [
            (f"{value:.5g}", f"{abs(value):.4f}", f"{residual:.2g}", f"{share:.1%}", f"{life:.3g}")
            for value, residual, share, life in zip(
                self.eigenvalues,
                self.residuals,
                self.shares,
                self.half_lives_steps,
                strict=True,
            )
        ]
        heads = ("eigenvalue", "magnitude", "residual", "share", "half-life in steps")
        title = f"{self.observable}, rank {self.rank} of {self.pairs}"
        return table(title, heads, rows, right=frozenset(range(5)))

    def to_dict(self) -> dict[str, Any]:
        """Return observable, rank, ``singular_values`` (float64 [m]) and the r eigenvalues.

        The keys are those of a spectrum in the JSON report; of each eigenvalue its re, im, abs,
        residual, amplitude, share and half_life_steps.
        """
        content: dict[str, Any] = shown(self, "to_dict")(self)
        return content

    def to_frame(self) -> DataFrame:
        """Return one row for each of the r eigenvalues, largest amplitude first.

        Columns: eigenvalue (complex, per snapshot), abs, residual, amplitude, share,
        half_life_steps and period_steps (optimizer steps).

        Raises
        ------
        KoopscopeError
            If pandas is not installed.
        """
        rows: DataFrame = shown(self, "to_frame")(self)
        return rows

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw the eigenvalues in the unit circle, zoomed to where they are; return the axes.

        Area is the share of the amplitude, colour the residual; of conjugate pairs the upper one.

        Parameters
        ----------
        ax
            Where to draw; on new axes if not given.
        """
        axes: Axes = shown(self, "plot")(self, ax)
        return axes

    @property
    def rank(self) -> int:
        """Number of eigenvalues r."""
        return len(self.eigenvalues)

    @property
    def has_resting_place(self) -> bool:
        """Whether the law has a fixed point; not where a second eigenvalue is 1: that is a drift.

        The resting mode is then the point that least squares gives, and nothing comes to rest.
        """
        if self.resting is None:
            return False
        return bool((np.abs(self.moving - 1.0) > DRIFT).all())

    @property
    def moving(self) -> Complex128:
        """complex128 [r] or [r - 1], the eigenvalues besides that of ``resting``."""
        kept = np.arange(self.rank) != self.resting
        others: Complex128 = self.eigenvalues[kept]
        return others

    @property
    def distance_to_rest(self) -> float:
        """Distance from the last value to the predicted fixed point; infinite where there is none.

        In the observable's own units and the retained directions.
        """
        if self.resting is None or not self.has_resting_place:
            return math.inf
        point = self.coordinates[self.resting] * self.eigenvectors[:, self.resting]
        return float(np.linalg.norm(point - self.trajectory[:, -1]))

    @property
    def pairs(self) -> int:
        """Number m of pairs (y_t, y_{t+1}) the operator was fitted to."""
        return len(self.scales)

    @property
    def nbytes(self) -> int:
        """Bytes that its arrays take."""
        return sum(
            each.nbytes if each.base is None else each.base.nbytes
            for each in vars(self).values()
            if isinstance(each, np.ndarray)
        )

    @property
    def magnitudes(self) -> Float64:
        """float64 [r], |lambda| per snapshot."""
        return np.abs(self.eigenvalues)

    @property
    def amplitudes(self) -> Float64:
        """float64 [r], |b_j| in the observable's own units."""
        return np.abs(self.coordinates)

    @property
    def shares(self) -> Float64:
        """float64 [r], amplitudes as parts of their sum."""
        amplitudes = self.amplitudes
        total = float(amplitudes.sum())
        return amplitudes / total if total > 0.0 else amplitudes

    @property
    def half_lives_steps(self) -> Float64:
        """float64 [r], optimizer steps in which a mode halves; infinite where it does not decay."""
        return self.half_lives_of(self.magnitudes)

    def half_lives_of(self, magnitudes: Float64) -> Float64:
        """Return float64 [r]: half-lives in optimizer steps of modes of these |lambda|.

        NaN of NaN.
        """
        with np.errstate(divide="ignore"):
            rates = -np.log(magnitudes)
        lives = np.where(np.isnan(rates), np.nan, np.inf)
        decaying = rates > 0.0
        lives[decaying] = self.spacing_steps * math.log(2.0) / rates[decaying]
        return lives

    @property
    def periods_steps(self) -> Float64:
        """float64 [r], optimizer steps in one turn of a mode; infinite where it does not rotate."""
        angles = np.abs(np.angle(self.eigenvalues))
        turning = angles > 0.0
        periods = np.full(self.rank, np.inf)
        periods[turning] = self.spacing_steps * 2.0 * math.pi / angles[turning]
        return periods

    def exact_coefficients(self) -> Complex128:
        """Return complex128 [m, r]: exact mode v_j = sum_t c[t, j] y_{t+1}.

        v_j = Y V S^-1 q_j / lambda_j (Tu et al. 2014, def. 2, divided by the eigenvalue so that the
        expansion above holds with the same b_j). Where lambda_j is zero to rounding the exact mode
        does not exist and the column is NaN.
        """
        reduced = (self.basis @ self.eigenvectors).astype(np.complex128)
        nonzero = self.magnitudes > self.pairs * np.finfo(np.float64).eps
        reduced[:, ~nonzero] = np.nan
        reduced[:, nonzero] /= self.eigenvalues[nonzero]
        return reduced

    def projected_coefficients(self) -> Complex128:
        """Return complex128 [m, r]: projected (unit-norm) mode U q_j = sum_t c[t, j] y_t."""
        return (self.basis @ self.eigenvectors).astype(np.complex128)


def dmd(
    gram: SnapshotGram,
    observable: Observable = "increments",
    *,
    rank: RankRule = AUTO,
    delay: int = 1,
    spacing_steps: float = 1.0,
) -> Spectrum:
    """Return the spectrum of a window of snapshots that are evenly spaced in time.

    Parameters
    ----------
    gram
        The window's inner products; every snapshot of it must be finite.
    observable, delay
        See ``SnapshotGram.observable``.
    rank
        See ``koopscope.spectra.rank``.
    spacing_steps
        Optimizer steps between two snapshots.

    Raises
    ------
    KoopscopeError
        If there are too few snapshots, or some are not finite.
    """
    return dmd_all([gram], observable, rank=rank, delay=delay, spacing_steps=spacing_steps)[0]


def dmd_all(
    grams: Sequence[SnapshotGram],
    observable: Observable = "increments",
    *,
    rank: RankRule = AUTO,
    delay: int = 1,
    spacing_steps: float = 1.0,
) -> list[Spectrum]:
    """Return the spectrum of each of several scopes of one window; together is quicker.

    See ``dmd``; the matrices are held in a stack.
    """
    for gram in grams:
        if not gram.finite.all():
            first = int(np.flatnonzero(~gram.finite)[0])
            raise KoopscopeError(
                f"snapshot {first} of the window has {gram.nonfinite[first]} non-finite weights",
                "choose a window without them",
            )
    found = fitted_all(grams, observable, rank, delay, what=f"a spectrum of {observable}")
    return [
        _spectrum(reduction, r, observable, delay=delay, spacing_steps=spacing_steps)
        for reduction, r in found
    ]


def _spectrum(
    reduction: Reduction, r: int, observable: Observable, *, delay: int, spacing_steps: float
) -> Spectrum:
    eigenvalues, Q = reduction.eigen(r)
    trajectory = reduction.coordinates(r)
    coordinates = np.linalg.lstsq(Q, trajectory[:, 0].astype(np.complex128), rcond=None)[0]
    order = _by_amplitude(eigenvalues, np.abs(coordinates))
    resting = int(np.flatnonzero(order == 0)[0]) if reduction.constants and r else None
    return Spectrum(
        observable=observable,
        delay=delay,
        spacing_steps=spacing_steps,
        singular_values=reduction.singular_values,
        eigenvalues=eigenvalues[order],
        residuals=reduction.residuals(eigenvalues, Q)[order],
        coordinates=coordinates[order].astype(np.complex128),
        eigenvectors=Q[:, order],
        operator=reduction.operator(r),
        basis=reduction.basis(r),
        trajectory=trajectory,
        scales=reduction.scales,
        resting=resting,
    )


def _by_amplitude(eigenvalues: Complex128, amplitudes: Float64) -> npt.NDArray[np.intp]:
    """Order by amplitude, largest first, conjugate pairs kept together as LAPACK returns them."""
    groups: list[list[int]] = []
    for j, eigenvalue in enumerate(eigenvalues):
        paired = groups and len(groups[-1]) == 1 and eigenvalues[groups[-1][0]].imag > 0.0
        if paired and eigenvalue.imag < 0.0:
            groups[-1].append(j)
        else:
            groups.append([j])
    groups.sort(key=lambda group: -max(amplitudes[j] for j in group))
    return np.array([j for group in groups for j in group], np.intp)
