"""Where the ``koopscope`` command begins: Ctrl-C ends it quietly while it is still being loaded."""

import signal

# Only the entry points import this module. ``main`` gives Ctrl-C its meaning.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from koopscope.cli.main import main

__all__ = ["main"]
