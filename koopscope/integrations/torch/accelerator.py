"""Skip epochs of a PyTorch training: jump to where the weights are going, and back if it was wrong.

Decides when to jump, how far, and whether to keep it. No error of it ends a training, and it leaves
no weights that are not finite.
"""

from __future__ import annotations

import math
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from enum import Enum, auto
from typing import Any

from koopscope.errors import KoopscopeError
from koopscope.forecasting.choices import ACCEPTANCES, Acceptance
from koopscope.integrations.torch.averages import KEPT, Lent, RunningAverage
from koopscope.integrations.torch.candidates import HORIZONS, Candidate, Record, Way, first_ways
from koopscope.integrations.torch.judging import Judge, agreed_mean, number
from koopscope.integrations.torch.jumps import Acceleration, Jump, Outcome
from koopscope.integrations.torch.looking import look
from koopscope.integrations.torch.optimizer_state import (
    OPTIMIZER_STATES,
    OptimizerState,
    SavedState,
)
from koopscope.integrations.torch.options import check_choice, check_number, check_parts
from koopscope.integrations.torch.parameter_window import (
    OPERATORS,
    ForecastRule,
    ParameterWindow,
    WindowOperator,
)
from koopscope.integrations.torch.resting import RestingLayers
from koopscope.spectra.gram import Observable
from koopscope.spectra.law_of_motion import FORECASTABLE

#: What the horizon is multiplied with after a jump that was taken back, and after one that was
#: kept, until it is again what it was at first.
SHORTER, LONGER = 0.5, 1.1

#: The least horizon, in intervals: a jump of one leads where training has just been.
SHORTEST = 2.0

#: Jumps in a row that had to be taken back, after which no more are made.
PATIENCE = 6

#: Candidates that are looked at before a jump.
TRIES = 2

#: Intervals until the next look, at most, where one after the other found nothing better.
LONGEST_WAIT = 8


class Phase(Enum):
    """What an accelerator does between two calls of ``after_epoch``."""

    #: Takes snapshots, and jumps as soon as it has enough of them.
    COLLECTING = auto()
    #: Has jumped, and waits for the loss of the next epoch to judge it.
    PENDING = auto()
    #: Has taken a jump back, or found nothing better, and lets training go on alone for a while.
    RESTING = auto()
    #: Makes no more jumps: too many in a row were taken back.
    FINISHED = auto()


