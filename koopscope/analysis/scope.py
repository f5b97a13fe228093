"""The parts of a network that a number can be about: the network, a layer, a tensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from koopscope.runs.run import TensorInfo

Level = Literal["network", "layer", "tensor"]

#: From coarse to fine.
LEVELS: tuple[Level, ...] = ("network", "layer", "tensor")


@dataclass(frozen=True)
class Scope:
    """One part of a network.

    Attributes
    ----------
    level
        ``network``, ``layer`` or ``tensor``.
    name
        ``network``, or the layer's or tensor's own name. A layer and a tensor may share a name.
    """

    level: Level
    name: str


NETWORK: Final = Scope("network", "network")


def members_of(tensors: Sequence[TensorInfo]) -> dict[Scope, tuple[TensorInfo, ...]]:
    """Return each scope's tensors, coarse scopes first, in model order.

    Buffers belong to their layer but not to the network, unless there is nothing else.
    """
    layers: dict[str, list[TensorInfo]] = {}
    for tensor in tensors:
        layers.setdefault(tensor.layer, []).append(tensor)
    # What no optimizer trains (running statistics) has a law, and often a size, of its own.
    network = tuple(tensor for tensor in tensors if tensor.kind != "buffer") or tuple(tensors)
    return {
        **({NETWORK: network} if network else {}),
        **{Scope("layer", layer): tuple(members) for layer, members in layers.items()},
        **{Scope("tensor", tensor.name): (tensor,) for tensor in tensors},
    }
