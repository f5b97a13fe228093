"""A Lightning callback that records the run, and can stop it."""

from __future__ import annotations

import os
from typing import Any

from koopscope import messages
from koopscope.errors import KoopscopeError
from koopscope.integrations.tracker import Tracker

try:
    from lightning.pytorch.callbacks import Callback
except ImportError:
    try:
        from pytorch_lightning.callbacks import Callback
    except ImportError:
        raise KoopscopeError(
            "koopscope.integrations.lightning needs Lightning, which is not installed",
            "pip install lightning",
        ) from None


class KoopscopeCallback(Callback):  # type: ignore[misc, unused-ignore]
    """Record a snapshot every so many epochs or steps of ``trainer.fit``.

    Parameters
    ----------
    path
        The run file.
    verbose
        Say when training is stopped.
    **options
        See ``koopscope.integrations.Tracker``: ``every_n_epochs``, ``every_n_steps``, ``include``,
        ``exclude``, ``metadata``, ``shards``, ``mode``, ``stop_on_convergence``, ``act_on``,
        ``patience``, ``start_from_epoch``.

    Attributes
    ----------
    stopped_epoch
        The epoch at which training was stopped, counted from 0 as Lightning does; 0 if it was not.
    stopping_reason_message
        Why, in words.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, verbose: bool = False, **options: Any
    ) -> None:
        super().__init__()
        self.verbose = verbose
        self.stopped_epoch = 0
        self.stopping_reason_message: str | None = None
        self._path, self._options = path, options
        self._tracker: Tracker | None = None

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Record the weights that training begins with."""
        # Only now do the ranks know each other.
        self._tracker = Tracker(self._path, **self._options)
        self._tracker.start(int(trainer.global_step), pl_module)

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Take a snapshot if one is due after this step."""
        tracker, step = self._tracker, int(trainer.global_step)
        if tracker is not None and tracker.wants(step=step):
            tracker.take(step, pl_module, epoch=trainer.current_epoch, **_metrics(trainer))
            self._stop_if_told(trainer, tracker)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Take a snapshot if one is due after this epoch."""
        tracker, epoch = self._tracker, trainer.current_epoch + 1
        if tracker is not None and tracker.wants(epoch=epoch):
            tracker.take(int(trainer.global_step), pl_module, epoch=epoch, **_metrics(trainer))
            self._stop_if_told(trainer, tracker)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Write what is not yet written."""
        if self._tracker is not None:
            self._tracker.close()

    def _stop_if_told(self, trainer: Any, tracker: Tracker) -> None:
        if tracker.should_stop:
            trainer.should_stop = True
            self.stopped_epoch = int(trainer.current_epoch)
            self.stopping_reason_message = tracker.stopping_reason_message
            if self.verbose and trainer.is_global_zero:
                messages.tell(f"Epoch {self.stopped_epoch}: {self.stopping_reason_message}")


def _metrics(trainer: Any) -> dict[str, float]:
    """Return what was logged, under the conventional names where there are such."""
    from koopscope.runs.names import conventional

    return {conventional(name): float(value) for name, value in trainer.callback_metrics.items()}
