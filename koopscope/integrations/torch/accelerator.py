"""Skip epochs of a PyTorch training: jump to where the weights are going, and back if it was wrong.

Decides when to jump, how far, and whether to keep it. No error of it ends a training, and it leaves
no weights that are not finite.
"""

from __future__ import annotations

import math
import time
import warnings
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Any, Literal

from koopscope.errors import KoopscopeError
from koopscope.forecasting.choices import ACCEPTANCES, Acceptance
from koopscope.integrations.torch.candidates import Candidate, Record, Way
from koopscope.integrations.torch.judging import Judge, agreed_mean, number
from koopscope.integrations.torch.looking import look
from koopscope.integrations.torch.optimizer_state import (
    OPTIMIZER_STATES,
    OptimizerState,
    SavedState,
)
from koopscope.integrations.torch.parameter_window import (
    OPERATORS,
    ForecastRule,
    ParameterWindow,
    WindowOperator,
)
from koopscope.spectra.gram import Observable
from koopscope.spectra.law_of_motion import FORECASTABLE

#: What the horizon is multiplied with after a jump that was taken back, and after one that was
#: kept, until it is again what it was at first.
SHORTER, LONGER = 0.5, 1.1

#: The least horizon, in intervals: a jump of one leads where training has just been.
SHORTEST = 2.0

#: Jumps in a row that had to be taken back, after which no more are made.
PATIENCE = 6


class Phase(Enum):
    """What an accelerator does between two calls of ``after_epoch``."""

    #: Takes snapshots, and jumps as soon as it has enough of them.
    COLLECTING = auto()
    #: Has jumped, and waits for the loss of the next epoch to judge it.
    PENDING = auto()
    #: Has taken a jump back, and lets training go on alone for a while.
    RESTING = auto()
    #: Makes no more jumps: too many in a row were taken back.
    FINISHED = auto()


@dataclass(frozen=True)
class Jump:
    """One forecast.

    Attributes
    ----------
    epoch
        Calls of ``after_epoch`` until then.
    horizon
        Intervals (of ``every`` epochs) that it spans.
    share
        Part of the weights that passed the acceptance test.
    outcome
        ``kept``; ``rolled back``: the loss rose, and weights and optimizer state are again what
        they were; ``rejected``: no weight passed, or the forecast was not finite, and nothing
        was changed; ``pending``: the next epoch will tell.
    """

    epoch: int
    horizon: float
    share: float
    outcome: Literal["kept", "rolled back", "rejected", "pending"]
    candidate: Candidate | None = None


@dataclass(frozen=True)
class Acceleration:
    """What an accelerator did so far.

    Attributes
    ----------
    epochs
        Calls of ``after_epoch``.
    kept, rolled_back, rejected
        Numbers of forecasts: see ``Jump``.
    seconds
        Spent in the accelerator, on the clock.
    jumps
        All of them, in order.
    """

    epochs: int
    kept: int
    rolled_back: int
    rejected: int
    seconds: float
    jumps: tuple[Jump, ...]
    questions: int = 0


