"""Where the ``koopscope`` command begins: Ctrl-C just ends it until there is more to do.

A module of its own beside the package, so that no other has to be found and loaded before its first
line, during which Ctrl-C would still be a traceback. For the same reason it takes ``_signal``:
``signal`` loads enum, functools and collections. ``koopscope.cli.main`` gives Ctrl-C its meaning.
"""

try:
    import _signal as signals  # type: ignore[import-not-found]
except ImportError:  # another Python than CPython
    import signal as signals

if signals.getsignal(signals.SIGINT) is signals.default_int_handler:
    signals.signal(signals.SIGINT, signals.SIG_DFL)


def main() -> None:
    """Run the command line and exit."""
    from koopscope.cli.main import main as run

    run()