class KoopmanAccelerator:
    """Jump ahead in a training loop, after every epoch or so, to where the weights are going.

    The weights at the starts of the last intervals of ``every`` epochs are carried ``horizon``
    intervals on. Training then goes on from there. If the loss of the next epoch is higher than
    that of each of the last ``snapshots`` epochs, weights and optimizer state are put back to what
    they were, and the next jump spans less; with each further failure in a row the least wait
    doubles, and after six no more jumps are made. An error inside, or a forecast that is not
    finite, is a jump not made; the first error is told by a warning.

    With ``evaluate``, jumps are made with a look. A running average of the weights is kept, which
    has less noise; its way is carried on, by the mean of the last increments or by a Koopman
    operator, and up to ``tries`` places on it are evaluated. The farthest one whose loss is no
    higher than that of the weights as they are is taken, and weights and average both move by as
    much. How far is tried first is learned: a success widens it, a failure narrows it. Without any
    success the weights stay, and the next look waits twice as long. ``averaged`` then lends the
    model the average, which is what to evaluate, to save and to hand out.

    Without ``evaluate``, one Koopman operator on the weights themselves, with modes that grow held
    at constant size, makes every jump; a jump taken back halves the horizon, and one that is kept
    lets it grow back by a tenth.

    Memory: ``snapshots + 2`` copies of the trainable parameters, on their device and in their
    dtype, two more with ``evaluate``, and from the first jump on one of the optimizer's state.
    Buffers, such as running means, and frozen parameters are not moved. Ranks that train together
    all have to make an accelerator and call it alike; they decide by the mean of their losses.

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
        Intervals that a jump spans at most, 2 or more; the first is the one that ends with it. With
        ``evaluate`` it is chosen.
    accept
        Which weights jump. ``pdt``: those whose displacement goes on in the direction of the
        interval that ends, and is between one and ``horizon`` times as long (Predictive
        Differential Training, ICLR 2026). ``sign``: those that go on in the same direction.
        ``none``: all.
    operator
        Whether one operator moves the ``network``, or one each ``layer`` or ``tensor``. With
        ``evaluate`` it is chosen.
    observable
        What operators are fitted to: ``increments``, ``weights`` or ``centered`` weights.
    optimizer_state
        At a jump, ``keep`` it, ``rescale`` its momenta to the law's speed there, or ``clear`` it,
        as at the start of a training.
    evaluate
        Called without arguments; returns the model's loss on one or a few minibatches, which have
        to be the same ones for every call within one ``after_epoch``. It is called without
        gradients, in the mode that the model is in; random numbers, buffers and modes are put back.
    tries
        Candidates that are evaluated before a jump, besides the weights as they are.
    average
        Share of the running average that every optimizer step keeps: 0.9 with ``evaluate``, and no
        average otherwise.
    freeze
        Freeze layers that have come to rest, as finding ``rest`` tells it; never all of them.

    Raises
    ------
    KoopscopeError
        If PyTorch is missing, an option is not possible, or there is nothing to accelerate.

    Examples
    --------
    >>> accelerator = koopscope.KoopmanAccelerator(  # doctest: +SKIP
    ...     model, optimizer, evaluate=lambda: loss_function(model(x_few), y_few)
    ... )
    >>> for epoch in range(100):  # doctest: +SKIP
    ...     loss = train_one_epoch(model, optimizer)
    ...     accelerator.after_epoch(loss)
    >>> with accelerator.averaged():  # doctest: +SKIP
    ...     torch.save(model.state_dict(), "model.pt")
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
        tries: int = TRIES,
        average: float | None = None,
        freeze: bool = False,
    ) -> None:
        check_choice("accept", accept, ACCEPTANCES)
        check_choice("operator", operator, OPERATORS)
        check_choice("observable", observable, FORECASTABLE)
        check_choice("optimizer_state", optimizer_state, OPTIMIZER_STATES)
        check_number("snapshots", snapshots, 3)
        check_number("every", every, 1)
        check_number("horizon", horizon, SHORTEST)
        check_number("tries", tries, 1)
        check_parts(model, optimizer, evaluate, average)
        rule = ForecastRule(operator, observable, accept, "layer" if evaluate else None)
        self._model, self._operator = model, operator
        self._average: RunningAverage | None = None
        if evaluate is not None or average is not None:
            self._average = RunningAverage(model, optimizer, KEPT if average is None else average)
        self._judge = Judge(model, evaluate) if evaluate is not None else None
        self._record, self._tries = Record(first_ways(), HORIZONS[-1]), tries
        self._window = ParameterWindow(
            model, snapshots, rule, self._average if evaluate is not None else None
        )
        self._window.begin()
        self._resting = RestingLayers(model) if freeze else None
        self._state_rule: OptimizerState = optimizer_state
        self._saved = SavedState(optimizer)
        self._every, self._horizon, self._longest = every, float(horizon), float(horizon)
        self._phase = Phase.COLLECTING
        self._epoch, self._since_snapshot = 0, 0
        self._failures, self._stays, self._stayed, self._resting_until = 0, 0, 0, 0
        self._losses: deque[float] = deque(maxlen=snapshots)
        self._way: Way | None = None
        self._jumps: list[Jump] = []
        self._seconds = 0.0
        self._error: Exception | None = None
        self._warned = False

    @property
    def horizon(self) -> float:
        """Intervals that the next jump is to span; with ``evaluate``, that the last one did."""
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
            stayed=self._stayed,
            questions=self._judge.questions if self._judge else 0,
            frozen=self._resting.frozen if self._resting else (),
        )

    @contextmanager
    def averaged(self) -> Iterator[Lent]:
        """Lend the model the running average of its weights: evaluate it, or save it, inside.

        Yields
        ------
        How many steps it follows, and the names of the running statistics to renew.

        Raises
        ------
        KoopscopeError
            If no average is kept.
        """
        if self._average is None:
            raise KoopscopeError(
                "no average of the weights is kept", "pass evaluate=, or average=0.9"
            )
        with self._average.lent() as lent:
            yield lent

    def after_epoch(self, loss: Any = None) -> bool:
        """Take note of an epoch's weights and loss, and jump if it is time to; return whether.

        Parameters
        ----------
        loss
            Of the epoch: the mean of its minibatches, say. Without it no jump is ever taken back.
        """
        began = time.perf_counter()
        self._epoch += 1
        jumped = False
        try:
            jumped = self._advance(self._heard(loss))
        except Exception as error:  # skipping an epoch is not worth a training run
            self._error = error
        if self._error is not None and not self._warned:
            self._warned = True
            warnings.warn(f"no jump was made: {self._error}", RuntimeWarning, stacklevel=2)
        self._seconds += time.perf_counter() - began
        return jumped

    def _heard(self, loss: Any) -> float | None:
        """Return a loss as all ranks hear it; what is no number counts as not finite."""
        if loss is None:
            return None
        try:
            own = float(number(loss) or 0.0)
        except Exception as error:  # the other ranks wait for this one's loss
            self._error, own = error, math.nan
        return agreed_mean(own, self._model)

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
        if self._average is not None and not self._average.hooked:
            self._average.follow()
        if self._resting is not None:
            self._resting.freeze()
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
            self._jumps.append(Jump(self._epoch, self._horizon, share, "rejected"))
            return False
        self._go(Candidate(self._operator, self._horizon))
        self._jumps.append(Jump(self._epoch, self._horizon, share, "pending"))
        return True

    def _look(self) -> bool:
        """Try several candidates and go to the best; rarely where there was none lately."""
        assert self._judge is not None
        self._stays += 1
        wait = min(2 ** (self._stays - 1), LONGEST_WAIT)
        self._resting_until = self._epoch + self._every * wait
        self._phase = Phase.RESTING
        found = look(self._window, self._judge, self._record, self._tries, self._surveyed())
        self._error = self._judge.error or self._error
        if found.way is None or found.candidate is None:
            self._stayed += 1
            return False
        self._stays = 0
        self._horizon, self._way = found.candidate.horizon, found.way
        self._go(found.candidate)
        gain = found.stay - found.loss
        self._jumps.append(
            Jump(self._epoch, self._horizon, found.share, "pending", found.candidate, gain)
        )
        return True

    def _surveyed(self) -> bool:
        try:
            return self._window.survey()
        except Exception as error:  # the other ranks wait for this one's answer
            self._error = error
            return False

    def _go(self, candidate: Candidate) -> None:
        """Move weights and optimizer state on every rank, or on none."""
        slowdown = self._window.slowdown(candidate) if self._state_rule == "rescale" else 1.0
        failure: Exception | None = None
        try:
            self._saved.take(self._state_rule)
            self._window.adopt()
            self._saved.apply(self._state_rule, slowdown)
        except Exception as error:  # the other ranks wait to hear of it
            failure = error
        if agreed_mean(float(failure is not None), self._model):
            self._window.restore()
            self._saved.put_back()
            raise failure or KoopscopeError("another rank could not jump")
        self._phase = Phase.PENDING

    def _end(self, outcome: Outcome, factor: float) -> None:
        self._jumps[-1] = replace(self._jumps[-1], outcome=outcome)
        if self._judge is None:
            self._horizon = min(self._longest, max(SHORTEST, factor * self._horizon))
