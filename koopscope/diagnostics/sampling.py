"""Are there enough snapshots, evenly spaced, for the other findings to rest on?"""

from __future__ import annotations

from dataclasses import dataclass

from koopscope.analysis.analysis import Analysis
from koopscope.diagnostics.action import Action
from koopscope.diagnostics.evidence import Evidence
from koopscope.diagnostics.finding import Diagnostic, Explanation, Finding, Status
from koopscope.spectra.window import Window

#: Two increments make one pair, the least a spectrum can be fitted to.
LEAST_SNAPSHOTS = 3

#: Below this, a spectrum of rank 4 (what forecasts rest on) has fewer pairs than it has unknowns.
FEW_SNAPSHOTS = 10

#: So many make the intervals narrow enough to be of use.
RECOMMENDED = 20


@dataclass(frozen=True)
class SamplingEvidence(Evidence):
    """What the answer rests on: the window that is analysed.

    Attributes
    ----------
    snapshots, asked
        In the window, and in what was asked for.
    first_step, last_step, spacing_steps
        Of the window.
    evenly_spaced
        Whether all snapshots that were asked for are.
    """

    snapshots: int
    asked: int
    first_step: int
    last_step: int
    spacing_steps: float
    evenly_spaced: bool


def ask(analysis: Analysis) -> Finding:
    """Judge number and spacing of the snapshots in the window."""
    window = analysis.window
    steps = analysis.description.steps
    evidence = SamplingEvidence(
        snapshots=window.snapshots,
        asked=window.asked,
        first_step=int(steps[window.first]),
        last_step=int(steps[window.stop - 1]),
        spacing_steps=window.spacing_steps,
        evenly_spaced=window.evenly_spaced,
    )
    found = f"{window.snapshots} snapshot" + ("s" if window.snapshots != 1 else "")
    left_out = window.asked - window.snapshots

    def finding(status: Status, message: str, hint: str | None = None) -> Finding:
        return DIAGNOSTIC.finding(
            status,
            message,
            evidence,
            value=float(window.snapshots),
            threshold=float(max(FEW_SNAPSHOTS, window.asked) if left_out else FEW_SNAPSHOTS),
            hint=hint,
            action=_action(window) if status != "pass" else None,
        )

    if window.snapshots < LEAST_SNAPSHOTS:
        return finding(
            "inconclusive",
            f"{found} {'is' if window.snapshots == 1 else 'are'} too few for a spectrum: it takes "
            f"at least {LEAST_SNAPSHOTS}, evenly spaced.",
            "record more often",
        )
    if left_out:
        why, hint = (
            ("not finite", "look at the steps before the first NaN")
            if window.evenly_spaced
            else ("not evenly spaced", "record at a fixed number of steps")
        )
        return finding(
            "warn",
            f"The snapshots are {why} throughout, so only the longest usable stretch is analysed: "
            f"{window.snapshots} of {window.asked} snapshots, steps {steps[window.first]} to "
            f"{steps[window.stop - 1]}.",
            f"{hint}, or choose a stretch with --window",
        )
    if window.snapshots < FEW_SNAPSHOTS:
        return finding(
            "warn",
            f"{found} are few, so the other findings are uncertain: expect wide intervals.",
            f"record at least {RECOMMENDED} per run",
        )
    every = "step" if window.spacing_steps == 1 else f"{window.spacing_steps:g} steps"
    return finding("pass", f"{found}, one every {every}.")


def _action(window: Window) -> Action:
    """Record more, unless the snapshots are there and not finite."""
    if window.asked > window.snapshots and window.evenly_spaced:
        return Action()
    return Action("record_more", count=RECOMMENDED if window.asked < RECOMMENDED else None)


DIAGNOSTIC = Diagnostic(
    id="sampling",
    code="KS902",
    title="Snapshots",
    explanation=Explanation(
        asks="Are there enough snapshots, evenly spaced, for the other findings?",
        matters="From few snapshots every other number is uncertain.",
        looks_at=(
            "The number of snapshots and the steps between them. A run with uneven steps is "
            "analysed on its longest even stretch, and the finding says which."
        ),
        to_do="Record at least 20 snapshots per run, at a fixed number of steps.",
        accuracy="Exact: the snapshots are counted.",
        cannot_tell=(
            "It cannot tell whether the spacing is right for what you want to see: whatever "
            "changes faster than every second snapshot looks slower than it is."
        ),
    ),
    ask=ask,
    worse="lower",
    unit="snapshots",
    threshold=float(FEW_SNAPSHOTS),
)
