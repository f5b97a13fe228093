"""What can be asked of ``koopscope.DMD``, checked before any data are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from koopscope._types import Float64
from koopscope.errors import KoopscopeError
from koopscope.spectra.rank import RankRule, check_rank_rule

#: How eigenvalues may be ordered; ``False`` is as LAPACK returns them.
SortedEigs = Literal["abs", "real", False]

#: ``auto``, one positive number per mode, or ``None``.
RescaleMode = str | Float64 | None


class BadValueError(KoopscopeError, ValueError):
    """A value that cannot be used; a ``ValueError`` for those who catch what PyDMD raises."""


class BadUseError(KoopscopeError, RuntimeError):
    """A call that makes no sense now; a ``RuntimeError`` for those who catch what PyDMD raises."""


@dataclass(frozen=True, eq=False)
class Options:
    """What was asked of a DMD; see ``koopscope.DMD`` for the meaning of each."""

    svd_rank: RankRule
    tlsq_rank: int
    exact: bool
    opt: bool | int
    rescale_mode: RescaleMode
    forward_backward: bool
    sorted_eigs: SortedEigs
    dt: float


def checked_options(**given: Any) -> Options:
    """Return the options, every field of which must be given.

    Raises
    ------
    KoopscopeError
        If a value is not one of those that are possible.
    """
    if not given["dt"] > 0.0:
        raise BadValueError(
            f"a time step of {given['dt']} is not possible", "dt is a positive number"
        )
    return Options(
        svd_rank=check_rank_rule(given["svd_rank"]),
        tlsq_rank=_count("tlsq_rank", given["tlsq_rank"]),
        exact=bool(given["exact"]),
        opt=_opt(given["opt"]),
        rescale_mode=_rescaling(given["rescale_mode"]),
        forward_backward=bool(given["forward_backward"]),
        sorted_eigs=_sorting(given["sorted_eigs"]),
        dt=given["dt"],
    )


def _count(name: str, value: Any) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__") or value.__index__() < 0:
        raise BadValueError(f"{name} cannot be {value!r}", "give a whole number, 0 or more")
    return int(value)


def _opt(value: Any) -> bool | int:
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if not hasattr(value, "__index__"):
        raise BadValueError(
            f"opt cannot be {value!r}", "give True, False or the index of a snapshot"
        )
    return int(value)


def _rescaling(value: Any) -> RescaleMode:
    if value is None or (isinstance(value, str) and value == "auto"):
        return value
    factors = np.empty(0) if isinstance(value, str) else np.asarray(value)
    numbers = factors.ndim == 1 and factors.size > 0 and factors.dtype.kind in "fiu"
    if not numbers or not (factors > 0).all():
        raise BadValueError(
            f"rescale_mode cannot be {value!r}", "give None, 'auto' or one positive number per mode"
        )
    return factors.astype(np.float64)


def _sorting(value: Any) -> SortedEigs:
    if isinstance(value, str) and value in ("abs", "real"):
        return "abs" if value == "abs" else "real"
    if value is None or value is False:
        return False
    raise BadValueError(f"sorted_eigs cannot be {value!r}", "give 'abs', 'real' or False")
