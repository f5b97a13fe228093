"""How far rounding to the stored dtype moves weights, as a variance."""

from __future__ import annotations

#: Half the spacing of the numbers just above 1.
UNIT_ROUNDOFF = {"float16": 2.0**-11, "bfloat16": 2.0**-8, "float32": 2.0**-24, "float64": 2.0**-53}
UNIT_ROUNDOFF |= {"complex64": UNIT_ROUNDOFF["float32"], "complex128": UNIT_ROUNDOFF["float64"]}


def increment_variance(dtype: str, square: float) -> float:
    """Return the expected squared length of the rounding error of one increment.

    Errors are taken as uniform in the last place, a third of the unit roundoff squared each, and
    an increment is the difference of two snapshots.

    Parameters
    ----------
    dtype
        As weights are stored.
    square
        Squared length of a snapshot.
    """
    return 2.0 / 3.0 * UNIT_ROUNDOFF[dtype] ** 2 * square
