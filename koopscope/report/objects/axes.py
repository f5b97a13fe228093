"""Axes to draw a result on: those that are given, or new ones that a notebook shows by itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from matplotlib.axes import Axes

from koopscope.errors import KoopscopeError
from koopscope.report.figures.style import styled

#: Size of new axes with their labels, in inches.
_SIZE = (4.6, 2.7)


@contextmanager
def drawing_on(ax: Axes | None) -> Iterator[Axes]:
    """Yield axes inside the style of all figures, which ends with the drawing.

    New axes belong to pyplot, unlike the figures of reports: that is where a notebook looks for
    what it should show.
    """
    with styled():
        if ax is None:
            from matplotlib import pyplot

            _, ax = pyplot.subplots(figsize=_SIZE, layout="constrained")
        yield ax


def checked_choice(asked: str, known: Iterable[str], what: str) -> None:
    """Refuse what cannot be drawn.

    Raises
    ------
    KoopscopeError
        If there is no panel of this name.
    """
    known = list(known)
    if asked not in known:
        raise KoopscopeError(f"there is no {what} {asked!r}", f"there are: {', '.join(known)}")
