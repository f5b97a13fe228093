"""The causal statistics of a run that verdicts are drawn from: weights first, losses where given.

Turns an analysis into arrays, one value per snapshot of the window. Looks at no name, no metadata,
and decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from koopscope._types import Float64
from koopscope.analysis.analysis import Analysis
from koopscope.analysis.scope import Scope
from koopscope.diagnostics.statistics import losses, rates
from koopscope.diagnostics.statistics.editions import Edition, edition_for
from koopscope.runs.names import TRAINING_LOSSES, VALIDATION_LOSSES
from koopscope.spectra import drift
from koopscope.spectra.geometry import WINDOW, Geometry, course
from koopscope.spectra.gram import SnapshotGram, total
from koopscope.spectra.remainder import remaining_course

#: Rank of the spectrum that predicts the rest of the way: two decaying pairs.
RANK = 4

#: Snapshots before which no spectrum is asked for a prediction.
EARLIEST = 8

#: Added to the relative rest of the way before its logarithm is taken.
RESOLUTION = 1e-4


@dataclass(frozen=True)
class Course:
    """Statistics by name, float64 [T] each, for the T snapshots of the window.

    Attributes
    ----------
    weights
        Of all weights as one vector, so that neither names nor the cut into tensors matter;
        ``remaining`` is log(predicted rest of the way / distance from the start).
    validation, training
        Of the recorded losses, or ``None``.
    training_ratio
        Last training loss over the first, where both are positive.
    rate
        Of the recorded learning rate; those of a constant one where there is none.
    """

    weights: dict[str, Float64]
    validation: dict[str, Float64] | None
    training: dict[str, Float64] | None
    training_ratio: float | None = None
    rate: dict[str, Float64] = field(default_factory=dict)

    @property
    def edition(self) -> Edition:
        """Which edition of a verdict sees what was recorded."""
        return edition_for(self.training is not None, self.validation is not None)

    def all(self) -> dict[str, Float64]:
        """Return every statistic under one name each: ``val_*``, ``loss_*`` and ``rate_*``."""
        joined = dict(self.weights)
        recorded = (("val_", self.validation), ("loss_", self.training), ("rate_", self.rate))
        for prefix, part in recorded:
            joined.update({prefix + name: values for name, values in (part or {}).items()})
        return joined


class LayerGrams(Mapping[str, SnapshotGram]):
    """The Gram matrix of each layer's trained tensors (no buffers) inside the window.

    Added up anew each time one is asked for: all layers at once may not fit in memory.
    """

    def __init__(self, analysis: Analysis) -> None:
        self._analysis = analysis
        self._members = {
            scope.name: [t for t in analysis.members(scope) if t.kind == "parameter"]
            for scope in analysis.scopes("layer")
        }
        self._names = [layer for layer, members in self._members.items() if members]

    def __getitem__(self, layer: str) -> SnapshotGram:
        scope, members = Scope("layer", layer), self._members[layer]
        if len(members) == len(self._analysis.members(scope)):
            return self._analysis.gram(scope)
        return self._analysis.gram_of(members)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def layer_grams(analysis: Analysis) -> Mapping[str, SnapshotGram]:
    """Return the Gram matrix of each layer's trained tensors (no buffers) inside the window."""
    return LayerGrams(analysis)


def trained_network(analysis: Analysis) -> SnapshotGram | None:
    """Return the Gram matrix of all trained tensors inside the window; ``None`` without any."""
    layers = layer_grams(analysis)
    members = analysis.members()
    if layers and all(tensor.kind == "parameter" for tensor in members):
        return analysis.gram()
    return total(layers.values()) if layers else None


def course_of(analysis: Analysis) -> Course:
    """Return the statistics of a run's window; empty where no weight was trained."""
    return analysis.once("course", _course)


def _course(analysis: Analysis) -> Course:
    network = trained_network(analysis)
    if network is None:
        return Course({}, None, None)
    weights = course(Geometry(network))
    weights["remaining"] = _remaining(network)
    weights.update(drift.course(network))
    first, stop = analysis.window.first, analysis.window.stop
    metrics = analysis.description.metrics
    validation = losses.recorded(metrics, VALIDATION_LOSSES, first, stop)
    training = losses.recorded(metrics, TRAINING_LOSSES, first, stop)
    return Course(
        weights,
        None if validation is None else losses.course(validation),
        None if training is None else losses.course(training),
        None if training is None or training.min() <= 0.0 else float(training[-1] / training[0]),
        rates.course(rates.recorded_rate(metrics, first, stop), network.snapshots),
    )


def _remaining(network: SnapshotGram) -> Float64:
    """log(predicted rest of the way / distance from the start), from the last 16 snapshots."""
    from_start = np.sqrt(np.maximum(np.diagonal(network.anchored()), 0.0))
    rests = remaining_course(network, WINDOW, RANK, EARLIEST)
    moved = from_start > 0.0
    moved[:EARLIEST] = False
    remaining = np.zeros(network.snapshots)
    remaining[moved] = np.log(rests[moved] / from_start[moved] + RESOLUTION)
    return remaining
