"""The last few copies of a PyTorch model's trainable parameters, and the forecast that they allow.

Holds the copies, reads their inner products and combines them; when to jump is decided elsewhere.
Only ``adopt`` and ``restore`` change parameters; nothing changes buffers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from koopscope._types import Float64
from koopscope.errors import KoopscopeError
from koopscope.forecasting.acceptance import accepted
from koopscope.forecasting.choices import Acceptance
from koopscope.integrations.tensors import spread_over_ranks
from koopscope.spectra.gram import Observable, SnapshotGram
from koopscope.spectra.law_of_motion import law_of_motion

try:
    import torch
except ImportError as absent:
    raise KoopscopeError("PyTorch is not installed", "pip install 'koopscope[torch]'") from absent

#: What one operator is fitted to.
WindowOperator = Literal["network", "layer", "tensor"]

OPERATORS: tuple[WindowOperator, ...] = ("network", "layer", "tensor")

#: One copy of all parameters: a flat tensor for each device and dtype.
Row = list[Any]

#: Of the operator on increments: the few snapshots of a window cannot choose it, and one that is
#: damped stays behind the optimizer (docs/evidence/forecasting.md).
DAMPING = 0.0

#: Weights worked on at once, in float64: the memory that a jump takes besides the copies.
BLOCK = 1 << 16


@dataclass(frozen=True)
class ForecastRule:
    """How a forecast is made.

    Attributes
    ----------
    operator
        Whether one operator moves the network, or one each layer or tensor.
    observable
        What it is fitted to: see ``koopscope.spectra.gram.SnapshotGram.observable``.
    accept
        Which weights jump: see ``koopscope.forecasting.acceptance``.
    """

    operator: WindowOperator
    observable: Observable
    accept: Acceptance


@dataclass(frozen=True)
class _Piece:
    """Columns of one buffer that belong to one operator."""

    scope: str
    buffer: int
    start: int
    stop: int

    def blocks(self) -> Iterator[slice]:
        for start in range(self.start, self.stop, BLOCK):
            yield slice(start, min(start + BLOCK, self.stop))


class ParameterWindow:
    """Copies of the trainable floating parameters of a model, taken whenever a jump may be made.

    The window's copies are those at the starts of the last intervals: a jump at the end of an
    interval belongs to it, so that the operator carries on what training and jumps do together (as
    in Predictive Differential Training, ICLR 2026). One more copy, of the interval's end, tells
    what training alone did last, and is what a jump is taken back to; a last one is the forecast.

    Tied parameters are kept once. Parameters of one device and dtype share a buffer, so that a copy
    is one operation and takes exactly the memory of the parameters.

    Parameters
    ----------
    model
        Any ``torch.nn.Module``.
    starts
        How many starts are kept, at least 3.
    prediction
        How ``forecast`` goes about it.

    Raises
    ------
    KoopscopeError
        If the model has no trainable floating parameter, or this rank has only a part of one.
    """

    def __init__(self, model: Any, starts: int, prediction: ForecastRule) -> None:
        self._model, self._most, self._prediction = model, starts, prediction
        named = _trainable(model)
        if not named:
            raise KoopscopeError(
                "the model has no trainable floating parameter", "unfreeze what is to be trained"
            )
        spread = spread_over_ranks(named)
        if spread:
            raise KoopscopeError(
                f"{spread[0]} is spread over several ranks", "accelerate a model that is whole"
            )
        self._starts: list[Row] = []
        self._lay_out(named)

    @property
    def full(self) -> bool:
        """Whether there are as many starts as were asked for."""
        return len(self._starts) == self._most

    def begin(self) -> None:
        """Take the parameters as the start of an interval.

        If other parameters are trainable than before, the earlier starts are forgotten.
        """
        named = _trainable(self._model)
        if _identity(named) != self._laid_out:
            self._lay_out(named)
        row = self._spare.pop() if self._spare else self._starts.pop(0)
        self._copy_to(row)
        self._starts.append(row)

    def forecast(self, horizon: float) -> float:
        """Predict the parameters ``horizon`` intervals after the last start; a full window's only.

        Parameters
        ----------
        horizon
            In intervals. The one that ends now is the first of them.

        Returns
        -------
        The share of weights that ``adopt`` would move; 0 if the prediction is not finite.
        """
        if not all(parameter.requires_grad for members in self._members for parameter in members):
            return 0.0
        self._copy_to(self._end)
        laws = {scope: self._coefficients(scope, horizon) for scope in self._scopes}
        if not all(np.isfinite(law).all() for law in laws.values()):
            return 0.0
        moved, finite = 0, True
        for piece in self._pieces:
            law, buffer = torch.from_numpy(laws[piece.scope]), piece.buffer
            for block in piece.blocks():
                ahead = law.to(self._working(buffer)) @ self._increments(buffer, block)
                start, end = (
                    row[buffer][block].to(ahead.dtype) for row in (self._starts[-1], self._end)
                )
                mask = torch.from_numpy(
                    accepted(
                        self._prediction.accept,
                        ahead.cpu().numpy(),
                        (end - start).cpu().numpy(),
                        horizon,
                    )
                ).to(ahead.device)
                target = self._candidate[buffer][block]
                target.copy_(torch.where(mask, start + ahead, end))
                moved += int(mask.sum())
                finite = finite and bool(torch.isfinite(target).all())
        return moved / self._size if finite else 0.0

    def adopt(self) -> None:
        """Give the model the predicted parameters; those it had stay for ``restore``."""
        self._write(self._candidate)

    def restore(self) -> None:
        """Give the model the parameters of the last forecast's moment, bit for bit, and begin anew.

        What came after a jump that was taken back tells nothing of where training goes.
        """
        self._write(self._end)
        self._spare += self._starts
        self._starts = []

    def _lay_out(self, named: dict[str, Any]) -> None:
        groups: dict[Any, list[tuple[str, Any]]] = {}
        for name, parameter in named.items():
            groups.setdefault((parameter.device, parameter.dtype), []).append((name, parameter))
        self._laid_out = _identity(named)
        self._members = [[p for _, p in members] for members in groups.values()]
        self._pieces = list(_pieces(groups.values(), self._prediction.operator))
        self._scopes = list(dict.fromkeys(piece.scope for piece in self._pieces))
        self._size = sum(p.numel() for p in named.values())
        rows = [
            [
                torch.empty(sum(p.numel() for p in members), device=d, dtype=t)
                for members, (d, t) in zip(self._members, groups, strict=True)
            ]
            for _ in range(self._most + 2)
        ]
        self._candidate, self._end, *self._spare = rows
        self._starts = []

    def _working(self, buffer: int) -> Any:
        """Return the dtype of products: float64 where the device has it."""
        on_metal = self._end[buffer].device.type == "mps"
        return torch.float32 if on_metal else torch.float64

    def _increments(self, buffer: int, block: slice) -> Any:
        """Return [starts - 1, n]."""
        rows = torch.stack([row[buffer][block] for row in self._starts])
        return rows.to(self._working(buffer)).diff(dim=0)

    def _coefficients(self, scope: str, horizon: float) -> Float64:
        """Return float64 [starts - 1]: the displacement as a combination of the increments."""
        intervals = self._most - 1
        products, size = np.zeros((intervals, intervals)), 0
        for piece in self._pieces:
            if piece.scope == scope:
                size += piece.stop - piece.start
                for block in piece.blocks():
                    increments = self._increments(piece.buffer, block)
                    products += (increments @ increments.T).cpu().numpy()
        if not np.isfinite(products).all():
            return np.full(intervals, np.nan)
        law = law_of_motion(
            SnapshotGram.of_increments(products, size),
            self._prediction.observable,
            damping=DAMPING,
        )
        return law.coefficients([horizon])[:, 0]

    def _copy_to(self, row: Row) -> None:
        with torch.no_grad():
            for buffer, members in zip(row, self._members, strict=True):
                torch.cat([p.reshape(-1) for p in members], out=buffer)

    def _write(self, row: Row) -> None:
        with torch.no_grad():
            for buffer, members in zip(row, self._members, strict=True):
                sizes = [p.numel() for p in members]
                for parameter, values in zip(members, buffer.split(sizes), strict=True):
                    parameter.copy_(values.view_as(parameter))


def _trainable(model: Any) -> dict[str, Any]:
    """Return the parameters that may be moved, tied ones once."""
    return {
        name: parameter
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and parameter.is_floating_point() and parameter.numel()
    }


def _identity(named: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [(id(p), p.device, p.dtype) for p in named.values()]


def _pieces(groups: Iterable[list[tuple[str, Any]]], operator: WindowOperator) -> Iterator[_Piece]:
    for buffer, members in enumerate(groups):
        start = 0
        for name, parameter in members:
            stop = start + parameter.numel()
            if operator != "network":
                yield _Piece(_scope(name, operator), buffer, start, stop)
            start = stop
        if operator == "network":
            yield _Piece("network", buffer, 0, start)


def _scope(name: str, operator: WindowOperator) -> str:
    return name if operator == "tensor" else name.rpartition(".")[0]
