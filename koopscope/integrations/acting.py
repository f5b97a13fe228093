"""Acts on findings while a run is being recorded: stop, warn, or call a function of the user's.

Asks the same questions, by the same names, as ``koopscope analyze`` asks afterwards. An error of
its own, or of the function, becomes a warning and never ends a training.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any, Literal

from koopscope import messages
from koopscope._threads import product_threads
from koopscope.analysis.follow import Follower
from koopscope.diagnostics.finding import Finding
from koopscope.diagnostics.registry import DIAGNOSTICS
from koopscope.errors import KoopscopeError

#: What to do about a finding that warns, fails or advises to stop; a function that returns ``True``
#: stops the training.
Reaction = Literal["stop", "warn"] | Callable[[Finding], Any]


def questions(act_on: Mapping[str, Reaction]) -> dict[str, Reaction]:
    """Return the reactions by the id of a finding; codes are understood as well.

    Raises
    ------
    KoopscopeError
        If there is no such finding, or a reaction is none.
    """
    known = {name: each.id for each in DIAGNOSTICS for name in (each.id, each.code)}
    found: dict[str, Reaction] = {}
    for name, reaction in act_on.items():
        if name not in known:
            close = get_close_matches(name, known, n=1)
            raise KoopscopeError(
                f"act_on: there is no finding {name!r}",
                f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(known)}",
            )
        if reaction not in ("stop", "warn") and not callable(reaction):
            raise KoopscopeError(
                f"act_on: {reaction!r} is nothing to do about {name}",
                "give 'stop', 'warn' or a function that takes the finding",
            )
        found[known[name]] = reaction
    return found


class FindingWatch:
    """Findings on a growing run, and what the user wants done about them.

    Parameters
    ----------
    follower
        Reads the run file that the same training records.
    act_on
        Reactions by the id of a finding; see ``questions``.
    patience
        Snapshots for which a finding has to last before training is stopped.

    Attributes
    ----------
    stopped_by
        The finding that training was stopped for, ``None`` before.
    """

    def __init__(self, follower: Follower, act_on: Mapping[str, Reaction], patience: int) -> None:
        self.stopped_by: Finding | None = None
        self._follower, self._act_on, self._patience = follower, act_on, patience
        self._asked = [each for each in DIAGNOSTICS if each.id in act_on]
        self._lasts: dict[str, int] = {}
        self._warned = False

    @product_threads(1)
    def should_stop(self) -> bool:
        """Ask again, react to what is new, and return whether training should stop now."""
        try:
            self._follower.look()
            analysis = self._follower.analysis
            findings = [] if analysis is None else [each.ask(analysis) for each in self._asked]
        except Exception as error:  # a finding is not worth a training run
            self._warn_once(f"findings on {self._follower.path} are not known: {error}")
            return False
        for finding in findings:
            if finding.status not in ("warn", "fail") and finding.action.do != "stop":
                self._lasts[finding.id] = 0
                continue
            self._lasts[finding.id] = self._lasts.get(finding.id, 0) + 1
            if self._reacts(finding) and self.stopped_by is None:
                self.stopped_by = finding
        return self.stopped_by is not None

    def _reacts(self, finding: Finding) -> bool:
        """React to a finding that calls for something; return whether to stop."""
        reaction, lasts = self._act_on[finding.id], self._lasts[finding.id]
        if reaction == "stop":
            return lasts > self._patience
        if lasts > 1:  # it was told when it came
            return False
        if callable(reaction):
            try:
                return reaction(finding) is True
            except Exception as error:
                messages.warn(f"the function for {finding.id} failed: {error}")
                return False
        advice = f" Do: {finding.action.line}." if finding.action.line else ""
        messages.warn(f"{finding.id}: {finding.message}{advice}")
        return False

    def _warn_once(self, sentence: str) -> None:
        if not self._warned:
            self._warned = True
            messages.warn(sentence)
