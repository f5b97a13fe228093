"""How a PyTorch model's trainable parameters moved in the last intervals, and where that leads.

Holds the increments, their inner products, and combines them; when to jump is decided elsewhere.
Only ``adopt`` and ``restore`` change parameters; nothing changes buffers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from koopscope._types import Float64
from koopscope.errors import KoopscopeError
from koopscope.forecasting.choices import Acceptance
from koopscope.integrations.tensors import spread_over_ranks
from koopscope.integrations.torch.averages import RunningAverage
from koopscope.integrations.torch.candidates import Candidate
from koopscope.integrations.torch.flat_rows import FlatRows, Grain, Piece, torch, trainable
from koopscope.spectra.gram import Observable, SnapshotGram
from koopscope.spectra.law_of_motion import laws_of_motion

#: What one operator is fitted to.
WindowOperator = Literal["network", "layer", "tensor"]

OPERATORS: tuple[WindowOperator, ...] = ("network", "layer", "tensor")

#: Of the operator on increments: the few snapshots of a window cannot choose it, and one that is
#: damped stays behind the optimizer (docs/evidence/forecasting.md).
DAMPING = 0.0

#: Up to so many weights inner products are taken in double precision. Beyond, the rounding of
#: single precision is below that of the increments of float32 weights, and it is twice as fast.
DOUBLE_UP_TO = 1 << 18


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
    grain
        The smallest scope that an operator is asked for.
    """

    operator: WindowOperator
    observable: Observable
    accept: Acceptance
    grain: Grain | None = None


