"""The streams of the command: results on stdout, everything else on stderr.

The only module that looks at terminals and at the environment; it must stay as quick to import as
``--help`` is to print.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

import click

from koopscope.errors import KoopscopeError
from koopscope.inert import inert, inert_report

if TYPE_CHECKING:
    from rich.progress import Progress

    from koopscope.engine.source import ProgressListener
    from koopscope.report.text.terminal_style import Page

#: A progress bar appears only for what takes longer than this.
PATIENCE_SECONDS = 1.0

#: Columns for the title of a progress bar; the bar itself needs the rest.
WIDEST_TITLE = 34

#: Narrower terminals are written to as if they had this many columns.
NARROWEST = 40


@dataclass(frozen=True)
class Flags:
    """What the flags that every verb shares ask for; click's context carries them as ``obj``."""

    quiet: bool = False
    verbose: bool = False
    debug: bool = False


def set_up() -> None:
    """Make both streams write any name: what the encoding lacks is spelled out, never an error.

    What goes to a stream that the caller has closed goes nowhere.
    """
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def page() -> Page:
    """Return what stdout can show; piped, it has no width, and no name is ever cut."""
    from koopscope.report.text.terminal_style import Page

    is_terminal = sys.stdout.isatty()
    styled = is_terminal and os.environ.get("TERM") != "dumb"
    return Page(
        width=max(NARROWEST, shutil.get_terminal_size().columns) if is_terminal else None,
        unicode=_writes_unicode(sys.stdout),
        styled=styled,
        coloured=styled and not os.environ.get("NO_COLOR"),
    )


def _writes_unicode(stream: TextIO) -> bool:
    try:
        "⣿→λ●".encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def result(text: str, *, commands: bool = False) -> bool:
    """Write a result to stdout; return whether somebody still reads there.

    What the text names from files is made inert, unless its ``commands`` are meant for a CI.

    A reader that left (``| grep -q``) is no error: the verb goes on to its own exit code.
    """
    try:
        sys.stdout.write(text if commands else inert_report(text))
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return False
    return True


def complain(message: str, hint: str | None = None, kind: str = "error") -> None:
    """Write an error or a warning, and what to do about it, to stderr."""
    _to_stderr(f"{kind}: {message}")
    if hint:
        _to_stderr(f"hint: {hint}")


def complain_of(error: KoopscopeError) -> None:
    """Write an expected failure to stderr."""
    complain(error.message, error.hint)


def say(sentence: str) -> None:
    """Write a remark to stderr, unless the user asked for silence."""
    if not _flags().quiet:
        _to_stderr(sentence)


def _to_stderr(line: str) -> None:
    with contextlib.suppress(OSError):  # nobody can be told
        click.echo(inert(line), err=True)


def say_more(sentence: str) -> None:
    """Write a remark to stderr that only ``--verbose`` wants."""
    if _flags().verbose:
        say(sentence)


def _flags() -> Flags:
    context = click.get_current_context(silent=True)
    return (context.find_object(Flags) if context else None) or Flags()


@contextlib.contextmanager
def progress(title: str, total_bytes: int) -> Iterator[ProgressListener | None]:
    """Give a listener that counts bytes and shows a bar on stderr once it takes long.

    There is no listener where there is nobody to watch: stderr is not a terminal, or the user asked
    for silence.
    """
    if not sys.stderr.isatty() or _flags().quiet:
        yield None
        return
    bar = _Bar(title, total_bytes)
    try:
        yield bar.advance
    finally:
        bar.close()


class _Bar:
    """A rich progress bar, shown only once the work has taken ``PATIENCE_SECONDS``."""

    def __init__(self, title: str, total_bytes: int) -> None:
        title = inert(title)
        cut = len(title) > WIDEST_TITLE
        self._title = f"{title[:8]}...{title[11 - WIDEST_TITLE :]}" if cut else title
        self._total = total_bytes
        self._done = 0
        self._began = time.monotonic()
        self._shown: Progress | None = None

    def advance(self, count: int) -> None:
        self._done += count
        if self._shown is None and time.monotonic() - self._began > PATIENCE_SECONDS:
            self._show()
        if self._shown is not None:
            self._shown.update(self._task, completed=self._done)

    def _show(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        shown = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = shown.add_task(self._title, total=self._total)
        shown.start()
        self._shown = shown

    def close(self) -> None:
        if self._shown is not None:
            self._shown.stop()
