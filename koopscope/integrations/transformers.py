"""A ``TrainerCallback`` for Hugging Face's Trainer that records the run, and can stop it."""

from __future__ import annotations

import os
from typing import Any

from koopscope.errors import KoopscopeError
from koopscope.integrations.tracker import Tracker

try:
    from transformers import TrainerCallback
except ImportError:
    raise KoopscopeError(
        "koopscope.integrations.transformers needs transformers, which is not installed",
        "pip install transformers",
    ) from None


class KoopscopeCallback(TrainerCallback):  # type: ignore[misc, unused-ignore]
    """Record a snapshot every so many steps or epochs of ``trainer.train()``.

    The snapshot of a step is written when the next one begins, with everything that the Trainer
    logged about it in between; the weights do not change in that time.

    Parameters
    ----------
    path
        The run file.
    **options
        See ``koopscope.integrations.Tracker``: ``every_n_steps``, ``every_n_epochs``, ``include``,
        ``exclude``, ``metadata``, ``shards``, ``mode``, ``stop_on_convergence``, ``act_on``,
        ``patience``, ``start_from_epoch``.

    Attributes
    ----------
    stopping_reason_message
        Why training was stopped, in words; ``None`` before.
    """

    def __init__(self, path: str | os.PathLike[str], **options: Any) -> None:
        self._path, self._options = path, options
        self._tracker: Tracker | None = None
        self._due: tuple[int, int] | None = None
        self._metrics: dict[str, float] = {}

    @property
    def stopping_reason_message(self) -> str | None:
        """Why training was stopped, in words."""
        return self._tracker.stopping_reason_message if self._tracker is not None else None

    def on_train_begin(self, args: Any, state: Any, control: Any, **known: Any) -> None:
        """Record the weights that training begins with."""
        # Only now do the ranks know each other.
        self._tracker = Tracker(self._path, **self._options)
        self._tracker.start(int(state.global_step), known["model"])

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any
    ) -> None:
        """Keep what was logged for the next snapshot."""
        from koopscope.runs.names import conventional

        if "train_runtime" in (logs or {}):
            return  # the closing summary: means over the whole training
        for name, value in (logs or {}).items():
            if isinstance(value, (int, float)) and name != "epoch":
                self._metrics[conventional(name)] = float(value)

    def on_step_end(self, args: Any, state: Any, control: Any, **known: Any) -> None:
        """Note that a snapshot is due after this step."""
        if self._tracker is not None and self._tracker.wants(step=int(state.global_step)):
            self._due = (int(state.global_step), int(state.epoch or 0))
        self._tell(control)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **known: Any) -> None:
        """Note that a snapshot is due after this epoch."""
        epoch = round(state.epoch or 0)
        if self._tracker is not None and self._tracker.wants(epoch=epoch):
            self._due = (int(state.global_step), epoch)
        self._tell(control)

    def on_step_begin(self, args: Any, state: Any, control: Any, **known: Any) -> None:
        """Write the snapshot of the step before."""
        self._write(known["model"])

    def on_train_end(self, args: Any, state: Any, control: Any, **known: Any) -> None:
        """Write the last snapshot."""
        self._write(known["model"])
        if self._tracker is not None:
            self._tracker.close()

    def _write(self, model: Any) -> None:
        if self._tracker is None or self._due is None:
            return
        step, epoch = self._due
        self._tracker.take(step, model, epoch=epoch, **self._metrics)
        self._due, self._metrics = None, {}

    def _tell(self, control: Any) -> None:
        if self._tracker is not None and self._tracker.should_stop:
            control.should_training_stop = True