class ParameterWindow:
    """The increments between the starts of the last intervals.

    A jump at the end of an interval belongs to it, so that an operator carries on what training and
    jumps do together (as in Predictive Differential Training, ICLR 2026). Three more rows hold the
    last start, the interval's end, which is what a jump is taken back to, and the forecast.

    Tied parameters are kept once. Parameters of one device and dtype share a buffer, so that a copy
    is one operation and takes exactly the memory of the parameters.

    Parameters
    ----------
    model
        Any ``torch.nn.Module``.
    starts
        How many starts a forecast is made from, at least 3.
    prediction
        How ``forecast`` goes about it.
    average
        What moves in the parameters' place, with less noise: increments are those of the average,
        and a jump takes the parameters along with it.

    Raises
    ------
    KoopscopeError
        If the model has no trainable floating parameter, or this rank has only a part of one.
    """

    def __init__(
        self,
        model: Any,
        starts: int,
        prediction: ForecastRule,
        average: RunningAverage | None = None,
    ) -> None:
        self._model, self._most, self._prediction = model, starts, prediction
        self._average = average
        self._taken = 0
        self._held: int | None = None  # the row that is what the model or its average is now
        self._laws: dict[tuple[str, float], dict[str, Float64]] = {}
        named = trainable(model)
        if not named:
            raise KoopscopeError(
                "the model has no trainable floating parameter", "unfreeze what is to be trained"
            )
        spread = spread_over_ranks(named)
        if spread:
            raise KoopscopeError(
                f"{spread[0]} is spread over several ranks", "accelerate a model that is whole"
            )
        self._lay_out(named)

    @property
    def full(self) -> bool:
        """Whether there are as many starts as were asked for."""
        return self._taken == self._most

    @property
    def taken(self) -> int:
        """Number of starts that are known."""
        return self._taken

    def begin(self) -> None:
        """Take the parameters as the start of an interval.

        If other parameters are trainable than before, the earlier starts are forgotten.
        """
        if self._average is not None:
            self._average.check()
        named = trainable(self._model)
        if _identity(named) != self._laid_out:
            self._lay_out(named)
        if self._held is None:
            self._rows.read(self._end, self._averages)
            self._held = self._end
        if self._taken:
            self._append_increment(self._held)
        self._take_as_start(self._held)
        self._held = None
        self._taken = min(self._taken + 1, self._most)

    def survey(self) -> bool:
        """Take the parameters as the end of the interval; return whether a forecast is possible."""
        self._laws = {}
        if not self._rows.trainable:
            return False
        if self._average is not None:
            if any(key not in self._average.values for key, _, _ in self._laid_out):
                return False
            self._rows.read(self._own)
        self._rows.read(self._end, self._averages)
        self._held = self._end
        return all(np.isfinite(products).all() for products in self._products)

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
        if not self.survey():
            return 0.0
        return self.form(Candidate(self._prediction.operator, horizon))

    def form(self, candidate: Candidate) -> float:
        """Predict the parameters of a candidate, after ``survey``; return as ``forecast`` does."""
        laws = self._combinations(candidate)
        if not all(np.isfinite(law).all() for law in laws.values()):
            return 0.0
        accept = self._prediction.accept if candidate.masked else "none"
        share = 1.0 / (self._most + 1) if candidate.averaged else 0.0
        moved, finite = 0, True
        for index, buffer in enumerate(self._rows.buffers):
            work = _Scratch(buffer, self._pieces)
            for piece in self._pieces:
                if piece.buffer == index:
                    law = laws["network" if "network" in laws else piece.scope]
                    ordered = law[np.argsort(self._order)]
                    work.form(piece, self, ordered, share, accept, candidate.horizon)
            moved += int(work.moved)
            finite = finite and bool(torch.isfinite(work.check))
        return moved / self._rows.size if finite else 0.0

    def try_on(self) -> None:
        """Give the model what ``form`` predicted, to be looked at; of an average, the average."""
        self._rows.write(self._candidate)

    def adopt(self) -> None:
        """Give the model the predicted parameters; those it had stay for ``restore``."""
        if self._average is None:
            self._rows.write(self._candidate)
        else:
            self._rows.write(self._candidate, self._averages)
            self._rows.shift(self._end, self._candidate)
        self._held = self._candidate

    def put_back(self) -> None:
        """Give the model the parameters of the last survey's moment, bit for bit."""
        self._rows.write(self._end if self._average is None else self._own)

    def restore(self) -> None:
        """Put back the parameters, and begin anew.

        What came after a jump that was taken back tells nothing of where training goes.
        """
        self.put_back()
        if self._average is not None:
            self._rows.write(self._end, self._averages)
        self._held = self._end
        self._taken = 0

    @property
    def _averages(self) -> dict[int, Any] | None:
        return None if self._average is None else self._average.values

    def slowdown(self, candidate: Candidate) -> float:
        """Return how fast the law moves at the horizon, relative to now; at most 1."""
        if candidate.law == "straight" or candidate.horizon < 1.0:
            return 1.0
        far = self._law(candidate.law, candidate.horizon)
        near = self._law(candidate.law, candidate.horizon - 1.0)
        now = self._law(candidate.law, 1.0)
        ahead = sum(self._square(scope, far[scope] - near[scope]) for scope in far)
        today = sum(self._square(scope, now[scope]) for scope in now)
        return float(min(1.0, np.sqrt(ahead / today))) if today > 0.0 else 1.0

    def _lay_out(self, named: dict[str, Any]) -> None:
        self._laid_out = _identity(named)
        increments = self._most - 1
        self._rows = FlatRows(named, increments + (3 if self._average is None else 4))
        self._start, self._end, self._candidate = range(increments, increments + 3)
        self._own = increments + 3  # the parameters at the last survey, where there is an average
        grain = self._prediction.grain or self._prediction.operator
        self._pieces = self._rows.pieces(grain)
        self._order = list(range(increments))  # slots of the increments, the oldest first
        self._products = [np.zeros((increments, increments)) for _ in self._pieces]
        self._taken, self._held = 0, None

    def _append_increment(self, row: int) -> None:
        """Write the increment that leads to a row over the oldest one, and take its products."""
        slot = self._order.pop(0)
        self._order.append(slot)
        increments = self._most - 1
        for piece, products in zip(self._pieces, self._products, strict=True):
            buffer = self._rows.buffers[piece.buffer]
            working = _working(buffer, self._rows.size)
            total = torch.zeros(increments, dtype=_sums(buffer), device=buffer.device)
            for block in piece.blocks():
                new = buffer[slot, block]
                torch.sub(buffer[row, block], buffer[self._start, block], out=new)
                rows = buffer[:increments, block].to(working)
                total += torch.mv(rows, rows[slot])
            found = (
                total.double().cpu().numpy()
                if buffer.device.type != "mps"
                else (total.cpu().double().numpy())
            )
            known = self._order[-self._taken :]  # what is older was never written
            products[:, slot] = products[slot, :] = 0.0
            products[known, slot] = products[slot, known] = found[known]

    def _take_as_start(self, row: int) -> None:
        """Let a row be the last start; the row of the former one takes its part."""
        if row == self._end:
            self._start, self._end = self._end, self._start
        else:
            self._start, self._candidate = self._candidate, self._start

    def _combinations(self, candidate: Candidate) -> dict[str, Float64]:
        """Return, by scope, the displacement from the last start as increments' coefficients."""
        back = np.zeros(self._most - 1)
        if candidate.averaged:
            # The mean of the starts and the end: the oldest start lies all increments back.
            back = -np.arange(1.0, self._most) / (self._most + 1)
        ahead = self._law(candidate.law, candidate.horizon)
        return {scope: law + back for scope, law in ahead.items()}

    def _law(self, law: str, horizon: float) -> dict[str, Float64]:
        """Return float64 [starts - 1] by scope: the law's displacement after so many intervals."""
        intervals = self._most - 1
        if law == "straight":
            return {"network": np.full(intervals, horizon / intervals)}
        if (law, horizon) not in self._laws:
            self._laws[law, horizon] = self._fitted(law, horizon)
        return self._laws[law, horizon]

    def _fitted(self, law: str, horizon: float) -> dict[str, Float64]:
        grams: dict[str, SnapshotGram] = {}
        at = np.ix_(self._order, self._order)
        for piece, products in zip(self._pieces, self._products, strict=True):
            scope = "network" if law == "network" else piece.scope
            gram = SnapshotGram.of_increments(products[at], piece.stop - piece.start)
            grams[scope] = grams[scope] + gram if scope in grams else gram
        scopes, found = list(grams), {}
        for indices, fitted in laws_of_motion(
            list(grams.values()), self._prediction.observable, damping=DAMPING
        ):
            displacements = fitted.coefficients([horizon])[..., 0]
            for index, displacement in zip(indices, displacements, strict=True):
                found[scopes[index]] = displacement
        return found

    def _square(self, scope: str, coefficients: Float64) -> float:
        at = np.ix_(self._order, self._order)
        return float(
            sum(
                coefficients @ products[at] @ coefficients
                for piece, products in zip(self._pieces, self._products, strict=True)
                if scope in ("network", piece.scope)
            )
        )


