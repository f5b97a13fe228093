"""Log what koopscope says of a run where its curves are already: one call for each tracker.

    diagnosis = koopscope.analyze("run.h5")
    log_to_tensorboard(diagnosis, "logs/run")   # or a SummaryWriter of your own
    log_to_wandb(diagnosis)                     # the run that wandb.init() began
    log_to_mlflow(diagnosis)                    # the active run
    log_to_trackio(diagnosis)                   # the run that trackio.init() began

Each logs every finding's number and status, the leading eigenvalues, the advice, the pictures of
``koopscope analyze --plots`` and, where the tracker keeps files, the JSON and the HTML report. What
the caller did wrong raises; what the tracker cannot do then is a warning, so that a server that is
down ends no training.
"""

from __future__ import annotations

from koopscope.loggers.mlflow import log_to_mlflow
from koopscope.loggers.tensorboard import log_to_tensorboard
from koopscope.loggers.trackio import log_to_trackio
from koopscope.loggers.wandb import log_to_wandb

__all__ = ["log_to_mlflow", "log_to_tensorboard", "log_to_trackio", "log_to_wandb"]
