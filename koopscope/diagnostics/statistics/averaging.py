"""Whether the average of the last snapshots is likely better than the last one, from the weights.

Weights that bounce about their course (successive changes that point against each other) lose their
noise in an average; weights that travel straight on only fall behind. Curves fitted on real runs
(``studies/averaging``) say how likely a lower validation loss is, and for how many snapshots.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from koopscope.analysis.analysis import Analysis
from koopscope.diagnostics.statistics import scores
from koopscope.diagnostics.statistics.trajectory import layer_grams
from koopscope.spectra.geometry import Geometry, course
from koopscope.spectra.gram import total

#: Snapshots below which the curves were not fitted.
LEAST_SNAPSHOTS = 12

#: The fewest that are averaged; what is taken where nothing else is known.
FEWEST = 3


@dataclass(frozen=True)
class AverageOutlook:
    """What an average is likely to do to the validation loss.

    Attributes
    ----------
    count
        Snapshots for which the probability is largest.
    probability
        That their average has a lower validation loss than the last snapshot.
    gain, gain_interval
        Median fall of the validation loss on tuning runs that looked alike, as part of all that was
        gained, and where 80% of them lay; negative where it rose.
    cosine
        Mean cosine of the successive changes of the last 16 snapshots.
    """

    count: int
    probability: float
    gain: float
    gain_interval: tuple[float, float]
    cosine: float


def outlook(analysis: Analysis) -> AverageOutlook | None:
    """Return the outlook at the end of the window; ``None`` if it is short or nothing moved."""
    if analysis.window.snapshots < LEAST_SNAPSHOTS:
        return None
    layers = layer_grams(analysis)
    network = total(layers.values()) if layers else None
    if network is None or network.path_length() <= 0.0:
        return None
    last = {name: np.array(values[-1:]) for name, values in course(Geometry(network)).items()}
    table = scores.table("averaging")
    said = {
        int(count): float(scores.curve_score(content["helps"])(last)[0])
        for count, content in table["counts"].items()
        if int(count) <= analysis.window.snapshots
    }
    count = max(said, key=lambda each: said[each])
    probability = scores.probability(said[count])
    low, middle, high = _gains(table["counts"][str(count)], probability)
    return AverageOutlook(
        count=count,
        probability=probability,
        gain=middle,
        gain_interval=(low, high),
        cosine=float(last["cosine"][0]),
    )


def _gains(content: scores.Tree, probability: float) -> tuple[float, float, float]:
    """Return the 10%, 50% and 90% points of the gains of tuning runs with such a probability."""
    edges, quantiles = content["edges"], content["gains"]
    low, middle, high = quantiles[int(np.searchsorted(edges, probability))]
    return float(low), float(middle), float(high)
