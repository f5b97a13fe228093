"""Everything that reports say of an analysis beside its findings, computed once, scope by scope.

Computed in the order of the scopes, each spectrum once, and only numbers of the size of a spectrum
are kept: a run of thousands of tensors stays small. Reports read it and compute nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from koopscope._threads import product_threads
from koopscope._types import Complex128, Float64
from koopscope.analysis.analysis import Analysis
from koopscope.analysis.motion import Motion
from koopscope.analysis.scope import NETWORK, Level, Scope
from koopscope.spectra.confidence import Confidence
from koopscope.spectra.dmd import Spectrum
from koopscope.spectra.gram import Observable
from koopscope.spectra.noise import NoiseFilter


@dataclass(frozen=True)
class Rest:
    """Where an affine law comes to rest: its fixed point, the mode of the eigenvalue 1.

    Attributes
    ----------
    exists
        Whether there is one: not where a second eigenvalue is 1.
    ahead
        Its distance from the last value, relative to the window's displacement; infinite where
        there is none, or nothing moved.
    is_approached
        Whether every other eigenvalue lies inside the unit circle.
    """

    exists: bool
    ahead: float
    is_approached: bool


@dataclass(frozen=True)
class SpectrumSummary:
    """The numbers of one spectrum that are shown; arrays follow its eigenvalues.

    Attributes
    ----------
    scope, observable, noise_filter, delay
        What the spectrum is of.
    rank, pairs, spacing_steps, singular_values, eigenvalues, residuals, amplitudes, shares,
    periods_steps, half_lives_steps
        See ``koopscope.spectra.dmd.Spectrum``.
    confidence
        Intervals, compression errors and the held-out test; ``None`` where nobody asked for them.
    half_life_bounds
        Half-lives in steps at the ends of the intervals of |lambda|; ``None`` without intervals.
    rest
        Of an affine law (``weights``, ``centered``); ``None`` of a linear one.
    """

    scope: Scope
    observable: Observable
    noise_filter: NoiseFilter
    delay: int
    rank: int
    pairs: int
    spacing_steps: float
    singular_values: Float64
    eigenvalues: Complex128
    residuals: Float64
    amplitudes: Float64
    shares: Float64
    periods_steps: Float64
    half_lives_steps: Float64
    confidence: Confidence | None
    half_life_bounds: tuple[Float64, Float64] | None
    rest: Rest | None


@dataclass(frozen=True)
class ScopeSummary:
    """One layer or tensor.

    Attributes
    ----------
    scope
        Which.
    motion
        How it moved inside the window.
    speeds
        float64 [T - 1]: length of each increment, in the weights' own units.
    spectrum
        ``None`` where the window is too short.
    """

    scope: Scope
    motion: Motion
    speeds: Float64
    spectrum: SpectrumSummary | None


@dataclass(frozen=True)
class Summary:
    """What reports show of an analysis.

    Attributes
    ----------
    asked
        The network's spectrum as the settings ask for it; ``None`` where there is none.
    unfiltered
        The same without the noise filter; ``None`` where there was no filter.
    other
        The network's spectrum in another observable.
    layers, tensors
        As far as the settings' level goes, in model order.
    """

    asked: SpectrumSummary | None
    unfiltered: SpectrumSummary | None
    other: SpectrumSummary | None
    layers: tuple[ScopeSummary, ...]
    tensors: tuple[ScopeSummary, ...]

    def spectra(self) -> Iterator[SpectrumSummary]:
        """Yield every spectrum: the network's three, then the layers', then the tensors'."""
        for spectrum in (self.asked, self.unfiltered, self.other):
            if spectrum is not None:
                yield spectrum
        for part in (*self.layers, *self.tensors):
            if part.spectrum is not None:
                yield part.spectrum


