"""Say something to whoever runs a training: the one way in which recording speaks.

Recording runs inside other people's programs, which decide what becomes of its words: warnings can
be filtered, and what is merely worth knowing goes to the logger ``koopscope``. Never raises, unless
the caller has asked for warnings to be errors.
"""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path

from koopscope.inert import inert

_LOGGER = logging.getLogger("koopscope")


def warn(message: str) -> None:
    """Warn of something that costs data or changes where they go, at the training loop's line."""
    warnings.warn(inert(message), RuntimeWarning, stacklevel=_level_of_caller())


def tell(message: str) -> None:
    """Tell something that was asked for: to the program's log, or stderr where it keeps none."""
    if not _LOGGER.hasHandlers():
        _LOGGER.addHandler(logging.StreamHandler())
        _LOGGER.setLevel(logging.INFO)
    _LOGGER.info(inert(message))


def _level_of_caller() -> int:
    """Return the ``stacklevel`` at which a warning names the training loop, not this package."""
    here = str(Path(__file__).parent)
    level, frame = 0, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(here):
        level, frame = level + 1, frame.f_back
    return level + 1
