"""Which runs the yardstick consists of: every run's recipe, and the split by family.

The split was written down before any score was looked at, and must not change: whole families are
held out, so that no verdict is measured on a task or an architecture that it was tuned on. The
tasks and networks are in ``families``: the plan can be read without PyTorch.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

TUNING = (
    "digits_mlp",
    "digits_conv",
    "curve_mlp",
    "grammar_transformer",
    "digits_autoencoder",
    "cancer_batchnorm",
    "marker_recurrent",
)
HELD_OUT = (
    "digits_residual",
    "diabetes_mlp",
    "grammar_gru",
    "community_graph",
    "digits_attention",
    "spirals_mlp",
    "waves_conv",
)
RUNS_PER_FAMILY = 28


@dataclass(frozen=True)
class Pace:
    """The rates that suit a family, and how far its snapshots lie apart."""

    rates: tuple[float, float, float]  # SGD, momentum, Adam
    steps_per_snapshot: int = 8


PACES = {
    "digits_mlp": Pace((0.1, 0.02, 3e-3)),
    "digits_conv": Pace((0.2, 0.04, 5e-3), 6),
    "curve_mlp": Pace((0.05, 0.01, 5e-3), 12),
    "grammar_transformer": Pace((0.3, 0.05, 5e-3), 5),
    "digits_autoencoder": Pace((0.5, 0.1, 5e-3)),
    "cancer_batchnorm": Pace((0.05, 0.01, 2e-3)),
    "marker_recurrent": Pace((0.1, 0.02, 5e-3)),
    "digits_residual": Pace((0.05, 0.01, 3e-3)),
    "diabetes_mlp": Pace((0.05, 0.01, 3e-3)),
    "grammar_gru": Pace((0.5, 0.1, 8e-3), 6),
    "community_graph": Pace((0.2, 0.05, 5e-3), 3),
    "digits_attention": Pace((0.1, 0.02, 4e-3), 6),
    "spirals_mlp": Pace((0.3, 0.05, 1e-2), 12),
    "waves_conv": Pace((0.2, 0.05, 5e-3), 6),
}
VARIANTS = ("clean", "label_noise", "small")  # of a task


@dataclass(frozen=True)
class Recipe:
    """Everything that determines one run."""

    name: str
    family: str
    optimizer: str
    rate: float
    rate_factor: float
    schedule: str
    init: str
    variant: str
    weight_decay: float
    dropout: float
    norm: bool
    snapshots: int
    steps_per_snapshot: int
    dtype: str
    seed: int

    @property
    def held_out(self) -> bool:
        return self.family in HELD_OUT


OPTIMIZERS = ("sgd", "momentum", "adam", "adamw")
RATE_FACTORS = (1e-3, 1e-2, 0.1, 0.3, 0.5, 1.0, 1.0, 1.0, 2.0, 2.0, 5.0, 30.0)
INITS = ("tiny", "huge", "zero", "symmetric", "dead", "broken_layer", "broken_layer")


def _draw(rng: np.random.Generator, choices: tuple[str, ...], chances: tuple[float, ...]) -> str:
    return str(rng.choice(np.array(choices), p=np.array(chances)))


def recipes(family: str) -> list[Recipe]:
    """Return the family's recipes: the first three quarters vary rates, the last quarter inits."""
    rng = np.random.default_rng(zlib.crc32(family.encode()))
    pace = PACES[family]
    rates = rng.permutation(np.array(RATE_FACTORS + RATE_FACTORS))
    result = []
    for index in range(RUNS_PER_FAMILY):
        spoiled = index % 4 == 3
        init = INITS[index // 4 % len(INITS)] if spoiled else "default"
        factor = float(rng.choice([0.5, 1.0, 2.0])) if spoiled else float(rates[index % 24])
        optimizer = OPTIMIZERS[int(rng.integers(4))]
        per_step = rng.random() < 0.2
        regular = _draw(rng, ("none", "decay", "dropout", "norm"), (0.4, 0.3, 0.2, 0.1))
        base = pace.rates[{"sgd": 0, "momentum": 1}.get(optimizer, 2)]
        result.append(
            Recipe(
                name=f"{family}-{index:02d}",
                family=family,
                optimizer=optimizer,
                rate=base * factor,
                rate_factor=factor,
                schedule=_draw(rng, ("constant", "step", "cosine"), (0.5, 0.25, 0.25)),
                init=init,
                variant=_draw(rng, VARIANTS, (0.55, 0.25, 0.2)),
                weight_decay=1e-2 if regular == "decay" else 0.0,
                dropout=0.2 if regular == "dropout" else 0.0,
                norm=regular == "norm",
                snapshots=81 if per_step else int(rng.choice([61, 71, 81])),
                steps_per_snapshot=int(rng.choice([1, 2])) if per_step else pace.steps_per_snapshot,
                dtype="bfloat16" if rng.random() < 0.2 else "float32",
                seed=1000 + index,
            )
        )
    return result


def all_recipes() -> list[Recipe]:
    """Return every run, families in turn, the tuning ones first."""
    result = []
    for side in (TUNING, HELD_OUT):
        columns = [recipes(family) for family in side]
        result += [recipe for row in zip(*columns, strict=True) for recipe in row]
    return result
