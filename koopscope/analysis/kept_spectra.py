"""Spectra that were computed already: all of the network's, and a bounded part of the others."""

from __future__ import annotations

from dataclasses import dataclass

from koopscope.analysis.scope import NETWORK, Scope
from koopscope.spectra.dmd import Spectrum
from koopscope.spectra.gram import Observable
from koopscope.spectra.noise import NoiseFilter
from koopscope.spectra.rank import RankRule

#: Bytes of spectra of layers and tensors that are kept, beside all of the network's; beyond, the
#: one computed longest ago makes room. Who needs every scope's asks for them once, in order.
SPECTRA_BYTES = 8 * 2**20


@dataclass(frozen=True)
class Asked:
    """Which spectrum: see ``Analysis.spectrum``."""

    scope: Scope
    observable: Observable
    rank: RankRule
    part: tuple[int, int] | None
    noise_filter: NoiseFilter


class KeptSpectra:
    """Spectra by what was asked for."""

    def __init__(self) -> None:
        self._network: dict[Asked, Spectrum] = {}
        self._others: dict[Asked, Spectrum] = {}
        self._bytes = 0

    def __contains__(self, asked: Asked) -> bool:
        return asked in self._network or asked in self._others

    def __getitem__(self, asked: Asked) -> Spectrum:
        return self._network[asked] if asked.scope == NETWORK else self._others[asked]

    def keep(self, asked: Asked, spectrum: Spectrum) -> None:
        """Keep one; of layers and tensors the oldest are forgotten to make room."""
        if asked.scope == NETWORK:
            self._network[asked] = spectrum
            return
        while self._others and self._bytes + spectrum.nbytes > SPECTRA_BYTES:
            self._bytes -= self._others.pop(next(iter(self._others))).nbytes
        self._bytes += spectrum.nbytes
        self._others[asked] = spectrum
