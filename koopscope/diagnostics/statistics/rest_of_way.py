"""How much of its way a network has still to go, as its last increments predict."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from koopscope._types import Float64
from koopscope.analysis.analysis import Analysis
from koopscope.diagnostics.statistics.trajectory import RANK, trained_network
from koopscope.spectra.dmd import Spectrum, dmd
from koopscope.spectra.geometry import WINDOW
from koopscope.spectra.gram import SnapshotGram
from koopscope.spectra.remainder import Remainder, remainder, remaining_displacement

#: 0.9 quantile of Student's t with the seven degrees of freedom that eight groups leave: the middle
#: 80%, as of the resampled predictions.
T_80 = 1.415


@dataclass(frozen=True)
class RestOfWay:
    """The predicted rest of the way, as part of the way from the first snapshot to the last.

    Attributes
    ----------
    part
        The prediction.
    low, high
        The middle 80%: of resampled predictions, and of what a sample or a sketch may be off by.
    """

    part: float
    low: float
    high: float


def rest_of_way(analysis: Analysis) -> RestOfWay | None:
    """Return the rest of the way; ``None`` where no trained weight moved."""
    network = trained_network(analysis)
    if network is None or not network.displacement() > 0.0:
        return None
    travelled = network.displacement()
    rest = remainder(_recent(network))
    known = RestOfWay(rest.distance / travelled, rest.low / travelled, rest.high / travelled)
    if analysis.is_exact or not rest.distance > 0.0:
        return known
    # Predictions spread by factors, so errors are added up in logarithms.
    error = T_80 * float(analysis.measured_spread("rest of the way", _log_part))
    below, above = (_factor(end, rest) for end in (rest.low, rest.high))
    return RestOfWay(
        known.part,
        known.part * float(np.exp(-np.hypot(below, error))),
        known.part * float(np.exp(np.hypot(above, error))),
    )


def _recent(network: SnapshotGram) -> Spectrum:
    stop = network.snapshots
    return dmd(network.window(max(0, stop - WINDOW), stop), "increments", rank=RANK)


def _factor(end: float, rest: Remainder) -> float:
    """Return by how much an end of the interval differs from the prediction, as a logarithm."""
    floor = np.finfo(float).tiny
    return float(np.log(max(end, floor) / rest.distance))


def _log_part(part: Analysis) -> Float64:
    """Return the logarithm of the rest of the way, of what was measured without a group."""
    network = trained_network(part)
    predicted = 0.0
    if network is not None and network.displacement() > 0.0:
        predicted = remaining_displacement(_recent(network)) / network.displacement()
    return np.array(np.log(max(predicted, np.finfo(float).tiny)))
