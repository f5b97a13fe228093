"""Which runs the yardstick consists of: the split by family, and every run's recipe.

The split was written down before any score was looked at, and must not change: whole families are
held out, so that no verdict is measured on a task or an architecture that it was tuned on. The
problems themselves are in ``families``: the plan can be read without PyTorch.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np


@dataclass(frozen=True)
class Pace:
    """What suits a family.

    Attributes
    ----------
    adam, sgd
        Rates that learn well.
    steps
        Optimizer steps of a usual budget.
    varied
        Whether its data can be made noisy, few, imbalanced or shifted.
    runs
        How many recipes it has.
    most_snapshots
        How many a run has at most: the snapshots of a large network take room.
    """

    adam: float
    sgd: float
    steps: int
    varied: bool = True
    runs: int = 40
    most_snapshots: int = 151


def _large(adam: float, sgd: float, steps: int) -> Pace:
    return Pace(adam, sgd, steps, runs=12, most_snapshots=51)


TUNING: dict[str, Pace] = {
    "digits_mlp": Pace(3e-3, 0.1, 480),
    "source_lstm": Pace(1e-2, 1.0, 240),
    "wine_mlp": Pace(3e-3, 0.05, 400),
    "digits_conv": Pace(5e-3, 0.2, 360),
    "cartpole_reinforce": Pace(1e-2, 0.3, 160, False),
    "digits_gan": Pace(2e-3, 0.1, 300, False),
    "curve_mlp": Pace(5e-3, 0.05, 720),
    "digits_wide": Pace(1e-3, 0.1, 240),
    "digits_diffusion": Pace(3e-3, 0.3, 480, False),
    "grammar_transformer": Pace(5e-3, 0.3, 300),
    "ratings_embedding": Pace(1e-2, 2.0, 300),
    "poisson_pinn": Pace(3e-3, 0.01, 400, False),
    "digits_mixer": Pace(4e-3, 0.1, 300),
    "digits_autoencoder": Pace(5e-3, 0.5, 480),
    "cancer_linear": Pace(1e-2, 0.3, 400),
    "digits_metric": Pace(2e-3, 0.05, 360, False),
    "digits_masked": Pace(5e-3, 0.2, 300, False),
    "cancer_batchnorm": Pace(2e-3, 0.05, 480),
    "source_transformer": Pace(2e-3, 0.2, 140),
    "digits_experts": Pace(3e-3, 0.2, 300),
    "marker_recurrent": Pace(5e-3, 0.1, 480),
    "digits_lora": Pace(5e-3, 0.2, 300),
    "digits_head": Pace(5e-3, 0.2, 400),
    "lorenz_gru": Pace(5e-3, 0.2, 240),
    "modular_addition": Pace(5e-3, 0.5, 500),
    "patches_denoising": Pace(3e-3, 0.1, 240, False),
    "digits_variational": Pace(3e-3, 0.02, 400, False),
    "iris_fullbatch": Pace(1e-2, 0.2, 300, False),
    "sawtooth_deep": Pace(2e-3, 0.02, 480),
    "adding_lstm": Pace(1e-2, 0.3, 360),
    "repeated_transformer": Pace(4e-3, 0.2, 240),
    "friedman_likelihood": Pace(4e-3, 0.03, 480, False),
    "moons_flow": Pace(5e-3, 0.03, 300, False),
    "teacher_linear": Pace(3e-3, 0.05, 400),
    "three_bits_mlp": Pace(5e-3, 0.2, 480),
    "categories_embedding": Pace(8e-3, 0.1, 400),
    "photographs_groupnorm": Pace(1e-3, 0.03, 160),
    "digits_distillation": Pace(4e-3, 0.2, 400, False),
    "digits_margin": Pace(1e-3, 0.1, 320),
    # Of 0.3 to 0.8 million weights:
    "source_decoder": _large(1e-3, 0.2, 160),
    "teacher_wide": _large(5e-4, 0.05, 200),
    "patches_turned": _large(1e-3, 0.05, 160),
    "counting_lstm": _large(5e-3, 1.0, 160),
}
HELD_OUT: dict[str, Pace] = {
    "digits_residual": Pace(3e-3, 0.05, 480),
    "words_gru": Pace(5e-3, 1.0, 160),
    "diabetes_mlp": Pace(3e-3, 0.05, 480),
    "patches_autoencoder": Pace(1e-3, 0.5, 240),
    "grammar_gru": Pace(8e-3, 0.5, 360),
    "oscillator_pinn": Pace(3e-3, 0.01, 400, False),
    "community_graph": Pace(5e-3, 0.2, 200),
    "digits_contrastive": Pace(2e-3, 0.1, 300, False),
    "digits_attention": Pace(4e-3, 0.1, 360),
    "image_sines": Pace(1e-3, 0.01, 240, False),
    "spirals_mlp": Pace(1e-2, 0.3, 720),
    "pointmass_policy": Pace(5e-3, 0.05, 240, False),
    "waves_conv": Pace(5e-3, 0.2, 360),
    "digits_finetuning": Pace(5e-4, 0.05, 240),
    "graphs_isomorphism": Pace(5e-3, 0.1, 300),
    "delay_series_conv": Pace(4e-3, 0.1, 300),
    "friedman_layernorm": Pace(3e-3, 0.05, 400),
    "source_context": Pace(3e-3, 0.3, 320),
    "counts_poisson": Pace(3e-3, 0.01, 400, False),
    "mixture_density": Pace(5e-3, 0.05, 400, False),
    "community_attention": Pace(1e-2, 0.3, 160, False),
    "reversal_lstm": Pace(8e-3, 0.5, 320),
    "digits_resnet": Pace(2e-3, 0.05, 120),
    # Of 0.4 to 1.7 million weights:
    "words_lstm": _large(3e-3, 1.0, 140),
    "sorting_transformer": _large(1e-3, 0.2, 160),
    "patches_inpainting": _large(1e-3, 0.1, 180),
    "spectra_wide": _large(5e-4, 0.05, 140),
}
PACES = {**TUNING, **HELD_OUT}
#: The families that were added after the others had been scored; their split was written down then.
ADDED = (
    *("source_decoder", "teacher_wide", "patches_turned", "counting_lstm"),
    *("words_lstm", "sorting_transformer", "patches_inpainting", "spectra_wide"),
)
#: Adversaries have no loss that falls as they learn: all their labels are ambiguous.
WITHOUT_LEVEL = ("digits_gan",)

VARIANTS = ("clean", "label_noise", "small", "imbalanced", "shift")
OPTIMIZERS = ("sgd", "momentum", "adam", "adamw", "rmsprop", "lion", "muon")
SCHEDULES = (
    *("constant", "step", "cosine", "warmup", "warmup_cosine", "one_cycle", "restarts"),
    *("drop", "linear"),
)
RATE_FACTORS = (1e-3, 1e-2, 0.1, 0.3, 0.5, 1.0, 1.0, 1.0, 2.0, 2.0, 5.0, 30.0)
SPOILED = (
    *("tiny", "huge", "zero", "symmetric", "dead", "constant", "one_zero", "one_huge", "one_tiny"),
    *("first_zero", "last_huge", "low_rank", "saturated", "alternating", "sparse"),
)
RECORDED = ("mean", "last", "whole")
SNAPSHOTS = (21, 31, 41, 51, 61, 61, 81, 101)


@dataclass(frozen=True)
class Recipe:
    """Everything that determines one run.

    Attributes
    ----------
    start
        ``default``, ``trained`` (for a while before the recording), ``partly_frozen``, or one of
        ``SPOILED``.
    steps
        Optimizer steps of the recorded budget; the run is trained on for as many again.
    recorded
        What is recorded as the training loss: the mean of the minibatches since the last snapshot,
        the last minibatch alone, or the whole training set.
    uneven
        Whether the first fifth of the budget is recorded twice as densely.
    """

    name: str
    family: str
    optimizer: str
    rate: float
    rate_factor: float
    schedule: str
    start: str
    variant: str
    weight_decay: float
    steps: int
    snapshots: int
    uneven: bool
    recorded: str
    dtype: str
    seed: int

    @property
    def held_out(self) -> bool:
        return self.family in HELD_OUT


def _base(pace: Pace, optimizer: str) -> float:
    return {
        "sgd": pace.sgd,
        "momentum": 0.2 * pace.sgd,
        "lion": 0.2 * pace.adam,
        "rmsprop": 0.5 * pace.adam,
        "muon": 3.0 * pace.adam,
    }.get(optimizer, pace.adam)


def recipes(family: str) -> list[Recipe]:
    """Return the family's recipes.

    The first of every variant learns well, so that what the data allow is known; of the others
    a third have spoiled starts, and the rest all rates, from a thousandth to thirty times.
    """
    rng = np.random.default_rng(zlib.crc32(family.encode()))
    pace = PACES[family]
    variants = VARIANTS if pace.varied else VARIANTS[:1]
    spoiled = list(rng.permutation(SPOILED))
    rates = list(rng.permutation(np.array(RATE_FACTORS * 3)))
    result = []
    for index in range(pace.runs):
        start, factor, budget = "default", 1.0, 1.5
        optimizer, schedule = str(rng.choice(["adam", "momentum", "adamw"])), "constant"
        variant = variants[min(index // 2, len(variants) - 1)] if index % 2 == 0 else "clean"
        well = index % 2 == 0 and index // 2 < len(variants)
        if not well:
            optimizer = str(rng.choice(OPTIMIZERS, p=[0.2, 0.15, 0.2, 0.15, 0.1, 0.1, 0.1]))
            schedule = str(rng.choice(SCHEDULES, p=[0.4, *[0.075] * 8]))
            variant = str(rng.choice(variants)) if rng.random() < 0.45 else "clean"
            budget = float(rng.choice([0.35, 0.6, 1.0, 1.0, 1.5]))
            if index % 3 == 1 and spoiled:
                start = str(spoiled.pop())
                factor = float(rng.choice([0.5, 1.0, 2.0]))
            else:
                factor = float(rates.pop())
                start = str(rng.choice(["default", "trained", "partly_frozen"], p=[0.8, 0.1, 0.1]))
        steps = max(40, round(pace.steps * budget))
        per_step = rng.random() < 0.15
        snapshots = int(rng.choice(SNAPSHOTS))
        if per_step:  # a recording of the first steps
            snapshots = int(rng.choice([51, 81, 101, 151]))
            snapshots = min(snapshots, pace.most_snapshots)
            steps = snapshots - 1
        result.append(
            Recipe(
                name=f"{family}-{index:02d}",
                family=family,
                optimizer=optimizer,
                rate=_base(pace, optimizer) * factor,
                rate_factor=factor,
                schedule=schedule,
                start=start,
                variant=variant,
                weight_decay=1e-2 if rng.random() < 0.25 else 0.0,
                steps=steps,
                snapshots=min(snapshots, steps + 1, pace.most_snapshots),
                uneven=bool(rng.random() < 0.08) and not per_step,
                recorded=str(rng.choice(RECORDED, p=[0.45, 0.15, 0.4])),
                dtype=str(rng.choice(["float32", "bfloat16", "float16"], p=[0.8, 0.12, 0.08])),
                seed=1000 + index,
            )
        )
    return result


def all_recipes() -> list[Recipe]:
    """Return every run, families in turn, so that an interrupted generation has all of them."""
    columns = [recipes(family) for family in PACES]
    return [recipe for row in zip_longest(*columns) for recipe in row if recipe is not None]
