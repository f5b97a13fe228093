"""Since when each layer has been at rest, and which ones stand exactly still.

A layer is at rest from the first snapshot on after which it never leaves a small ball around where
it ends; it stands still where its stored weights do not change at all. Decides nothing about why.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from koopscope.analysis.analysis import Analysis
from koopscope.analysis.scope import Scope
from koopscope.diagnostics.statistics.trajectory import layer_grams
from koopscope.spectra.geometry import Geometry
from koopscope.spectra.gram import SnapshotGram, total

#: The ball's radius, as part of the largest distance from the start. A steady drift has this part
#: of the run left once it is inside.
BALL = 0.05

#: The rate is down where its mean is below this part of its largest value.
_RATE_DOWN = 0.2


@dataclass(frozen=True)
class LayerRest:
    """How one layer came to rest.

    Attributes
    ----------
    name
        Of the layer.
    since
        First snapshot of the window from which on it stays inside the ball; 0 where it never left.
    still_since
        First snapshot from which on no stored weight of it changes; the last one where they do.
    moved
        Whether any weight ever changed.
    """

    name: str
    since: int
    still_since: int
    moved: bool


@dataclass(frozen=True)
class Standstill:
    """The layers in model order, and since when no weight matrix of the network changes.

    Attributes
    ----------
    layers
        One record each.
    matrices_since, vectors_since
        First snapshots from which on no matrix (no vector: biases, scales) changes; the last
        snapshot where they do; 0 where there is none.
    snapshots
        In the window.
    """

    layers: tuple[LayerRest, ...]
    matrices_since: int
    vectors_since: int
    snapshots: int


def standstill_of(analysis: Analysis) -> Standstill:
    """Return since when each layer rests or stands still inside the window."""
    layers = tuple(
        LayerRest(name, rest_since(gram), still_since(gram), gram.path_length() > 0.0)
        for name, gram in layer_grams(analysis).items()
    )
    trained = [tensor for tensor in analysis.finite_tensors if tensor.kind == "parameter"]
    matrices = [analysis.gram(Scope("tensor", t.name)) for t in trained if len(t.shape) >= 2]
    vectors = [analysis.gram(Scope("tensor", t.name)) for t in trained if len(t.shape) < 2]
    return Standstill(
        layers,
        still_since(total(matrices)) if matrices else 0,
        still_since(total(vectors)) if vectors else 0,
        analysis.window.snapshots,
    )


def still_since(gram: SnapshotGram) -> int:
    """Return the first snapshot from which on nothing changes, the last one where it does."""
    moving = np.flatnonzero(gram.speeds() > 0.0)
    return int(moving[-1]) + 1 if len(moving) else 0


def rest_since(gram: SnapshotGram) -> int:
    """Return the first snapshot from which on a layer stays inside the ball around its end."""
    geometry = Geometry(gram)
    count = gram.snapshots
    last = np.full(count, count - 1, np.intp)
    from_end = geometry.distance(np.arange(count), last)
    outside = np.flatnonzero(from_end > BALL * float(np.sqrt(geometry.squares.max())))
    return int(outside[-1]) + 1 if len(outside) else 0


def rate_is_down(analysis: Analysis, since: int) -> bool:
    """Return whether a recorded learning rate was low from a snapshot of the window on."""
    inside = slice(analysis.window.first, analysis.window.stop)
    rates = np.asarray(analysis.description.metrics.get("lr", ()), float)[inside]
    later = rates[since:]
    later = later[np.isfinite(later)]
    given = rates[np.isfinite(rates)]
    return bool(len(later) and given.max() > 0.0 and later.mean() < _RATE_DOWN * given.max())
