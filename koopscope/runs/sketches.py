"""What is kept of a tensor whose snapshots are sketched: a few numbers each, and exact facts.

Data alone: who makes sketches is ``koopscope.runs.sketching``, who reads inner products off them is
the engine. A row that is not known is NaN, never a guess.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from koopscope._types import Float64

#: Columns of ``TensorSketch.facts``, in the order of the file.
FACTS = (
    "square",
    "change",
    "product",
    "start",
    "largest",
    "nonfinite",
    "compared",
    "unchanged",
    "moved",
    "twins",
    "units",
    "units_unchanged",
    "units_judged",
    "units_dead",
    "units_never",
)

#: Of those, the ones that files of the first recorders lack.
LATER_FACTS = ("units_judged", "units_dead", "units_never")

#: Facts that hold between a snapshot and the one before it, and not between any others.
BETWEEN_NEIGHBOURS = ("change", "product", "unchanged", "units_unchanged")

#: Facts on the whole run up to a snapshot: known only where all of it was recorded in one go.
SINCE_THE_START = ("start", "moved", "twins", *LATER_FACTS)

#: A unit that turned by less than this part of what its layer's units turned on average (root mean
#: square) stands still: what rounding and the last of a momentum leave is below it.
STILL = 1e-3

#: A layer whose units turned by less than this part of their own length did not move.
MOVES = 1e-6

_COLUMN = {name: column for column, name in enumerate(FACTS)}

#: Numbers a tensor where nobody says how many, and the least: eight groups tell the error.
DEFAULT_NUMBERS = 256
LEAST_NUMBERS = 8


@dataclass(frozen=True)
class SketchInfo:
    """How a run's snapshots were sketched.

    Attributes
    ----------
    numbers
        K, numbers a tensor; a tensor of at most so many weights is kept whole.
    seed
        Of the random projection.
    kept
        Indices of the snapshots whose weights are in the file as well.
    resolution
        The largest of ``TensorSketch.resolution``: 0 where all facts are exact.
    """

    numbers: int
    seed: int
    kept: tuple[int, ...] = ()
    resolution: float = 0.0

    @property
    def words(self) -> str:
        """What the run rests on, for a sentence."""
        return f"a sketch of {self.numbers} numbers a tensor"

    def bytes_of(self, size: int, is_complex: bool) -> int:
        """Return how many bytes a snapshot of a tensor of so many weights takes."""
        return 4 * min(size * (2 if is_complex else 1), self.numbers) + 8 * len(FACTS)


@dataclass(frozen=True)
class TensorSketch:
    """The snapshots of one tensor, T of them, as a sketch.

    Attributes
    ----------
    values
        float64 [T, k]: the sketch of each snapshot. Inner products of differences of rows estimate
        those of the weights, unbiased, with a variance of at most
        (1/k + 1/32768) (|x|^2 |y|^2 + <x, y>^2).
    facts
        float64 [T, len(FACTS)]; NaN where one is not known:

        - ``square``, ``largest``: squared norm, and largest magnitude of an entry;
        - ``change``, ``product``: squared norm of the change since the snapshot before, and its
          product with the change before that;
        - ``start``: squared distance from the first snapshot;
        - ``nonfinite``: entries that are no finite numbers;
        - ``compared``, ``unchanged``, ``moved``: entries of a sample, those of them that are what
          they were in the snapshot before, and those that changed at any time so far;
        - ``twins``: entries of the sample that are in four early snapshots what another one is;
        - ``units``, ``units_unchanged``: rows in the sample, and those that did not change;
        - ``units_judged``, ``units_dead``, ``units_never``: of a matrix, how many units of a sample
          could be judged, how many of them stood still in the last quarter of the run up to here,
          and how many of those did in the first quarter, too.
    whole
        Whether ``values`` are the weights themselves, none left out.
    resolution
        Part of |x| |y| by which ``change``, ``product`` and ``start`` may be off (one standard
        error): 0 where they are exact.
    """

    values: Float64
    facts: Float64
    whole: bool
    resolution: float

    def fact(self, name: str) -> Float64:
        """Return one fact, float64 [T]."""
        column: Float64 = self.facts[:, _COLUMN[name]]
        return column

    def chosen(self, rows: slice | npt.NDArray[np.intp]) -> TensorSketch:
        """Return some of the snapshots; facts that hold between others are not known any more."""
        indices = np.arange(len(self.values))[rows]
        facts = self.facts[indices].copy()
        far = np.diff(indices, prepend=-2) != 1
        for name in BETWEEN_NEIGHBOURS:
            facts[far, _COLUMN[name]] = np.nan
        far[1:] |= far[:-1]  # a product takes three snapshots in a row
        facts[far, _COLUMN["product"]] = np.nan
        if len(indices) and indices[0] != 0:
            for name in ("start", *LATER_FACTS):
                facts[:, _COLUMN[name]] = np.nan
        return replace(self, values=self.values[indices], facts=facts)


def joined(parts: Sequence[TensorSketch]) -> TensorSketch:
    """Return the sketch of a tensor from those of its disjoint parts: everything adds.

    Entries of the samples add as well; of largest entries the largest is taken.
    """
    facts = np.sum([part.facts for part in parts], axis=0)
    largest = _COLUMN["largest"]
    facts[:, largest] = np.max([part.facts[:, largest] for part in parts], axis=0)
    return TensorSketch(
        values=np.sum([part.values for part in parts], axis=0),
        facts=facts,
        whole=all(part.whole for part in parts),
        resolution=max(part.resolution for part in parts),
    )
