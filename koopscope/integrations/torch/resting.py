"""Freezes layers whose weights have come to rest, so that training saves their backward pass.

The rule is that of the finding ``rest`` (KS104), asked while training goes on. It changes only
whether a parameter is trained; ``thaw`` undoes that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from koopscope.diagnostics.rest import LONG
from koopscope.diagnostics.statistics.standstill import BALL
from koopscope.errors import KoopscopeError
from koopscope.integrations.torch.flat_rows import FlatRows, Piece, torch, trainable
from koopscope.integrations.torch.judging import together

#: Intervals for which a layer has to stay inside the ball at least, however short the training.
LEAST = 5


@dataclass
class _Layer:
    """What is known of one layer's way."""

    pieces: list[Piece]
    farthest: float = 0.0
    since: int = 0


class RestingLayers:
    """Watches how far layers move, and freezes those that stay where they are.

    A layer is at rest once it has stayed, for a quarter of the training so far and five intervals,
    inside a ball of a twentieth of its largest distance from the start. One layer at least goes on.
    Memory: three copies of the trainable parameters.

    Parameters
    ----------
    model
        A ``torch.nn.Module``.

    Attributes
    ----------
    frozen
        Names of the layers that were frozen, in order.

    Raises
    ------
    KoopscopeError
        If several ranks train together: they wait for gradients that would no longer come.
    """

    FIRST, ANCHOR, NOW = range(3)

    def __init__(self, model: Any) -> None:
        if together() is not None:
            raise KoopscopeError(
                "layers cannot be frozen while several ranks train together",
                "leave out freeze=True",
            )
        self.frozen: tuple[str, ...] = ()
        self._held: list[Any] = []
        self._named = trainable(model)
        self._rows = FlatRows(self._named, 3)
        self._layers: dict[str, _Layer] = {}
        for piece in self._rows.pieces("layer"):
            self._layers.setdefault(piece.scope, _Layer([])).pieces.append(piece)
        self._intervals = 0
        for row in (self.FIRST, self.ANCHOR):
            self._rows.read(row)

    def freeze(self) -> tuple[str, ...]:
        """Take note of an interval, freeze what has come to rest, and return its names."""
        self._intervals += 1
        self._rows.read(self.NOW)
        resting = [
            name
            for name, layer in self._layers.items()
            if name not in self.frozen and self._rests(layer)
        ]
        if len(self.frozen) + len(resting) >= len(self._layers):
            return ()
        for name in resting:
            for parameter_name, parameter in self._named.items():
                if parameter_name.rpartition(".")[0] == name and parameter.requires_grad:
                    parameter.requires_grad_(False)
                    parameter.grad = None
                    self._held.append(parameter)
        self.frozen += tuple(resting)
        return tuple(resting)

    def thaw(self) -> None:
        """Train every layer again that was frozen here."""
        for parameter in self._held:
            parameter.requires_grad_(True)
        self._held, self.frozen = [], ()

    def _rests(self, layer: _Layer) -> bool:
        layer.farthest = max(layer.farthest, self._distance(layer, self.FIRST))
        if not self._distance(layer, self.ANCHOR) <= BALL * layer.farthest:
            layer.since = self._intervals
            for piece in layer.pieces:
                rows = self._rows.buffers[piece.buffer]
                columns = slice(piece.start, piece.stop)
                rows[self.ANCHOR, columns] = rows[self.NOW, columns]
        stayed = self._intervals - layer.since
        return layer.farthest > 0.0 and stayed >= max(LEAST, LONG * self._intervals)

    def _distance(self, layer: _Layer, row: int) -> float:
        total = 0.0
        for piece in layer.pieces:
            rows = self._rows.buffers[piece.buffer]
            for block in piece.blocks():
                apart = (rows[self.NOW, block] - rows[row, block]).float()
                total += float(torch.dot(apart, apart))
        return float(total**0.5)
