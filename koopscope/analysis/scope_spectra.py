"""The spectrum of every scope inside a window: computed once, alone or many in a stack."""

from __future__ import annotations

from collections.abc import Sequence

from koopscope._threads import product_threads
from koopscope.analysis.kept_spectra import Asked, KeptSpectra
from koopscope.analysis.scope import Scope
from koopscope.analysis.scope_grams import ScopeGrams
from koopscope.analysis.settings import Settings
from koopscope.spectra.dmd import Spectrum, dmd_all
from koopscope.spectra.gram import SnapshotGram
from koopscope.spectra.noise import filtered, sobolev_kernel


class ScopeSpectra:
    """Spectra of scopes by what was asked for.

    Parameters
    ----------
    grams
        Of the scopes, inside the window.
    settings
        What is asked for where nothing else is.
    spacing_steps
        Optimizer steps from one snapshot to the next.
    """

    def __init__(self, grams: ScopeGrams, settings: Settings, spacing_steps: float) -> None:
        self._grams, self._settings, self._spacing_steps = grams, settings, spacing_steps
        self._kept = KeptSpectra()

    def __getitem__(self, asked: Asked) -> Spectrum:
        if asked not in self._kept:
            self._compute([asked])
        return self._kept[asked]

    def usual(self, scope: Scope) -> Asked:
        """Return what the settings ask of a scope."""
        by = self._settings
        return Asked(scope, by.observable, by.rank, None, by.noise_filter)

    @product_threads(1)
    def ahead(self, scopes: Sequence[Scope]) -> None:
        """Compute what the settings ask of layers or tensors, in a stack."""
        missing = [asked for asked in map(self.usual, scopes) if asked not in self._kept]
        if missing:
            self._compute(missing)

    def _compute(self, every: Sequence[Asked]) -> None:
        """Compute and keep spectra of one observable and rank."""
        spectra = dmd_all(
            [self._gram(asked) for asked in every],
            every[0].observable,
            rank=every[0].rank,
            delay=self._settings.delay,
            spacing_steps=self._spacing_steps,
        )
        for asked, spectrum in zip(every, spectra, strict=True):
            self._kept.keep(asked, spectrum)

    def _gram(self, asked: Asked) -> SnapshotGram:
        gram = self._grams[asked.scope]
        if asked.part is not None:
            return gram.window(*asked.part)
        return filtered(gram, sobolev_kernel()) if asked.noise_filter == "sobolev" else gram
