"""Which runs there are: each a real training, with the variations that prove what is said of it.

The settings were chosen so that every run shows its trait plainly; the numbers are measured when
the run is made, never written here.
"""

from __future__ import annotations

from typing import Any

from sample_runs.training import Recipe

EPOCH = 37  # steps through the 1,198 training digits in batches of 32


def mlp(*hidden: int) -> tuple[str, dict[str, Any]]:
    return "mlp", {"hidden": list(hidden)}


def sgd(lr: float, **options: float) -> tuple[str, dict[str, Any]]:
    return "SGD", {"lr": lr, **options}


def adam(lr: float) -> tuple[str, dict[str, Any]]:
    return "Adam", {"lr": lr}


RECIPES = (
    Recipe(
        "mlp_sgd",
        "Healthy: it learned, and at the end it improves slowly without overfitting.",
        mlp(48, 32),
        sgd(0.1),
        steps=60 * EPOCH,
        every=EPOCH,
    ),
    Recipe(
        "cnn_adam",
        "Healthy: it learned, and its validation loss has settled. The batch normalisations bring "
        "running statistics that no optimizer trains, and integer counters that are not recorded.",
        ("cnn", {"channels": [8, 16]}),
        adam(1e-3),
        task="digit images",
        steps=1500,
        every=25,
    ),
    Recipe(
        "transformer",
        "Healthy: it learned to read the image row by row, with a warm-up of the learning rate.",
        ("transformer", {"width": 16, "heads": 2, "blocks": 2}),
        ("AdamW", {"lr": 3e-3, "weight_decay": 0.01}),
        task="digit images",
        schedule="warmup",
        steps=900,
        every=15,
    ),
    Recipe(
        "stopped_early",
        "Stopped too early: the loss was still falling fast, and trained on it falls much further.",
        mlp(48, 32),
        sgd(0.05),
        steps=400,
        every=8,
        variations={"trained on for twice as long again": {"steps": 1200}},
    ),
    Recipe(
        "past_convergence",
        "Far past convergence: weight decay gives it a floor, which it reached in the first fifth; "
        "since then it moves about without getting better.",
        mlp(32),
        sgd(0.1, weight_decay=1e-2),
        steps=200 * EPOCH,
        every=100,
        variations={"stopped after a fifth": {"steps": 40 * EPOCH}},
    ),
    Recipe(
        "lr_too_high",
        "Learning rate too high: the loss jumps about and ends far above that of a lower rate.",
        mlp(48, 32),
        sgd(0.9),
        steps=60 * EPOCH,
        every=EPOCH,
        variations={"learning rate 0.1": {"optimizer": sgd(0.1)}},
    ),
    Recipe(
        "dead_init",
        "Bad initialization, dead: no unit of the second hidden layer ever fires, so only the "
        "biases of the last layer learn. The rest never moves.",
        mlp(48, 32),
        sgd(0.1),
        initialization="dead second layer",
        steps=40 * EPOCH,
        every=EPOCH,
        variations={"default initialization": {"initialization": "default"}},
    ),
    Recipe(
        "symmetric_init",
        "Bad initialization, symmetric: all weights start equal, so all units of a layer stay "
        "equal, and the network is no wider than one unit.",
        mlp(48, 32),
        sgd(0.1),
        initialization="all weights equal",
        steps=40 * EPOCH,
        every=EPOCH,
        variations={"default initialization": {"initialization": "default"}},
    ),
    Recipe(
        "too_deep",
        "Too deep: ten hidden layers do worse than one, two or three (one seed each).",
        mlp(*[16] * 10),
        adam(2e-3),
        steps=60 * EPOCH,
        every=EPOCH,
        variations={
            f"depth {depth}": {"network": mlp(*[16] * depth)} for depth in (1, 2, 3, 4, 6, 8)
        },
    ),
    Recipe(
        "overfitting",
        "Overfits: the training loss falls to the end, the validation loss rises from early on.",
        mlp(24, 24),
        adam(1e-3),
        task="diabetes",
        steps=1600,
        every=20,
    ),
    Recipe(
        "cosine_schedule",
        "Stands still at the end because the learning rate went to zero, not because it is done: "
        "at a constant rate the same number of steps gets much further.",
        mlp(48, 32),
        sgd(0.05),
        schedule="cosine",
        steps=20 * EPOCH,
        every=10,
        variations={"constant learning rate": {"schedule": "constant"}},
    ),
    Recipe(
        "per_step",
        "Each of the first 80 steps recorded: it has only begun, and the noise of single batches "
        "is in every increment.",
        mlp(32),
        sgd(0.1, momentum=0.9),
        steps=80,
        every=1,
        variations={"trained on to step 1480": {"steps": 40 * EPOCH, "every": EPOCH}},
    ),
    Recipe(
        "bfloat16",
        "Trained in float32, stored as bfloat16: most stored weights look frozen from one snapshot "
        "to the next although the training has hardly begun.",
        mlp(32),
        adam(1e-4),
        stored="bfloat16",
        steps=80,
        every=1,
        variations={"trained on to step 4000": {"steps": 4000, "every": 50}},
    ),
    Recipe(
        "diverging",
        "Diverges: least squares by full-batch gradient descent, the rate beyond its stability "
        "limit. The loss grows without bound, the last weights are NaN.",
        mlp(),
        sgd(0.5),
        task="diabetes",
        batch=295,
        steps=120,
        every=2,
        variations={"learning rate 0.1": {"optimizer": sgd(0.1)}},
    ),
    Recipe(
        "rate_too_low",
        "Learning rate a hundred times too low: the weights move straight ahead and hardly get "
        "anywhere.",
        mlp(12),
        sgd(0.001),
        steps=30 * EPOCH,
        every=15,
        variations={"learning rate 0.1": {"optimizer": sgd(0.1)}},
    ),
    Recipe(
        "plateau",
        "At a plateau of its learning rate: the loss bounces about a level that a lower rate "
        "leaves at once.",
        mlp(12),
        sgd(0.4, weight_decay=1e-2),
        steps=60 * EPOCH,
        every=EPOCH,
        variations={"a tenth of the rate from two thirds on": {"schedule": "drop"}},
    ),
    Recipe(
        "spike",
        "A loss spike, where the learning rate was twenty times too high for two steps, and the "
        "run recovered from it.",
        mlp(12),
        sgd(0.1),
        steps=30 * EPOCH,
        every=15,
        schedule="burst",
        variations={"without the mistake": {"schedule": "constant"}},
    ),
    Recipe(
        "thrown_off",
        "Had learned, then lost it for good: the learning rate was fifty times too high for a "
        "thirtieth of the run, and the network is dead since.",
        mlp(12, 12),
        sgd(0.1),
        steps=40 * EPOCH,
        every=20,
        schedule="mistake",
        variations={"without the mistake": {"schedule": "constant"}},
    ),
    Recipe(
        "dead_units",
        "Two thirds of the hidden units never fire, from the start; the others learn what they "
        "can.",
        mlp(12),
        sgd(0.1),
        initialization="most units dead",
        steps=40 * EPOCH,
        every=EPOCH,
        variations={"default initialization": {"initialization": "default"}},
    ),
    Recipe(
        "frozen",
        "Healthy, with its first layer frozen on purpose.",
        mlp(12, 12),
        sgd(0.1),
        frozen=("hidden.0",),
        steps=40 * EPOCH,
        every=EPOCH,
    ),
)