class KoopmanAccelerator:
    """Jump ahead in a training loop, after every epoch or so, to where the weights are going.

    A Koopman operator is fitted to the weights at the starts of the last intervals of ``every``
    epochs and carried ``horizon`` intervals on, modes that grow held at constant size. Training
    then goes on from there. If the loss of the next epoch is higher than that of each of the last
    ``snapshots`` epochs, weights and optimizer state are put back to what they were, and the next
    jump spans half as much; every jump that is kept lets the horizon grow back by a tenth. With
    each further failure in a row the least wait doubles, and after six no more jumps are made. An
    error inside, or a forecast that is not finite, is a jump not made; the first error is told by a
    warning.

    Memory: ``snapshots + 2`` copies of the trainable parameters, on their device and in their
    dtype, and from a jump to the next epoch one of the optimizer's state. Buffers, such as running
    means, and frozen parameters are not moved. All ranks of a data-parallel training have to pass
    the same loss.

    Parameters
    ----------
    model
        A ``torch.nn.Module``.
    optimizer
        Of its parameters; any number of groups.
    every
        Epochs from one snapshot, and jump, to the next.
    snapshots
        How many a forecast is made from, at least 3.
    horizon
        Intervals that a jump spans at most, 2 or more; the first is the one that ends with it.
    accept
        Which weights jump. ``pdt``: those whose displacement goes on in the direction of the
        interval that ends, and is between one and ``horizon`` times as long (Predictive
        Differential Training, ICLR 2026). ``sign``: those that go on in the same direction.
        ``none``: all.
    operator
        Whether one operator moves the ``network``, or one each ``layer`` or ``tensor``.
    observable
        What operators are fitted to: ``increments``, ``weights`` or ``centered`` weights.
    optimizer_state
        At a jump, ``keep`` it, or ``clear`` it, as at the start of a training.

    Raises
    ------
    KoopscopeError
        If PyTorch is missing, an option is not possible, or there is nothing to accelerate.

    Examples
    --------
    >>> accelerator = koopscope.KoopmanAccelerator(model, optimizer)  # doctest: +SKIP
    >>> for epoch in range(100):  # doctest: +SKIP
    ...     loss = train_one_epoch(model, optimizer)
    ...     accelerator.after_epoch(loss)
    """

    def __init__(
        self,
        model: Any,
        optimizer: Any,
        *,
        every: int = 1,
        snapshots: int = 5,
        horizon: float = 10.0,
        accept: Acceptance = "pdt",
        operator: WindowOperator = "network",
        observable: Observable = "increments",
        optimizer_state: OptimizerState = "keep",
        evaluate: Callable[[], Any] | None = None,
        tries: int = 4,
    ) -> None:
        _check_choice("accept", accept, ACCEPTANCES)
        _check_choice("operator", operator, OPERATORS)
        _check_choice("observable", observable, FORECASTABLE)
        _check_choice("optimizer_state", optimizer_state, OPTIMIZER_STATES)
        _check_number("snapshots", snapshots, 3)
        _check_number("every", every, 1)
        _check_number("horizon", horizon, SHORTEST)
        _check_number("tries", tries, 1)
        if not callable(getattr(model, "named_parameters", None)):
            raise KoopscopeError(
                f"a {type(model).__name__} has no parameters", "pass a torch.nn.Module"
            )
        if not hasattr(optimizer, "param_groups") or not hasattr(optimizer, "state"):
            raise KoopscopeError(
                f"a {type(optimizer).__name__} is no optimizer", "pass a torch.optim.Optimizer"
            )
        self._model = model
        self._judge = Judge(model, evaluate) if evaluate is not None else None
        self._record = Record(WAYS_(), 20.0)
        self._tries = tries
        rule = ForecastRule(operator, observable, accept, "layer" if evaluate else None)
        self._window = ParameterWindow(model, snapshots, rule)
        self._window.begin()
        self._operator = operator
        self._state_rule: OptimizerState = optimizer_state
        self._saved = SavedState(optimizer)
        self._every, self._horizon, self._longest = every, float(horizon), float(horizon)
        self._phase = Phase.COLLECTING
        self._epoch, self._since_snapshot = 0, 0
        self._failures, self._resting_until = 0, 0
        self._stays = 0
        self._losses: deque[float] = deque(maxlen=snapshots)
        self._way: Way | None = None
        self._jumps: list[Jump] = []
        self._seconds = 0.0
        self._warned = False

    @property
    def horizon(self) -> float:
        """Intervals that the next jump is to span."""
        return self._horizon

    def report(self) -> Acceleration:
        """Return what was done so far."""
        outcomes = [jump.outcome for jump in self._jumps]
        return Acceleration(
            epochs=self._epoch,
            kept=outcomes.count("kept"),
            rolled_back=outcomes.count("rolled back"),
            rejected=outcomes.count("rejected"),
            seconds=self._seconds,
            jumps=tuple(self._jumps),
            questions=self._judge.questions if self._judge else 0,
        )

    def after_epoch(self, loss: Any = None) -> bool:
        """Take note of an epoch's weights and loss, and jump if it is time to; return whether.

        Parameters
        ----------
        loss
            Of the epoch: the mean of its minibatches, say. Without it no jump is ever taken back.
        """
        began = time.perf_counter()
        self._epoch += 1
        jumped = self._undisturbed(lambda: self._advance(number(loss)))
        self._seconds += time.perf_counter() - began
        return jumped

    def _advance(self, loss: float | None) -> bool:
        if self._phase is Phase.PENDING:
            if self._has_risen(loss):
                self._take_back()
                return False
            self._keep()
        if loss is not None:
            self._losses.append(loss)
        if self._phase is Phase.RESTING and self._epoch >= self._resting_until:
            self._phase = Phase.COLLECTING
        self._since_snapshot += 1
        if self._since_snapshot < self._every:
            return False
        jumped = self._may_jump and (self._jump() if self._judge is None else self._look())
        self._window.begin()
        self._since_snapshot = 0
        return jumped

    @property
    def _may_jump(self) -> bool:
        return (
            self._phase is Phase.COLLECTING
            and self._window.full
            and all(map(math.isfinite, self._losses))
        )

    def _has_risen(self, loss: float | None) -> bool:
        """Whether a loss is above each of the last ones; one that is not a number counts so."""
        return loss is not None and bool(self._losses) and not loss <= max(self._losses)

    def _take_back(self) -> None:
        """Undo the last jump, and start the interval anew from where it began."""
        self._window.restore()
        self._saved.put_back()
        self._resting_until = self._epoch + self._every * 2**self._failures
        self._failures += 1
        self._end("rolled back", SHORTER)
        if self._way is not None:
            self._record.taken_back(self._way)
        self._window.begin()
        self._since_snapshot = 0
        self._phase = Phase.FINISHED if self._failures >= PATIENCE else Phase.RESTING

    def _keep(self) -> None:
        """Let the last jump stand."""
        self._saved.forget()
        self._failures = 0
        self._end("kept", LONGER)
        self._phase = Phase.COLLECTING

    def _jump(self) -> bool:
        share = self._window.forecast(self._horizon)
        if not share:
            self._note_jump(share, "rejected")
            return False
        self._go(Candidate(self._operator, self._horizon))
        self._note_jump(share, "pending")
        return True

    def _look(self) -> bool:
        """Try several candidates and go to the best; rarely where there was none lately."""
        assert self._judge is not None
        found = look(self._window, self._judge, self._record, self._tries, self._window.survey())
        if found.candidate is None:
            self._stays += 1
            self._resting_until = self._epoch + self._every * min(2 ** (self._stays-1), 8)
            self._phase = Phase.RESTING
            return False
        self._stays = 0
        self._horizon, self._way = found.candidate.horizon, found.way
        self._go(found.candidate)
        self._note_jump(found.share, "pending", found.candidate)
        return True

    def _go(self, candidate: Candidate) -> None:
        self._saved.take(self._state_rule)
        try:
            self._window.adopt()
        except Exception:
            self._window.restore()
            raise
        self._saved.apply(self._state_rule, self._window.slowdown(candidate))
        self._phase = Phase.PENDING

    def _note_jump(
        self,
        share: float,
        outcome: Literal["rejected", "pending"],
        candidate: Candidate | None = None,
    ) -> None:
        jump = Jump(self._epoch, self._horizon, share, outcome, candidate)
        self._jumps.append(jump)

    def _end(self, outcome: Literal["kept", "rolled back"], factor: float) -> None:
        self._jumps[-1] = replace(self._jumps[-1], outcome=outcome)
        if self._judge is None:
            self._horizon = min(self._longest, max(SHORTEST, factor * self._horizon))

    def _undisturbed(self, work: Callable[[], bool]) -> bool:
        try:
            return work()
        except Exception as error:  # skipping an epoch is not worth a training run
            if not self._warned:
                self._warned = True
                warnings.warn(f"no jump was made: {error}", RuntimeWarning, stacklevel=3)
            return False


ARMS = [("straight",False,True),("straight",True,False),("straight",False,False),("network",False,True),("layer",False,True),("network",True,False)]
def WAYS_():
    return [Way(*a) for a in ARMS]


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise KoopscopeError(
            f"{name}={value!r} is not possible", f"choose one of {', '.join(choices)}"
        )


def _check_number(name: str, value: float, least: float) -> None:
    if not value >= least:
        raise KoopscopeError(f"{name}={value} is not possible", f"use {least:g} or more")
