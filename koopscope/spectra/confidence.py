"""What is known of how good a spectrum is: noise, compression, and held-out snapshots together."""

from __future__ import annotations

from dataclasses import dataclass

from koopscope._types import Float64
from koopscope.spectra.dmd import Spectrum
from koopscope.spectra.heldout import HeldOut, held_out
from koopscope.spectra.measured import MeasuredGram, compression_errors
from koopscope.spectra.series import Series
from koopscope.spectra.uncertainty import Uncertainty, uncertainty


@dataclass(frozen=True)
class Confidence:
    """How good a spectrum is; arrays follow its eigenvalues.

    Attributes
    ----------
    uncertainty
        Intervals that allow for the noise of training (bootstrap).
    compression_errors
        float64 [r], the standard error from having measured only part of the weights; zero where
        all were read. It comes on top of the interval.
    held_out
        How well snapshots are predicted that it was not fitted to.
    """

    uncertainty: Uncertainty
    compression_errors: Float64
    held_out: HeldOut


def confidence(spectrum: Spectrum, measured: MeasuredGram) -> Confidence:
    """Judge a spectrum of ``measured.gram``."""
    return Confidence(
        uncertainty(spectrum),
        compression_errors(measured, spectrum),
        held_out(
            Series.of(measured.gram, spectrum.observable, spectrum.delay), spectrum.eigenvalues
        ),
    )
