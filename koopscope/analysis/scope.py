"""The parts of a network that a number can be about: the network, a layer, a tensor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

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
