"""What is known of a fitted DMD: eigenvalues, times, dynamics, and modes read block by block.

PyDMD's names for it. At most one block of the data is in memory, unless an array of that size is
asked for.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from koopscope._types import Complex128, Float64
from koopscope.errors import KoopscopeError
from koopscope.estimator.columns import Columns, Numbers, row_blocks
from koopscope.estimator.fitting import Operator
from koopscope.estimator.options import BadUseError, BadValueError, Options
from koopscope.estimator.timeline import Timeline


@dataclass(frozen=True, eq=False)
class FitResult:
    """The outcome of a fit.

    Attributes
    ----------
    operator, amplitudes
        Of all modes.
    active
        bool [modes], which ones results are made of.
    original_time, dmd_time
        Of the snapshots, and of what is to be shown.
    data, modes
        What the modes are read from: the data, or modes that were stored.
    """

    operator: Operator
    amplitudes: Complex128
    active: npt.NDArray[np.bool_]
    original_time: Timeline
    dmd_time: Timeline
    data: Columns | None = None
    modes: Numbers | None = None


Self = TypeVar("Self", bound="Decomposition")


class Decomposition:
    """A DMD that was fitted, or will be: everything but the fit itself.

    Attributes
    ----------
    options
        What was asked for.
    """

    options: Options
    _result: FitResult | None = None

    @classmethod
    def restored(cls: type[Self], options: Options, result: FitResult) -> Self:
        """Return one that was fitted elsewhere."""
        restored = cls()
        restored.options, restored._result = options, result
        return restored

    # What the fit gave.

    @property
    def result(self) -> FitResult:
        """The outcome of the fit, as it is kept.

        Raises
        ------
        BadUseError
            If there was no fit.
        """
        if self._result is None:
            raise BadUseError("this DMD was not fitted", "call fit(X) first")
        return self._result

    @property
    def fitted(self) -> bool:
        """Whether ``fit`` was called."""
        return self._result is not None

    @property
    def operator(self) -> Operator:
        """The reduced operator and its eigenpairs, of all modes."""
        return self.result.operator

    @property
    def atilde(self) -> Numbers:
        """[rank, rank], the reduced operator as an array."""
        return self.operator.as_numpy_array

    @property
    def singular_values(self) -> Float64:
        """float64 [m], all of X's, descending."""
        return self.operator.singular_values

    @property
    def rank(self) -> int:
        """Number of active modes."""
        return len(self.eigs)

    @property
    def eigs(self) -> Complex128:
        """complex128 [rank]."""
        return self.result.operator.eigenvalues[self.result.active]

    @property
    def amplitudes(self) -> Complex128:
        """complex128 [rank]: b_j; see ``opt``."""
        return self.result.amplitudes[self.result.active]

    @property
    def frequency(self) -> Float64:
        """float64 [modes], cycles per unit of time: Im(log lambda) / (2 pi dt)."""
        cycles: Float64 = np.angle(self.eigs) / (2.0 * np.pi * self.original_time["dt"])
        return cycles

    @property
    def growth_rate(self) -> Float64:
        """float64 [modes], exponential rates per unit of time: log|lambda| / dt.

        PyDMD gives Re(lambda) / dt.
        """
        with np.errstate(divide="ignore"):
            rates: Float64 = np.log(np.abs(self.eigs)) / self.original_time["dt"]
        return rates

    # Which modes count.

    @property
    def modes_activation_bitmask(self) -> npt.NDArray[np.bool_]:
        """bool [modes]: which ones all results are made of. Set it to choose others."""
        shown: npt.NDArray[np.bool_] = self.result.active.view()
        shown.flags.writeable = False
        return shown

    @modes_activation_bitmask.setter
    def modes_activation_bitmask(self, value: npt.ArrayLike) -> None:
        fit, mask = self.result, np.array(value)
        if mask.dtype != np.bool_:
            raise BadUseError(f"a bitmask of {mask.dtype} values", "give one bool per mode")
        if mask.shape != fit.active.shape:
            raise BadValueError(
                f"a bitmask of shape {list(mask.shape)} for {len(fit.active)} modes",
                "give one bool per mode",
            )
        self._result = replace(fit, active=mask)

    def __getitem__(self: Self, key: Any) -> Self:
        """Return a copy in which only the modes of an index, a slice or a list of them are active.

        Raises
        ------
        BadValueError
            If it is none of these, or names a mode twice or one that there is not.
        """
        fit = self.result
        active = np.zeros(len(fit.active), np.bool_)
        active[_chosen(key, len(active))] = True
        part = copy.copy(self)
        part._result = replace(
            fit,
            active=active,
            original_time=Timeline(fit.original_time),
            dmd_time=Timeline(fit.dmd_time),
        )
        return part

    # When.

    @property
    def original_time(self) -> Timeline:
        """``t0``, ``tend`` and ``dt`` of the snapshots; a change of ``dt`` changes all rates."""
        return self.result.original_time

    @property
    def dmd_time(self) -> Timeline:
        """``t0``, ``tend`` and ``dt`` of what ``dynamics`` and ``reconstructed_data`` show."""
        return self.result.dmd_time

    @dmd_time.setter
    def dmd_time(self, times: Mapping[str, float]) -> None:
        self._result = replace(self.result, dmd_time=Timeline(times))

    @property
    def original_timesteps(self) -> Float64:
        """float64 [snapshots]."""
        return self.original_time.steps()

    @property
    def dmd_timesteps(self) -> Float64:
        """float64 [times], the times of ``dynamics``."""
        return self.dmd_time.steps()

    @property
    def dynamics(self) -> Complex128:
        """complex128 [rank, times]: b_j lambda_j^(t - s), s the snapshot that b_j was fitted to."""
        original, opt = self.original_time, self.options.opt
        s = 0 if isinstance(opt, bool) else opt
        count = len(original.steps())
        since = (self.dmd_timesteps - original["t0"]) / original["dt"] - (s % count)
        with np.errstate(divide="ignore", invalid="ignore"):
            powers: Complex128 = self.eigs[:, None] ** since
        return self.amplitudes[:, None] * powers

    # What is as long as a column.

    @property
    def snapshots(self) -> Numbers:
        """[features, snapshots], the data, all in memory."""
        return self._matrix(0)

    @property
    def snapshots_y(self) -> Numbers | None:
        """[features, snapshots], what the data become where that was given; else ``None``."""
        return self._matrix(1) if len(self._columns.matrices) > 1 else None

    @property
    def features(self) -> int:
        """Number of rows of the modes."""
        stored = self.result.modes
        return len(stored) if stored is not None else self._columns.features

    @property
    def snapshots_shape(self) -> tuple[int, ...]:
        """Shape of one snapshot before it was flattened."""
        return self._columns.feature_shape

    def mode_blocks(self) -> Iterator[tuple[int, Complex128]]:
        """Yield (first feature, complex128 [n, rank]) blocks of the modes: a second read."""
        fit = self.result
        if fit.modes is not None:
            for start, rows in row_blocks(fit.modes):
                yield start, rows[:, fit.active]
            return
        matrices = self._columns.matrices
        shift = 1 if self.options.exact and len(matrices) == 1 else 0
        pairs = len(fit.operator.inverse)
        for start, rows in row_blocks(matrices[-1 if self.options.exact else 0]):
            values = fit.operator.modes(rows[:, shift : shift + pairs])
            yield start, values[:, fit.active]

    @property
    def modes(self) -> Complex128:
        """complex128 [features, rank], all in memory."""
        return np.concatenate([values for _, values in self.mode_blocks()])

    @property
    def reconstructed_data(self) -> Complex128:
        """complex128 [features, times]: ``modes @ dynamics``, all in memory."""
        rebuilt: Complex128 = self.modes @ self.dynamics
        return rebuilt

    def predict(self, X: npt.ArrayLike) -> Complex128:
        """Return complex128 [features, k]: where the fitted operator takes each column in one step.

        Parameters
        ----------
        X
            (features, k) or (features,); of each column only what lies in the modes' span counts.

        Raises
        ------
        BadValueError
            If it does not have as many features as the data.
        """
        given, modes = np.asarray(X), self.modes
        columns = given.reshape(-1, given.shape[-1]) if given.ndim > 2 else given
        if len(columns) != len(modes):
            raise BadValueError(
                f"{len(columns)} features cannot be predicted by modes of {len(modes)}",
                "give columns like those that were fitted",
            )
        known = np.linalg.lstsq(modes, columns.astype(np.complex128), rcond=None)[0]
        ahead: Complex128 = modes @ (self.eigs * known.T).T
        return ahead

    @property
    def _columns(self) -> Columns:
        data = self.result.data
        if data is None:
            raise KoopscopeError(
                "this DMD was loaded from a file, which holds modes but not the data",
                "use modes and reconstructed_data, or fit again",
            )
        return data

    def _matrix(self, which: int) -> Numbers:
        matrix: Numbers = np.asarray(self._columns.matrices[which][...])
        return matrix.reshape(-1, matrix.shape[-1])


def _chosen(key: Any, count: int) -> npt.NDArray[np.intp]:
    if isinstance(key, slice):
        return np.arange(count)[key]
    single = hasattr(key, "__index__") and not isinstance(key, np.ndarray)
    keys = [key] if single else key
    if not isinstance(keys, (list, tuple, np.ndarray)) or any(
        isinstance(each, (bool, np.bool_)) or not hasattr(each, "__index__") for each in keys
    ):
        raise BadValueError(f"{key!r} does not name modes", "give an index, a slice or a list")
    chosen = [int(each) for each in keys]
    for each in chosen:
        if not -count <= each < count:
            raise BadValueError(f"there is no mode {each}: there are {count}", "count from 0")
    if len({each % count for each in chosen}) < len(chosen):
        raise BadValueError(f"{key!r} names a mode twice", "name each once")
    return np.array(chosen, np.intp)
