"""``koopscope.DMD``: dynamic mode decomposition for those who come from PyDMD, at any size.

The data matrix has one column per snapshot. It is read once, in blocks of rows, into inner
products; every result but ``modes`` and what is made of them follows from those. At most one block
of the data is in memory, unless an array of that size is asked for.
"""

from __future__ import annotations

import os
import warnings

import numpy as np

from koopscope._threads import product_threads
from koopscope._types import Float64
from koopscope.estimator.columns import Columns, Matrix, Numbers
from koopscope.estimator.decomposition import Decomposition, FitResult
from koopscope.estimator.fitting import amplitudes, fitted, total_least_squares
from koopscope.estimator.options import (
    BadValueError,
    RescaleMode,
    SortedEigs,
    checked_options,
)
from koopscope.estimator.timeline import Timeline
from koopscope.spectra.heldout import held_out_rank
from koopscope.spectra.rank import AUTO, RankRule, numerical_rank, truncation_rank
from koopscope.spectra.series import Series

#: Singular values below this part of the largest are zeros, whatever rank was asked for.
_NOTHING = 1e-30


class DMD(Decomposition):
    """Dynamic mode decomposition of the columns of a real or complex matrix.

    Parameters
    ----------
    rank, svd_rank
        Truncation, under either name: an integer, 0 (the optimal hard threshold), a fraction of
        energy, -1 (none); or ``auto``, the rank that predicts held-out snapshots best.
    tlsq_rank
        Singular directions kept by total least squares before the fit; 0 for none.
    exact
        Exact modes Y V S^-1 w (Tu et al. 2014), not divided by the eigenvalue, as in PyDMD; or
        projected ones, U w.
    opt
        What amplitudes are fitted to: the first snapshot (``False``), all of them (``True``), or
        the one of this index.
    rescale_mode
        How modes are scaled: ``None``, ``auto`` (by singular values; Brunton et al. 2016, sect.
        2.4), or one positive number per mode. Changes no eigenvalue.
    forward_backward
        Correct for noise of the sensor (Dawson et al. 2016), in one basis for both directions.
    sorted_eigs
        ``abs`` or ``real``: eigenvalues ascend by magnitude, or by real and then imaginary part.
    dt
        Time between two snapshots: the step of ``original_time``.

    Notes
    -----
    The columns are taken as they are: neither scaled nor centred, nor turned into increments (for
    the spectra that ``koopscope analyze`` reports, see ``koopscope.analyze``). Inner products are
    kept relative to the first column and between neighbours, so motion of 1e-6 of a constant part
    is still resolved. Where a rank is asked for that inner products cannot resolve, the data are
    read once more and factored without being squared.
    """

    def __init__(
        self,
        rank: RankRule = 0,
        *,
        svd_rank: RankRule | None = None,
        tlsq_rank: int = 0,
        exact: bool = False,
        opt: bool | int = False,
        rescale_mode: RescaleMode = None,
        forward_backward: bool = False,
        sorted_eigs: SortedEigs | None = False,
        dt: float = 1,
    ) -> None:
        self.options = checked_options(
            svd_rank=rank if svd_rank is None else svd_rank,
            tlsq_rank=tlsq_rank,
            exact=exact,
            opt=opt,
            rescale_mode=rescale_mode,
            forward_backward=forward_backward,
            sorted_eigs=sorted_eigs,
            dt=dt,
        )

    @property
    def svd_rank(self) -> RankRule:
        """The truncation rule asked for; the rank it led to is ``rank``."""
        return self.options.svd_rank

    @property
    def exact(self) -> bool:
        """Whether modes are exact ones."""
        return self.options.exact

    @product_threads(1)
    def fit(self, X: Matrix, Y: Matrix | None = None) -> DMD:
        """Decompose ``X``, whose columns follow one another, or the map from ``X`` to ``Y``.

        Parameters
        ----------
        X
            Real or complex (*features, snapshots): an array, a list of snapshots, or an h5py
            dataset of any size, which must stay open for as long as modes are asked for.
        Y
            Of the same shape: column t is what column t of ``X`` becomes.

        Raises
        ------
        KoopscopeError
            If a shape, dtype or option does not fit, there are fewer than two snapshots, or a value
            is not finite.
        """
        data = Columns.of(X) if Y is None else Columns.of(X, Y)
        index = 0 if isinstance(self.options.opt, bool) else self.options.opt
        if not -data.snapshots <= index < data.snapshots:
            raise BadValueError(
                f"opt={index} is not one of {data.snapshots} snapshots", "count from 0, or from -1"
            )
        columns = data.coordinates()
        first, then, projector = self._pairs(data, columns)
        series = columns[:, : data.snapshots] if Y is None else first
        rank = self._wanted_rank(data, first, series)
        if rank > numerical_rank(_singular_values(first), _resolution(first)):
            columns = data.precise_coordinates()
            first, then, projector = self._pairs(data, columns)
            rank = _possible_rank(first, rank)
        operator = fitted(first, then, rank, self.options)
        modes = operator.modes(then if self.exact else first)
        fitted_to = columns[:, : data.snapshots]
        b = amplitudes(modes, operator.eigenvalues, fitted_to, self.options.opt)
        if projector is not None:
            operator = operator.on(projector)
        times = Timeline.of_snapshots(data.snapshots, self.options.dt)
        every = np.ones(len(b), np.bool_)
        self._result = FitResult(operator, b, every, times, Timeline(times), data)
        return self

    def _pairs(self, data: Columns, columns: Numbers) -> tuple[Numbers, Numbers, Numbers | None]:
        """Return X and Y in coordinates, and what total least squares multiplied them with."""
        count = data.snapshots
        if len(data.matrices) == 1:
            first, then = columns[:, :-1], columns[:, 1:]
        else:
            first, then = columns[:, :count], columns[:, count:]
        if not self.options.tlsq_rank:
            return first, then, None
        projector = total_least_squares(first, then, self.options.tlsq_rank)
        return first @ projector, then @ projector, projector

    def _wanted_rank(self, data: Columns, first: Numbers, series: Numbers) -> int:
        rule, pairs = self.svd_rank, int(first.shape[1])
        most = min(data.features, pairs)
        if self.options.tlsq_rank:
            most = min(most, self.options.tlsq_rank)
        if isinstance(rule, int) and rule and not _singular_values(first)[:1].any():
            return 0
        if isinstance(rule, int) and rule:
            return most if rule == -1 else min(rule, most)
        if rule == AUTO:
            rule = held_out_rank(Series("raw", series.conj().T @ series, data.features, series))
        aspect = min(data.features, pairs) / max(data.features, pairs)
        return truncation_rank(_singular_values(first), rule, aspect, _resolution(first))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything but the data to an HDF5 file; one of that name is replaced."""
        from koopscope.estimator.file import save_dmd

        save_dmd(self, path)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> DMD:
        """Read what ``save`` wrote, modes included; the data are not there.

        Raises
        ------
        KoopscopeError
            If the file is not one that ``save`` wrote.
        """
        from koopscope.estimator.file import load_dmd

        return DMD.restored(*load_dmd(path))


def _singular_values(matrix: Numbers) -> Float64:
    values: Float64 = np.linalg.svd(matrix, compute_uv=False)
    return values


def _resolution(first: Numbers) -> float:
    return float(first.shape[1] * np.finfo(np.float64).eps)


def _possible_rank(first: Numbers, wanted: int) -> int:
    """Return the rank that was asked for, with a warning where rounding fills a part of it."""
    S = _singular_values(first)
    told = numerical_rank(S, _resolution(first))
    rank = min(wanted, numerical_rank(S, _NOTHING))
    if rank > told:
        warnings.warn(
            f"the data have {told} directions above rounding, and rank {rank} was asked for: the "
            "eigenvalues of the others are made of rounding errors",
            RuntimeWarning,
            stacklevel=4,  # the caller of ``fit``, which is wrapped once
        )
    return rank
