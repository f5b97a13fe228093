"""A spectrum as a reader counts it: a conjugate pair is one oscillation, so it is one row.

Everything that shows eigenvalues takes them from here; nothing is left out and nothing is judged.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from koopscope.analysis.summary import SpectrumSummary


@dataclass(frozen=True)
class Folded:
    """One real eigenvalue, or a conjugate pair told by its upper member.

    Attributes
    ----------
    value
        lambda per snapshot, imaginary part not negative.
    is_pair
        Whether its conjugate belongs to it.
    period_steps
        Optimizer steps in one turn; infinite where it does not rotate.
    half_life_steps
        Optimizer steps in which it halves; infinite where it does not decay.
    half_life_low, half_life_high
        The same at the ends of the interval of |lambda|; NaN where it is not known.
    residual
        How far it is from being an eigenvalue on its own data; 0 is perfect, NaN cannot be told.
    share
        Its part of the sum of amplitudes, both members together.
    reach
        Half the width of the interval of |lambda|; NaN where it is not known.
    compression_error
        Standard error of lambda from measuring part of the weights; 0 where all were read.
    """

    value: complex
    is_pair: bool
    period_steps: float
    half_life_steps: float
    residual: float
    share: float
    reach: float = math.nan
    compression_error: float = 0.0
    half_life_low: float = math.nan
    half_life_high: float = math.nan

    @property
    def magnitude(self) -> float:
        """|lambda| per snapshot."""
        return abs(self.value)


def folded(spectrum: SpectrumSummary) -> tuple[Folded, ...]:
    """Return a spectrum's eigenvalues with conjugate pairs folded, largest share first."""
    rows = []
    nothing = np.full(spectrum.rank, math.nan)
    known = spectrum.confidence
    highs = known.uncertainty.magnitude_high if known is not None else nothing
    reaches = highs - np.abs(spectrum.eigenvalues)
    low, high = spectrum.half_life_bounds or (nothing, nothing)
    compressed = known.compression_errors if known is not None else np.zeros(spectrum.rank)
    periods, lives, shares = spectrum.periods_steps, spectrum.half_lives_steps, spectrum.shares
    for j, value in enumerate(spectrum.eigenvalues):
        if value.imag < 0.0:
            continue  # the second of a pair: told with the first
        pair = [j, j + 1] if value.imag > 0.0 else [j]
        rows.append(
            Folded(
                complex(value),
                value.imag > 0.0,
                float(periods[j]),
                float(lives[j]),
                float(np.max(spectrum.residuals[pair])),
                float(np.sum(shares[pair])),
                float(reaches[j]),
                float(compressed[j]),
                float(low[j]),
                float(high[j]),
            )
        )
    return tuple(sorted(rows, key=lambda row: -row.share))


#: Where the three signs for a residual change. A scale for the eye: nothing is decided by it.
RESIDUAL_SCALE = (0.1, 0.5)


def residual_level(residual: float) -> int:
    """Return 0, 1 or 2: on which part of ``RESIDUAL_SCALE`` a residual lies; 2 if it is NaN."""
    return sum(not residual < edge for edge in RESIDUAL_SCALE)
