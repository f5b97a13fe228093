"""Where the ``koopscope`` command begins: Ctrl-C ends it quietly while it is still being loaded."""

# Only the entry points import this module. ``main`` gives Ctrl-C its meaning. ``signal`` itself
# loads enum, functools and collections first, in which Ctrl-C would still be a traceback.
try:
    import _signal as signals  # type: ignore[import-not-found]
except ImportError:  # another Python than CPython
    import signal as signals

if signals.getsignal(signals.SIGINT) is signals.default_int_handler:
    signals.signal(signals.SIGINT, signals.SIG_DFL)

from koopscope.cli.main import main

__all__ = ["main"]
