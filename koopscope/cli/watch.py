"""``koopscope watch``: shows a live panel while another process records."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from statistics import median

import click

from koopscope.cli import console, interruption
from koopscope.cli.reading import Reading, run_options
from koopscope.errors import KoopscopeError

#: Intervals between snapshots from which the usual one is taken.
_REMEMBERED = 20


@click.command("watch")
@click.argument("run", metavar="RUN")
@click.option("--once", is_flag=True, help="Print one frame and exit.")
@click.option(
    "--interval",
    type=click.FloatRange(0.05),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="Look for new snapshots this often.",
)
@click.option(
    "--idle",
    type=click.FloatRange(0.0),
    metavar="SECONDS",
    help="Exit when nothing was recorded for this long; without it, watch until Ctrl-C.",
)
@run_options
def command(run: str, once: bool, interval: float, idle: float | None, reading: Reading) -> None:
    """Watch a RUN while it is being recorded: eigenvalues, convergence, findings.

    RUN need not exist yet. Watching never locks the file, and each new snapshot costs one row of
    the Gram matrix; of more than 500 snapshots every second is judged, or every fourth, and so on.
    Where stdout is not a terminal, one line is printed per look that found
    something new.
    """
    from koopscope.report.watch_frame import recording, render

    watcher = Watcher(run, reading)
    if once:
        watcher.look()
        if watcher.seen.diagnosis is None:
            raise KoopscopeError(
                f"{run} cannot be watched yet: {watcher.seen.trouble or 'it has no snapshot'}",
                watcher.hint or "leave out --once to wait for its first snapshot",
            )
        console.result(render(watcher.seen, console.page()) + "\n")
        return

    # A flag, not an exception: raised inside HDF5's calls back to us, one would be lost.
    # The second is one: a look at a large run may take long.
    def stop(*_: object) -> None:
        interruption.listen()
        watcher.stop()

    before = signal.signal(signal.SIGINT, stop)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            if sys.stdout.isatty():
                _show(watcher, interval, idle)
            else:
                for _ in watcher.looks(interval, idle):
                    if not console.result(recording(watcher.seen) + "\n"):
                        break
    finally:
        interruption.taken()
        signal.signal(signal.SIGINT, before)
    console.say(f"Stopped watching {run}: {recording(watcher.seen)}.")


def _show(watcher: Watcher, interval: float, idle: float | None) -> None:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from koopscope.report.watch_frame import render

    terminal = Console()
    # Not redirected: what rich puts in stdout's place has no encoding, and nobody else writes.
    with Live(console=terminal, auto_refresh=False, screen=False, redirect_stdout=False) as live:
        for _ in watcher.looks(interval, idle, every=True):
            height = max(4, shutil.get_terminal_size().lines - 1)
            frame = render(watcher.seen, console.page(), height)
            live.update(Text.from_ansi(frame), refresh=True)


class Watcher:
    """Looks at a run again and again, and keeps time.

    Parameters
    ----------
    run
        As the user named it.
    reading
        How it is to be read.

    Attributes
    ----------
    seen
        What the last look found.
    hint
        What to do about the trouble that it found, if there is anything but waiting.
    """

    def __init__(self, run: str, reading: Reading) -> None:
        from koopscope.analysis.follow import Follower
        from koopscope.report.watch_frame import Watched

        self.seen = Watched(run)
        self.hint: str | None = None
        self._follower = Follower(run, opener=reading.opened)
        self._intervals: list[float] = []
        self._last_news: float | None = None
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End ``looks`` after the current one."""
        self._stopped.set()

    def looks(self, interval: float, idle: float | None, every: bool = False) -> Iterator[None]:
        """Look every ``interval`` seconds; yield after news, or after every look."""
        began = time.monotonic()
        while True:
            news = self.look()
            if news or every:
                yield
            quiet = time.monotonic() - max(began, self._last_news or began)
            if idle is not None and quiet >= idle:
                return
            if self._stopped.wait(interval):
                return

    def look(self) -> bool:
        """Look once; return whether there was something new."""
        from koopscope.diagnostics.diagnosis import diagnose

        before = self._follower.recorded
        try:
            changed = self._follower.look()
            analysis = self._follower.analysis
            diagnosis = diagnose(analysis) if changed and analysis else self.seen.diagnosis
            news = changed or self._follower.recorded != before
            trouble, self.hint = None, None
        except (KoopscopeError, OSError) as error:
            news, diagnosis, trouble = False, self.seen.diagnosis, str(error)
            # A file that is not there yet needs no advice but to wait.
            self.hint = getattr(error, "hint", None) if os.path.exists(self.seen.path) else None
        if news:
            self._note_arrival(self._follower.recorded - before)
        self.seen = replace(
            self.seen,
            diagnosis=diagnosis,
            recorded=self._follower.recorded,
            every=self._follower.every,
            trouble=trouble,
            quiet_seconds=self._quiet_seconds(),
            usual_seconds=median(self._intervals) if self._intervals else None,
        )
        return news

    def _note_arrival(self, count: int) -> None:
        now = time.monotonic()
        if self._last_news is not None and count > 0:
            self._intervals.append((now - self._last_news) / count)
            del self._intervals[:-_REMEMBERED]
        self._last_news = now

    def _quiet_seconds(self) -> float | None:
        if self._intervals and self._last_news is not None:
            return time.monotonic() - self._last_news
        try:  # recorded before anybody watched
            return max(0.0, time.time() - os.stat(self.seen.path).st_mtime)
        except OSError:
            return None
