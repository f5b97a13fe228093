"""What another seed makes of every part of a comparison, measured on the tuning families.

Written by ``python -m studies.comparison.fit``; docs/evidence/comparing.md says how well it does on
families that it was not set on. Nothing here is computed when runs are compared.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import resources
from typing import Any

import numpy as np

from koopscope._types import Float64

_SET: Mapping[str, Any] = json.loads(
    (resources.files("koopscope.comparison") / "calibration.json").read_text("utf-8")
)


def _tables(name: str) -> Mapping[str, tuple[Float64, Float64]]:
    return {level: (np.array(a), np.array(b)) for level, (a, b) in _SET[name].items()}


#: Parts of the usual distance of two seeds below which a distance counts as this small.
FLOOR: float = _SET["floor"]

#: By level, the usual (median) distance of two seeds in each of ``distances.PARTS``.
SCALES: Mapping[str, Float64] = {level: np.array(row) for level, row in _SET["scales"].items()}

#: How much each part counts in the logarithm of the distance; they sum to 1.
WEIGHTS: Mapping[str, Float64] = {level: np.array(row) for level, row in _SET["weights"].items()}

#: Quantiles of the logarithm of the distance of two runs: of one recipe, and of two.
DISTANCES = _tables("distances")

#: Quantiles of the contrast of two groups of three runs: of one recipe, and of two.
CONTRASTS = _tables("contrasts")

#: Probabilities of the quantiles.
PROBABILITIES: Float64 = np.linspace(0.0, 1.0, len(DISTANCES["layers"][0]))
