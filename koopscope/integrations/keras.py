"""A Keras callback that records the run, and can stop it. Needs Keras 3, with any backend."""

from __future__ import annotations

import os
from typing import Any

from koopscope import messages
from koopscope.errors import KoopscopeError
from koopscope.integrations.tracker import Tracker

try:
    from keras.callbacks import Callback
except ImportError:
    raise KoopscopeError(
        "koopscope.integrations.keras needs Keras, which is not installed",
        "pip install 'koopscope[keras]'",
    ) from None


class KoopscopeCallback(Callback):  # type: ignore[misc, unused-ignore]
    """Record a snapshot every so many epochs or steps of ``model.fit``.

    Parameters
    ----------
    path
        The run file.
    verbose
        1 says when training is stopped.
    **options
        See ``koopscope.integrations.Tracker``: ``every_n_epochs``, ``every_n_steps``, ``include``,
        ``exclude``, ``metadata``, ``mode``, ``stop_on_convergence``, ``act_on``,
        ``patience``, ``start_from_epoch``.

    Attributes
    ----------
    stopped_epoch
        The epoch at which training was stopped, counted from 0 as Keras does; 0 if it was not.
    stopping_reason_message
        Why, in words; ``None`` before.
    """

    def __init__(self, path: str | os.PathLike[str], *, verbose: int = 0, **options: Any) -> None:
        super().__init__()
        self.verbose = verbose
        self.stopped_epoch = 0
        self._tracker = Tracker(path, **options)
        self._epoch = 0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Record the weights that training begins with."""
        self._tracker.start(self._step, self.model if self.model.built else None)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Take a snapshot if one is due after this step."""
        step = self._step
        if self._tracker.wants(step=step):
            self._tracker.take(step, self.model, epoch=self._epoch, **(logs or {}))
            self._stop_if_told()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Take a snapshot if one is due after this epoch."""
        self._epoch = epoch + 1
        if self._tracker.wants(epoch=epoch + 1):
            self._tracker.take(self._step, self.model, epoch=epoch + 1, **(logs or {}))
            self._stop_if_told()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Write what is not yet written."""
        self._tracker.close()

    @property
    def stopping_reason_message(self) -> str | None:
        """Why training was stopped, in words."""
        return self._tracker.stopping_reason_message

    @property
    def _step(self) -> int:
        return int(self.model.optimizer.iterations)

    def _stop_if_told(self) -> None:
        if self._tracker.should_stop:
            self.model.stop_training = True
            self.stopped_epoch = max(0, (self._tracker.stopped_epoch or 0) - 1)
            if self.verbose:
                messages.tell(
                    f"Epoch {self.stopped_epoch + 1}: early stopping: "
                    f"{self.stopping_reason_message}"
                )
