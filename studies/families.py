"""The task and the network of every family of the plan. It imports PyTorch and scikit-learn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from studies import networks, tasks


@dataclass(frozen=True)
class Family:
    """A task, and the network that learns it (called with dropout, norm)."""

    task: Callable[[], tasks.Task]
    network: Callable[[float, bool], nn.Module]


FAMILIES: dict[str, Family] = {
    "digits_mlp": Family(
        tasks.digits,
        lambda drop, norm: networks.mlp([64, 32, 32, 10], nn.ReLU, drop, norm),
    ),
    "digits_conv": Family(
        lambda: tasks.digits(as_image=True),
        lambda drop, norm: networks.ConvImage(0, drop, norm),
    ),
    "curve_mlp": Family(
        tasks.curve,
        lambda drop, norm: networks.mlp([1, 32, 32, 1], nn.Tanh, drop, norm),
    ),
    "grammar_transformer": Family(
        lambda: tasks.grammar(3, 37),
        lambda drop, norm: networks.Transformer((10, 16, 10), 12, 2, True, drop),
    ),
    "digits_autoencoder": Family(
        tasks.digits_reconstruction,
        lambda drop, norm: networks.mlp([64, 24, 8, 24, 64], nn.Tanh, drop, norm),
    ),
    "cancer_batchnorm": Family(
        tasks.cancer,
        lambda drop, norm: networks.mlp([30, 24, 24, 2], nn.ReLU, drop, True),
    ),
    "marker_recurrent": Family(
        tasks.marker_sequences,
        lambda drop, norm: networks.Recurrent((4, 24, 3), False, False, drop),
    ),
    "digits_residual": Family(
        tasks.digits,
        lambda drop, norm: networks.Residual((64, 20, 10), 3, drop, norm),
    ),
    "diabetes_mlp": Family(
        tasks.diabetes,
        lambda drop, norm: networks.mlp([10, 24, 24, 1], nn.ReLU, drop, norm),
    ),
    "grammar_gru": Family(
        lambda: tasks.grammar(2, 41),
        lambda drop, norm: networks.Recurrent((8, 20, 8), True, True, drop),
    ),
    "community_graph": Family(
        tasks.community_graph,
        lambda drop, norm: networks.GraphNetwork(12, 24, 4, 2, drop),
    ),
    "digits_attention": Family(
        tasks.digit_rows,
        lambda drop, norm: networks.Transformer((8, 16, 10), 8, 2, False, drop),
    ),
    "spirals_mlp": Family(
        tasks.spirals,
        lambda drop, norm: networks.mlp([2, 32, 32, 3], nn.Tanh, drop, norm),
    ),
    "waves_conv": Family(
        tasks.waves,
        lambda drop, norm: networks.ConvSeries(3, 16, 4, False, drop),
    ),
}
