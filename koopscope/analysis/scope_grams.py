"""The Gram matrix of every scope inside a window: added up when asked for, a bounded part kept.

Runs of very many tensors or snapshots hold more products than memory does; small numbers of each
tensor, which are asked for again, are kept instead. Computes no spectrum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from koopscope.analysis.motion import Motion
from koopscope.analysis.scope import NETWORK, Scope
from koopscope.engine.store import GramStore
from koopscope.runs.run import TensorInfo
from koopscope.spectra.gram import SnapshotGram, total
from koopscope.spectra.rounding import increment_variance
from koopscope.spectra.window import Window

#: Bytes of Gram matrices of scopes that are kept; the others are summed again when asked for.
SUMS_BYTES = 16 * 2**20


class ScopeGrams:
    """Gram matrices of scopes.

    Parameters
    ----------
    grams
        Each tensor's, by name.
    members
        Each scope's tensors.
    window
        The snapshots that are looked at.
    """

    def __init__(
        self,
        grams: Mapping[str, SnapshotGram],
        members: Mapping[Scope, tuple[TensorInfo, ...]],
        window: Window,
    ) -> None:
        self._grams, self._members, self._window = grams, members, window
        self._size = 8 * window.snapshots**2
        self._kept: dict[Scope, SnapshotGram] = {}
        self._held: dict[Scope, SnapshotGram] = {}
        self._latest: tuple[Scope, SnapshotGram] | None = None
        self._motions: dict[str, tuple[Motion, float]] = {}

    def __getitem__(self, scope: Scope) -> SnapshotGram:
        for kept in (self._kept, self._held):
            if scope in kept:
                return kept[scope]
        if self._latest is not None and self._latest[0] == scope:
            return self._latest[1]
        self._latest = None
        gram = self.of(self._members.get(scope, ()))
        if self._size < 2 * SUMS_BYTES:
            # Whoever walks through the scopes asks for each several times, one after the other.
            self._latest = (scope, gram)
        if scope == NETWORK or self._size * len(self._kept) < SUMS_BYTES:
            self._kept[scope] = gram
        return gram

    def hold(self, scopes: Sequence[Scope]) -> None:
        """Keep these matrices, and let those go that were held before."""
        self._held = {}
        self._held = {scope: self[scope] for scope in scopes}

    def of(self, tensors: Sequence[TensorInfo]) -> SnapshotGram:
        """Return the matrix of some tensors together; it is not kept."""
        names = [tensor.name for tensor in tensors]
        if isinstance(self._grams, GramStore):
            recorded = self._grams.total(names)
        else:
            recorded = total(self._grams[name] for name in names)
        gram = recorded.window(self._window.first, self._window.stop)
        if len(names) == 1 and names[0] not in self._motions:
            square = increment_variance(tensors[0].dtype, max(gram.anchor_square, 0.0))
            motion = Motion.of(names[0], gram, float(np.sqrt(square)))
            self._motions[names[0]] = (motion, square)
        return gram

    def motion(self, scope: Scope) -> Motion:
        """Return how a scope moved."""
        if scope.level == "tensor":
            return self._tensor(scope.name)[0]
        square = sum(self._tensor(tensor.name)[1] for tensor in self._members.get(scope, ()))
        return Motion.of(scope.name, self[scope], float(np.sqrt(square)))

    def _tensor(self, name: str) -> tuple[Motion, float]:
        """Return a tensor's motion, and the expected squared rounding error of one increment."""
        if name not in self._motions:
            _ = self[Scope("tensor", name)]
        return self._motions[name]
