"""The statistics of a run's first part: what a verdict on its initialization is drawn from.

Turns an analysis into numbers. Looks at no name, no metadata, and decides nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from koopscope.analysis.analysis import Analysis
from koopscope.analysis.scope import Scope
from koopscope.diagnostics.statistics import losses
from koopscope.diagnostics.statistics.editions import Edition, edition_for
from koopscope.diagnostics.statistics.trajectory import trained_network
from koopscope.runs.names import TRAINING_LOSSES, VALIDATION_LOSSES
from koopscope.spectra import drift
from koopscope.spectra.changes import ChangeCounts
from koopscope.spectra.geometry import Geometry, course
from koopscope.spectra.start import TensorStart, summary, tensor_start

#: Part of the recorded run that counts as its beginning.
PART = 0.1

#: Entries of a small matrix among which twins are counted (larger ones have more blocks).
TWINS_AMONG = 1024

#: The least number of them.
LEAST_SNAPSHOTS = 8


@dataclass(frozen=True)
class Beginning:
    """What the first snapshots show.

    Attributes
    ----------
    snapshots
        How many they are.
    tensors
        How each weight matrix moved at first, by name.
    weights
        Statistics of the weights.
    validation, training
        Statistics of the recorded losses, or ``None``.
    """

    snapshots: int
    tensors: dict[str, TensorStart]
    weights: dict[str, float]
    validation: dict[str, float] | None
    training: dict[str, float] | None

    @property
    def edition(self) -> Edition:
        """Which edition of a verdict sees what was recorded."""
        return edition_for(self.training is not None, self.validation is not None)

    def all(self) -> dict[str, float]:
        """Return every statistic under one name each: ``val_*`` and ``loss_*`` for the losses."""
        joined = dict(self.weights)
        for prefix, part in (("val_", self.validation), ("loss_", self.training)):
            joined.update({prefix + name: value for name, value in (part or {}).items()})
        return joined


def snapshots_of_beginning(snapshots: int) -> int:
    """Return how many of so many snapshots are the beginning: a tenth, and at least eight."""
    return max(LEAST_SNAPSHOTS, 1 + math.floor(PART * (snapshots - 1) + 0.5))


def beginning_of(analysis: Analysis, snapshots: int) -> Beginning | None:
    """Return the statistics of the window's first snapshots, or ``None`` where no matrix is."""
    tensors, twins = {}, []
    for tensor in analysis.finite_tensors:
        if tensor.kind == "parameter" and len(tensor.shape) >= 2:
            gram = analysis.gram(Scope("tensor", tensor.name)).window(0, snapshots)
            tensors[tensor.name] = tensor_start(gram, math.prod(tensor.shape[1:]))
            twins.append(share_of_twins(analysis.changes(tensor.name)))
    network = trained_network(analysis)
    if not tensors or network is None:
        return None
    weights = summary(list(tensors.values()))
    weights.update(twins_median=float(np.median(twins)), twins_most=max(twins))
    begun = network.window(0, snapshots)
    for statistics in (course(Geometry(begun)), drift.course(begun)):
        weights.update({name: float(values[-1]) for name, values in statistics.items()})
    return Beginning(
        snapshots=snapshots,
        tensors=tensors,
        weights=weights,
        validation=_of_loss(analysis, VALIDATION_LOSSES, snapshots),
        training=_of_loss(analysis, TRAINING_LOSSES, snapshots),
    )


def share_of_twins(changes: ChangeCounts) -> float:
    """Return the share of a matrix's moving entries that move exactly like another one."""
    moving = min(changes.compared, TWINS_AMONG) - changes.still
    return min(1.0, changes.twins / moving) if moving > 0 else 0.0


def _of_loss(analysis: Analysis, names: tuple[str, ...], snapshots: int) -> dict[str, float] | None:
    """Return a recorded loss's statistics after so many snapshots, ``None`` where there is none."""
    first = analysis.window.first
    loss = losses.recorded(analysis.description.metrics, names, first, first + snapshots)
    if loss is None:
        return None
    return {name: float(values[-1]) for name, values in losses.course(loss).items()}