class _Scratch:
    """Forms candidates in one buffer, block by block, in memory that is used again."""

    def __init__(self, buffer: Any, pieces: list[Piece]) -> None:
        self._buffer = buffer
        width = max(min(piece.block, piece.stop - piece.start) for piece in pieces)
        dtype = buffer.dtype if buffer.dtype.itemsize >= 4 else torch.float32
        self._ahead = torch.empty(1, width, dtype=dtype, device=buffer.device)
        self._update = torch.empty(width, dtype=dtype, device=buffer.device)
        # Numbers in place of truth values: a processor compares and counts them much faster.
        self._fits, self._also = torch.empty_like(self._update), torch.empty_like(self._update)
        #: Weights that moved, and a sum that is finite where all targets are.
        self.moved = torch.zeros((), dtype=_sums(buffer), device=buffer.device)
        self.check = torch.zeros((), dtype=dtype, device=buffer.device)

    def form(
        self,
        piece: Piece,
        window: ParameterWindow,
        law: Float64,
        share: float,
        accept: Acceptance,
        horizon: float,
    ) -> None:
        """Write the targets of one piece into the candidate's row.

        Parameters
        ----------
        piece, window
            Which weights.
        law
            float64 [increments], by slot: the displacement from the last start.
        share
            Of the interval's own update that the displacement contains besides.
        accept, horizon
            Which weights move: see ``koopscope.forecasting.acceptance``.
        """
        buffer, dtype = self._buffer, self._ahead.dtype
        factors = torch.as_tensor(law[None], dtype=dtype).to(buffer.device)
        for block in piece.blocks():
            width = block.stop - block.start
            ahead, update = self._ahead[:, :width], self._update[:width]
            start, end = buffer[window._start, block], buffer[window._end, block]
            torch.sub(end, start, out=update)
            torch.mm(factors, buffer[: law.size, block].to(dtype), out=ahead)
            beyond = ahead[0]
            if share:
                beyond.add_(update, alpha=share)
            target = buffer[window._candidate, block]
            if accept == "none":
                torch.add(start, beyond, out=target)
                self.moved += width
                self.check += target.sum(dtype=dtype)
                continue
            # In units of the interval's own update, from where training ended by itself.
            beyond.div_(update).sub_(1.0).nan_to_num_(-1.0, -1.0, -1.0)
            fits, also = self._fits[:width], self._also[:width]
            if accept == "pdt":
                torch.ge(beyond, 0.0, out=fits)
                torch.le(beyond, horizon - 1.0, out=also)
                fits.mul_(also)
            else:
                torch.gt(beyond, -1.0, out=fits)
            self.moved += fits.sum()
            torch.addcmul(end, beyond.mul_(fits), update, out=target)
            self.check += target.sum(dtype=dtype)


def _working(buffer: Any, size: int) -> Any:
    """Return the dtype of inner products."""
    if buffer.device.type == "mps" or (size > DOUBLE_UP_TO and buffer.dtype != torch.float64):
        return torch.float32
    return torch.float64


def _sums(buffer: Any) -> Any:
    return torch.float32 if buffer.device.type == "mps" else torch.float64


def _identity(named: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [(id(p), p.device, p.dtype) for p in named.values()]