@product_threads(1)
def summarize(analysis: Analysis, *, network: bool = True) -> Summary:
    """Compute what reports show, with the spectra of the network or without."""
    settings = analysis.settings
    asked = unfiltered = other = None
    if network and analysis.has_spectrum:
        asked = _spectrum(analysis, NETWORK, settings.observable, settings.noise_filter, True)
        other = _spectrum(
            analysis, NETWORK, other_observable(settings.observable), settings.noise_filter, True
        )
        if settings.noise_filter != "none":
            unfiltered = _spectrum(analysis, NETWORK, settings.observable, "none", True)
    levels: tuple[tuple[Level, bool], ...] = (
        ("layer", settings.level != "network"),
        ("tensor", settings.level == "tensor"),
    )
    # A layer of one tensor has that tensor's numbers: they are computed once.
    shared: dict[tuple[str, ...], ScopeSummary] = {}
    layers, tensors = (
        _parts(analysis, analysis.scopes(level), shared) if wanted else ()
        for level, wanted in levels
    )
    return Summary(asked, unfiltered, other, layers, tensors)


def other_observable(shown: Observable) -> Observable:
    """Return the observable that is reported beside the one asked for."""
    return "weights" if shown == "increments" else "increments"


def summarized(
    spectrum: Spectrum,
    scope: Scope = NETWORK,
    noise_filter: NoiseFilter = "none",
    confidence: Confidence | None = None,
    displacement: float = 0.0,
) -> SpectrumSummary:
    """Return the numbers of a spectrum that are shown; ``displacement`` is the window's."""
    known = confidence.uncertainty if confidence is not None else None
    return SpectrumSummary(
        scope=scope,
        observable=spectrum.observable,
        noise_filter=noise_filter,
        delay=spectrum.delay,
        rank=spectrum.rank,
        pairs=spectrum.pairs,
        spacing_steps=spectrum.spacing_steps,
        singular_values=spectrum.singular_values,
        eigenvalues=spectrum.eigenvalues,
        residuals=spectrum.residuals,
        amplitudes=spectrum.amplitudes,
        shares=spectrum.shares,
        periods_steps=spectrum.periods_steps,
        half_lives_steps=spectrum.half_lives_steps,
        confidence=confidence,
        half_life_bounds=(
            (
                spectrum.half_lives_of(known.magnitude_low),
                spectrum.half_lives_of(known.magnitude_high),
            )
            if known is not None
            else None
        ),
        rest=_rest(spectrum, displacement) if spectrum.resting is not None else None,
    )


def _rest(spectrum: Spectrum, displacement: float) -> Rest:
    ahead = spectrum.distance_to_rest / displacement if displacement > 0.0 else math.inf
    is_approached = bool(np.abs(spectrum.moving).max(initial=0.0) < 1.0)
    return Rest(spectrum.has_resting_place, ahead, is_approached)


def _spectrum(
    analysis: Analysis,
    scope: Scope,
    observable: Observable,
    noise_filter: NoiseFilter,
    confident: bool,
) -> SpectrumSummary:
    spectrum = analysis.spectrum(scope, observable, noise_filter=noise_filter)
    known = analysis.confidence(scope, observable, noise_filter=noise_filter) if confident else None
    return summarized(spectrum, scope, noise_filter, known, analysis.gram(scope).displacement())


def _parts(
    analysis: Analysis,
    scopes: tuple[Scope, ...],
    shared: dict[tuple[str, ...], ScopeSummary],
) -> tuple[ScopeSummary, ...]:
    """Summarize each scope; ``shared`` holds what is known of sets of tensors, and is filled."""
    members = {scope: tuple(t.name for t in analysis.members(scope)) for scope in scopes}
    for scope in analysis.walk([s for s in scopes if members[s] not in shared]):
        shared[members[scope]] = _part(analysis, scope)
    return tuple(_renamed(shared[members[scope]], scope) for scope in scopes)


def _renamed(part: ScopeSummary, scope: Scope) -> ScopeSummary:
    if part.scope == scope:
        return part
    spectrum = part.spectrum and replace(part.spectrum, scope=scope)
    motion = replace(part.motion, name=scope.name)
    return replace(part, scope=scope, motion=motion, spectrum=spectrum)


def _part(analysis: Analysis, scope: Scope) -> ScopeSummary:
    settings = analysis.settings
    confident = settings.intervals == "all"
    return ScopeSummary(
        scope,
        analysis.motion(scope),
        analysis.gram(scope).speeds(),
        _spectrum(analysis, scope, settings.observable, settings.noise_filter, confident)
        if analysis.has_spectrum
        else None,
    )
