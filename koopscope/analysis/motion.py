"""How far a scope moved, how straight, and how much of what was seen rounding may be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from koopscope.spectra.gram import SnapshotGram


@dataclass(frozen=True)
class Motion:
    """How one scope moved inside the window; lengths are in the weights' own units.

    Attributes
    ----------
    name, parameters
        The scope and its number of weights.
    norm
        Length of its weights at the window's first snapshot.
    displacement, path_length
        From the first to the last snapshot: straight, and along the way.
    directness
        Their ratio, 1 for a straight line; ``None`` where nothing moved.
    unchanged
        Of the entries that ever changed, the mean share that did not from one snapshot to the next.
    rounding
        Largest length that rounding to the stored dtype can give an increment, relative to the
        median increment: near or above 1, the motion seen may be rounding alone.
    """

    name: str
    parameters: int
    norm: float
    displacement: float
    path_length: float
    directness: float | None
    unchanged: float
    rounding: float

    @classmethod
    def of(cls, name: str, gram: SnapshotGram, rounding_length: float) -> Motion:
        """Return the motion of a scope from its Gram matrix inside the window.

        Parameters
        ----------
        rounding_length
            Of one increment's rounding error.
        """
        path = gram.path_length()
        speeds = gram.speeds()
        # np.median would import numpy.ma, a twentieth of a short command's time.
        speed = float(np.sort(speeds)[len(speeds) // 2]) if len(speeds) else 0.0
        changes = gram.changes
        moving = max(1, changes.compared - changes.still)
        unchanged = 0.0
        if len(speeds):
            unchanged = float(np.mean(changes.unchanged - changes.still)) / moving
        return cls(
            name=name,
            parameters=gram.size,
            norm=float(np.sqrt(max(gram.anchor_square, 0.0))),
            displacement=gram.displacement(),
            path_length=path,
            directness=gram.displacement() / path if path > 0.0 else None,
            unchanged=unchanged,
            rounding=rounding_length / speed if speed > 0.0 else 0.0,
        )
