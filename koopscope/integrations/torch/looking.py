"""Tries several places to jump to, and goes to the best of them: jumps with a look."""

from __future__ import annotations

import math
from dataclasses import dataclass

from koopscope.integrations.torch.candidates import Candidate, Record, Way
from koopscope.integrations.torch.judging import Judge
from koopscope.integrations.torch.parameter_window import ParameterWindow


@dataclass(frozen=True)
class Look:
    """What a look found.

    Attributes
    ----------
    way, candidate
        The best; ``None`` is to stay.
    share
        Part of the weights that it moves.
    stay, loss
        The losses without and with it.
    """

    way: Way | None
    candidate: Candidate | None
    share: float
    stay: float
    loss: float


def look(
    window: ParameterWindow, judge: Judge, record: Record, tries: int, possible: bool = True
) -> Look:
    """Try so many candidates, leave the window's forecast at the best, the weights as they were.

    Every rank asks for as many losses as the others: what happens next depends on nothing else.
    """
    stay = judge.first_loss(possible)
    found = Look(None, None, 0.0, stay, stay)
    if not math.isfinite(stay):
        return found
    tried: list[tuple[Way, int, float]] = []
    formed: Candidate | None = None
    try:
        for way in record.ordered():
            level: int | None = max(way.level, way.shortest)
            while level is not None and len(tried) < tries and found.way in (None, way):
                formed = way.at(level)
                share = _go(window, formed)
                loss = judge.loss(share > 0.0)
                good = loss <= stay
                tried.append((way, level, loss if good else math.inf))
                if good:  # the farthest that is no worse: what comes of it shows later
                    found = Look(way, formed, share, stay, loss)
                    level = record.longer(level)
                elif found.way is way:
                    break
                else:
                    level = record.shorter(way, level)
            if found.way is not None or len(tried) >= tries:
                break
    finally:
        window.put_back()
    record.note(tried, found.way)
    if found.candidate is not None and found.candidate != formed:
        window.form(found.candidate)
    return found


def _go(window: ParameterWindow, candidate: Candidate) -> float:
    """Give the model a candidate's parameters; return the share that moved, 0 if none can."""
    try:
        share = window.form(candidate)
        if share:
            window.try_on()
        return share
    except Exception:  # the other ranks wait for this one's answer
        return 0.0
