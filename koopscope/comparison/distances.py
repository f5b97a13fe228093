"""How far apart two runs are in what ``traits`` describes, in units of what another seed makes.

One number per scope: a weighted geometric mean of how many usual seed distances apart the courses,
the spectra and the operators are. 1 is the usual distance between two seeds of one recipe.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from koopscope._types import Float64
from koopscope.comparison.calibration import FLOOR, SCALES, WEIGHTS
from koopscope.comparison.operators import operator_distance, spectra_distance
from koopscope.comparison.traits import COURSES, SKIPPED, Traits

#: What a scope's distance is made of, in the order of its parts.
PARTS = (*COURSES, "spectra", "operator")


@dataclass(frozen=True)
class Distance:
    """How far apart one scope of two runs is.

    Attributes
    ----------
    name
        The scope, as the first run calls it.
    value
        In usual seed distances.
    parts
        float64 [len(PARTS)], as measured: courses as root mean squares over the snapshots, the
        spectra's mean distance of matched eigenvalues, the operators' up to rotation.
    """

    name: str
    value: float
    parts: Float64

    def part(self, name: str) -> float:
        """Return one of ``PARTS`` as measured."""
        return float(self.parts[PARTS.index(name)])

    def relative(self, name: str) -> float:
        """Return one of ``PARTS`` in usual seed distances."""
        k = PARTS.index(name)
        return float(self.parts[k] / SCALES["layers"][k])


def parts_of(one: Traits, other: Traits) -> Float64:
    """Return float64 [len(PARTS)], how far two scopes are apart in each part."""
    after = min(SKIPPED, max(0, one.courses.shape[1] - 1))
    off = one.courses[:, after:] - other.courses[:, after:]
    courses = np.sqrt(np.mean(np.square(off), axis=1))
    rank = max(one.rank, other.rank)
    spectra = spectra_distance(one.eigenvalues(rank), other.eigenvalues(rank))
    return np.append(courses, [spectra, operator_distance(one.law(rank), other.law(rank))])


def log_distance(parts: Float64, level: str) -> float:
    """Return the logarithm of the distance that parts amount to.

    Parameters
    ----------
    parts
        float64 [len(PARTS)].
    level
        ``network``, or ``layers`` for one layer or the median over layers.
    """
    relative = parts / SCALES[level]
    return float(WEIGHTS[level] @ np.log(relative + FLOOR) - np.log1p(FLOOR))


def usual_distances(log_distance: float) -> float:
    """Return how many usual seed distances a logarithm of a distance stands for: 0 for no distance.

    The floor that keeps the logarithm finite is taken off again.
    """
    return max(0.0, float((1.0 + FLOOR) * np.exp(log_distance) - FLOOR))


def scope_distance(one: Traits, other: Traits, level: str) -> Distance:
    """Return the distance of two layers, or of two networks; ``level`` as in ``log_distance``."""
    parts = parts_of(one, other)
    return Distance(one.name, usual_distances(log_distance(parts, level)), parts)


def whole_distance(network: Distance, layers: Sequence[Distance]) -> tuple[float, str]:
    """Return the logarithm of the distance of two runs, and the level it was calibrated at.

    The median over the layers of each part, where layers are compared: it beats the network's own
    numbers (docs/evidence/comparing.md).
    """
    if not layers:
        return log_distance(network.parts, "network"), "network"
    parts = np.median([layer.parts for layer in layers], axis=0)
    return log_distance(parts, "layers"), "layers"
