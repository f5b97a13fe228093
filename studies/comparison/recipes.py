"""Which runs the comparison is measured on: a recipe's seeds, and the recipe with one change.

Written down before any distance was looked at. Tuning families set thresholds, held-out families
(``studies.plan.HELD_OUT``) are only measured.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from studies.plan import HELD_OUT, PACES, TUNING

#: Seeds of an unchanged recipe, by side, and of a changed one; no two share a seed.
BASE_SEEDS = {"tuning": tuple(range(6)), "held-out": tuple(range(9))}
CHANGED_SEEDS = (100, 101, 102)

#: What each family is trained with: momentum and Adam in turn, the first three with both.
OPTIMIZERS = {
    "digits_mlp": ("momentum", "adam"),
    "digits_conv": ("momentum", "adam"),
    "curve_mlp": ("momentum", "adam"),
    "grammar_transformer": ("momentum",),
    "digits_autoencoder": ("adam",),
    "cancer_batchnorm": ("momentum",),
    "marker_recurrent": ("adam",),
    "digits_residual": ("momentum",),
    "diabetes_mlp": ("adam",),
    "grammar_gru": ("momentum",),
    "community_graph": ("adam",),
    "digits_attention": ("momentum",),
    "spirals_mlp": ("adam",),
    "waves_conv": ("momentum",),
}

SNAPSHOTS = 61
BATCH = 32

#: Tasks that are trained on all data at once: they have no batch and no order.
FULL_BATCH = ("community_graph",)


@dataclass(frozen=True)
class Variant:
    """One recipe and what was changed in it; everything but the seed."""

    family: str
    optimizer: str
    change: str
    rate: float
    batch: int = BATCH
    weight_decay: float = 0.0
    dropout: float = 0.0
    half_precision: bool = False
    shuffled: bool = True

    @property
    def base(self) -> str:
        """The recipe that it is a change of."""
        return f"{self.family}-{self.optimizer}"

    def name(self, seed: int) -> str:
        """Return what a run of it is called."""
        return f"{self.base}-{self.change}-{seed}"


def variants(family: str) -> list[Variant]:
    """Return the recipes of a family, each followed by its changes."""
    return [variant for optimizer in OPTIMIZERS[family] for variant in _changes(family, optimizer)]


def _changes(family: str, optimizer: str) -> list[Variant]:
    rates, momentum = PACES[family].rates, optimizer == "momentum"
    rate = rates[1] if momentum else rates[2]
    same = Variant(family, optimizer, "none", rate)
    found = [
        same,
        replace(same, change="optimizer", rate=rates[2] if momentum else rates[0]),
        replace(same, change="rate", rate=rate * (2.0 if momentum else 0.5)),
        replace(same, change="batch", batch=8 if momentum else 128),
        replace(same, change="precision", half_precision=True),
        replace(
            same,
            change="regularization",
            dropout=0.2 if momentum else 0.0,
            weight_decay=0.0 if momentum else 1e-2,
        ),
        replace(same, change="order", shuffled=False),
    ]
    batched = family not in FULL_BATCH
    return [v for v in found if batched or v.change not in ("batch", "order")]


def seeds(variant: Variant) -> tuple[int, ...]:
    """Return the seeds a variant is trained with."""
    if variant.change != "none":
        return CHANGED_SEEDS
    return BASE_SEEDS["held-out" if variant.family in HELD_OUT else "tuning"]


def all_variants(side: str) -> list[Variant]:
    """Return the variants of the ``tuning`` or the ``held-out`` families."""
    families = {"tuning": TUNING, "held-out": HELD_OUT}[side]
    return [variant for family in families for variant in variants(family)]


def in_turn() -> list[Variant]:
    """Return every variant, a tuning and a held-out family in turn."""
    families = [family for pair in zip(TUNING, HELD_OUT, strict=True) for family in pair]
    return [variant for family in families for variant in variants(family)]
