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
from koopscope.spectra.gram import SnapshotGram

#: The ball's radius, as part of the largest distance from the start. A steady drift has this part
#: of the run left once it is inside.
BALL = 0.05

#: The network counts as dead where no matrix has changed for this part of the run.
DEAD_FOR = 0.1

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


def layer_rests(analysis: Analysis) -> list[LayerRest]:
    """Return since when each layer rests or stands still inside the window, in model order."""
    return [
        LayerRest(name, rest_since(gram), still_since(gram), gram.path_length() > 0.0)
        for name, gram in layer_grams(analysis).items()
    ]


def dead_since(analysis: Analysis) -> int | None:
    """Return the snapshot since when only biases move; ``None`` where that is not so.

    A layer whose units are all dead lets no signal through and no gradient back: no matrix on
    either side of it learns, and what follows it is fed constants, which biases can still shift.
    Layers that are frozen on purpose leave some matrix to be trained.
    """
    trained = [tensor for tensor in analysis.finite_tensors if tensor.kind == "parameter"]
    matrices, vectors = 0, 0
    for tensor in trained:
        since = still_since(analysis.gram(Scope("tensor", tensor.name)))
        if len(tensor.shape) >= 2:
            matrices = max(matrices, since)
        else:
            vectors = max(vectors, since)
    last = analysis.window.snapshots - 1
    is_dead = vectors > matrices and last - matrices >= max(2, DEAD_FOR * last)
    return matrices if is_dead and any(len(t.shape) >= 2 for t in trained) else None


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
