"""The choices and defaults of a forecast, apart from NumPy so that ``--help`` is quick."""

from __future__ import annotations

from typing import Literal

Operator = Literal["network", "layer", "tensor", "node"]
OPERATORS: tuple[Operator, ...] = ("network", "layer", "tensor", "node")

Acceptance = Literal["none", "sign", "pdt"]
ACCEPTANCES: tuple[Acceptance, ...] = ("none", "sign", "pdt")

#: Snapshots that a law is fitted to: set on the tuning families of docs/evidence/forecasting.md.
RECENT = 20

#: Fewest snapshots that a law is fitted to.
FEWEST = 4

#: The largest median error, relative to "no change", that is worth having: less than a fifth
#: nearer to the truth than doing nothing is no use.
MAX_ERROR = 0.8
