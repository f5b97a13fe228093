"""The choices and defaults of a pruning, apart from NumPy so that ``--help`` is quick."""

from __future__ import annotations

from typing import Literal

Scope = Literal["global", "layer"]
SCOPES: tuple[Scope, ...] = ("global", "layer")

Structure = Literal["weight", "unit"]
STRUCTURES: tuple[Structure, ...] = ("weight", "unit")

#: Names of the criteria, in the order of ``--help``; ``koopscope.pruning.criteria`` computes them.
CRITERION_NAMES = (
    "destination",
    "koopman-magnitude",
    "koopman-gradient",
    "forecast-magnitude",
    "magnitude",
    "gradient-magnitude",
    "random",
)

#: The criterion that won where all were measured: see docs/evidence/pruning.md.
DEFAULT = "magnitude"

#: Snapshots that a criterion rests on. Far from the judged step a run follows another law: on three
#: kinds of networks, koopman-magnitude lost least accuracy with 12 (docs/evidence/pruning.md).
RECENT = 12
