"""Open whatever the user named as a run: the one place that decides which reader reads it."""

from __future__ import annotations

import os

from koopscope.runs.run import Run
from koopscope.runs.runfile import RunFile


def open_run(path: str | os.PathLike[str]) -> Run:
    """Open a recorded run.

    Parameters
    ----------
    path
        A run file.

    Raises
    ------
    KoopscopeError
        If it cannot be read, or nothing here knows how to read it.
    """
    return RunFile(path)
