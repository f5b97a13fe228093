"""The data the sample runs are trained on: tables that ship inside scikit-learn, split for good.

Nothing here downloads anything, and no split depends on a run's seed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from sklearn import datasets
from torch import Tensor
from torch.nn import functional

VALIDATION_SHARE = 1 / 3


@dataclass(frozen=True)
class Task:
    """A training and a validation set, with the loss that is minimised on them.

    ``shape`` is the shape of one input; ``outputs`` the width of the network's last layer.
    """

    name: str
    inputs: Tensor
    targets: Tensor
    val_inputs: Tensor
    val_targets: Tensor
    outputs: int

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.inputs.shape[1:])

    @property
    def is_classification(self) -> bool:
        return not self.targets.is_floating_point()

    def loss(self, predicted: Tensor, targets: Tensor) -> Tensor:
        if self.is_classification:
            return functional.cross_entropy(predicted, targets)
        return functional.mse_loss(predicted[:, 0], targets)


def load_task(name: str) -> Task:
    """Return the task of that name: ``digits``, ``digit images`` (1, 8, 8) or ``diabetes``."""
    if name == "diabetes":
        inputs, targets = datasets.load_diabetes(return_X_y=True)
        targets = (targets - targets.mean()) / targets.std()
        return _split(name, inputs / inputs.std(axis=0), targets.astype(np.float32), outputs=1)
    pixels, labels = datasets.load_digits(return_X_y=True)
    if name == "digit images":
        pixels = pixels.reshape(-1, 1, 8, 8)
    return _split(name, pixels / 16.0, labels.astype(np.int64), outputs=10)


def _split(name: str, inputs: np.ndarray, targets: np.ndarray, outputs: int) -> Task:
    order = np.random.RandomState(0).permutation(len(inputs))
    cut = round(len(order) * (1 - VALIDATION_SHARE))
    features = torch.from_numpy(inputs[order].astype(np.float32))
    answers = torch.from_numpy(targets[order])
    return Task(name, features[:cut], answers[:cut], features[cut:], answers[cut:], outputs)
