"""Where commands begin that an earlier version has installed; see ``koopscope_command``."""

from koopscope_command import main

__all__ = ["main"]
