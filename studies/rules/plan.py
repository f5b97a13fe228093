"""Which runs the rules are scored on: healthy ones, and ones with a fault that was put in.

The families are the yardstick's held-out ones: every limit was chosen on the sample runs and on
runs of its tuning families, none on these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from studies.plan import HELD_OUT, PACES, TUNING

Kind = Literal["healthy", "low", "high", "spike", "lasting", "dead", "frozen", "overfit", "lora"]

#: Kind, optimizer, factor on the rate that suits the family, variant of the task, budgets.
_RUNS: tuple[tuple[Kind, str, float, str, float], ...] = (
    ("healthy", "adam", 1.0, "clean", 1.0),
    ("healthy", "momentum", 1.0, "clean", 1.5),
    ("healthy", "sgd", 1.0, "clean", 1.5),
    ("healthy", "adamw", 0.5, "clean", 1.0),
    ("low", "adam", 0.01, "clean", 1.0),
    ("low", "sgd", 0.01, "clean", 1.0),
    ("low", "adamw", 0.001, "clean", 1.0),
    ("high", "adam", 30.0, "clean", 1.0),
    ("high", "sgd", 30.0, "clean", 1.0),
    ("high", "sgd", 10.0, "clean", 1.0),
    ("spike", "adam", 1.0, "clean", 1.0),
    ("spike", "momentum", 1.0, "clean", 1.0),
    ("lasting", "adam", 1.0, "clean", 1.0),
    ("lasting", "sgd", 1.0, "clean", 1.0),
    ("dead", "adamw", 1.0, "clean", 1.0),
    ("dead", "sgd", 1.0, "clean", 1.0),
    ("frozen", "adam", 1.0, "clean", 1.0),
    ("overfit", "adam", 1.0, "small", 2.0),
    ("overfit", "adam", 1.0, "label_noise", 2.0),
)

#: Families whose networks are plain stacks, so that low-rank adapters can be put in.
LORA_FAMILIES = ("diabetes_mlp", "spirals_mlp")

#: A graph is one sample: its validation set has no halves.
FAMILIES = tuple(family for family in HELD_OUT if family != "community_graph")

SNAPSHOTS = 61


@dataclass(frozen=True)
class Recipe:
    """Everything that determines one run of the study."""

    name: str
    family: str
    kind: Kind
    optimizer: str
    factor: float
    variant: str
    every: int
    seed: int


def recipes(family: str) -> list[Recipe]:
    runs = list(_RUNS)
    if family in LORA_FAMILIES:
        runs += [("lora", "adam", 1.0, "clean", 1.0), ("lora", "adam", 0.0, "clean", 1.0)]
    return [
        Recipe(
            name=f"{family}-{index:02d}-{kind}",
            family=family,
            kind=kind,
            optimizer=optimizer,
            factor=factor,
            variant=variant,
            every=max(1, round(PACES[family].steps_per_snapshot * budgets)),
            seed=5000 + index,
        )
        for index, (kind, optimizer, factor, variant, budgets) in enumerate(runs)
    ]


def all_recipes(*, tuning: bool = False) -> list[Recipe]:
    """Return every run, families in turn: whatever is done at any time covers all of them.

    Those of the tuning families are for choosing limits, and are not scored.
    """
    columns = [recipes(family) for family in (TUNING if tuning else FAMILIES)]
    longest = max(map(len, columns))
    return [column[row] for row in range(longest) for column in columns if row < len(column)]
