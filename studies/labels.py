"""What really became of a run: labels from its losses, its second half and its siblings.

No rule may see any of this. A sibling is a run of the same family and data variant: what the best
of them reached in as many steps is what the task allowed. What is close to the border between two
labels is marked as ambiguous, and not scored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

#: A run is bad if, beyond a constant answer, it learned less than this share of what its best
#: sibling learned in as many steps.
LEARNED_ENOUGH = 0.5
#: Shares this close to it are ambiguous.
LEARNED_UNCLEAR = 0.12
#: Validation counts where it came at least this far below the loss of a constant answer.
GENERALIZES = 0.1
#: Still training: training on lowers the loss by this share of all there is to learn, or ...
GAIN_OF_TASK = 0.02
#: ... by this share of what the run itself has learned so far.
GAIN_OF_OWN = 0.2
#: A state that is another one when these two are so many times larger or smaller is ambiguous.
UNCLEAR = 1.6


@dataclass(frozen=True)
class Truth:
    """The labels of one run.

    Attributes
    ----------
    learned
        Share of what the best sibling learned in as many steps: the smaller of the training loss
        at the end and the best validation loss, both counted from the loss of a constant answer.
    bad
        Whether it should have been restarted.
    bad_unclear
        Whether ``learned`` is too close to the border.
    generalized
        Whether its validation loss fell clearly below that of a constant answer: only then does
        the excess validation loss at a stop mean anything.
    state
        ``training``, ``converged``, ``stalled`` or ``diverging`` at the end of the budget.
    state_unclear
        Whether slightly other borders would give another state.
    gain
        What training on for as long again brought, as a share of all there is to learn.
    val_loss
        Validation loss at every recorded snapshot.
    best_val
        Its least value in the recorded half.
    """

    learned: float
    bad: bool
    bad_unclear: bool
    generalized: bool
    state: str
    state_unclear: bool
    gain: float
    val_loss: Floats
    best_val: float


def _filled(values: Sequence[float]) -> Floats:
    """Replace what is not a number by infinity, so that comparisons hold."""
    array = np.asarray(values, dtype=float)
    return np.where(np.isfinite(array), array, np.inf)


def _envelope(siblings: Sequence[Mapping[str, Any]], key: str, steps: int) -> float:
    """Return the least loss that any sibling had within ``steps`` optimizer steps of its budget."""
    least = np.inf
    for sibling in siblings:
        count = sibling["snapshots"]
        within = np.asarray(sibling["steps"][:count]) <= steps
        least = min(least, float(_filled(sibling[key][:count])[within].min()))
    return least


def _ending(values: Floats, stop: int) -> float:
    return float(np.median(values[max(0, stop - 5) : stop]))


def truth(run: Mapping[str, Any], siblings: Sequence[Mapping[str, Any]]) -> Truth:
    """Label a run, given all runs of its family and variant that started from scratch.

    ``run["chance"]`` holds the training and the validation loss of the best constant answer: what
    a network knows beyond it is what it has learned.
    """
    chance = run["chance"]
    count = run["snapshots"]
    steps = run["steps"][count - 1]
    train, val = _filled(run["train_loss"]), _filled(run["val_loss"][:count])
    now = _ending(train, count)
    learned = [_share(chance[0] - now, chance[0] - _envelope(siblings, "train_loss", steps))]
    val_room = chance[1] - _envelope(siblings, "val_loss", steps)
    if val_room > GENERALIZES * abs(chance[1]):
        learned.append(_share(chance[1] - float(val.min()), val_room))
    best = best_train(siblings)
    states = {state_at(run, count - 1, best, factor) for factor in (1.0, UNCLEAR, 1.0 / UNCLEAR)}
    return Truth(
        learned=min(learned),
        bad=min(learned) < LEARNED_ENOUGH,
        bad_unclear=abs(min(learned) - LEARNED_ENOUGH) < LEARNED_UNCLEAR,
        generalized=float(val.min()) < chance[1] - GENERALIZES * abs(chance[1]),
        state=state_at(run, count - 1, best),
        state_unclear=len(states) > 1,
        gain=_share(now - _ending(train, len(train)), chance[0] - best),
        val_loss=val,
        best_val=float(val.min()),
    )


def _share(part: float, whole: float) -> float:
    return part / whole if np.isfinite(part) and whole > 0.0 else -np.inf


def best_train(siblings: Sequence[Mapping[str, Any]]) -> float:
    """Return the least training loss that any sibling reached in its budget."""
    return _envelope(siblings, "train_loss", 10**9)


def state_at(run: Mapping[str, Any], end: int, best: float, factor: float = 1.0) -> str:
    """Return the state at snapshot ``end``, known from training on for as many steps again.

    ``best`` is what the best sibling reached; ``factor`` moves the borders of "still training".
    """
    chance = run["chance"][0]
    steps = np.asarray(run["steps"])
    stop = int(np.searchsorted(steps, 2 * steps[end], side="right"))
    return _state(_filled(run["train_loss"])[:stop], end + 1, chance, chance - best, factor)


def _state(train: Floats, count: int, chance: float, room: float, factor: float) -> str:
    now, later = _ending(train, count), _ending(train, len(train))
    if not np.isfinite(now) or not np.isfinite(later):
        return "diverging"
    recent = train[max(0, count - 10) : count]
    recent = recent[np.isfinite(recent)]
    noise = float(np.std(np.diff(recent, n=2))) / np.sqrt(6.0) if len(recent) > 2 else 0.0
    if max(now, later) > max(chance, train[0]) + 0.1 * room + 3.0 * noise:
        return "diverging"
    gain, own = now - later, float(train[0]) - now
    if gain > factor * GAIN_OF_TASK * room:
        return "training"
    if own > 0.0 and gain > factor * GAIN_OF_OWN * own and gain > 3.0 * noise:
        return "training"
    return "converged" if (chance - now) / room >= LEARNED_ENOUGH else "stalled"
