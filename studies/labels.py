"""What really became of a run: labels from its losses, its second half and its siblings.

No rule may see any of this. A sibling is a run of the same family and data variant: what the best
of them reached in as many steps is what the task allowed.
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
#: Validation counts where it came at least this far below the loss of a constant answer.
GENERALIZES = 0.1
#: Still training: training on lowers the loss by this share of all there is to learn, or ...
GAIN_OF_TASK = 0.02
#: ... by this share of what the run itself has learned so far.
GAIN_OF_OWN = 0.2


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
    generalized
        Whether its validation loss fell clearly below that of a constant answer: only then does
        the excess validation loss at a stop mean anything.
    state
        ``training``, ``converged``, ``stalled`` or ``diverging`` at the end of the budget.
    gain
        What training on for as long again brought, as a share of all there is to learn.
    val_loss
        Validation loss at every recorded snapshot.
    best_val
        Its least value in the recorded half.
    """

    learned: float
    bad: bool
    generalized: bool
    state: str
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


def truth(
    run: Mapping[str, Any], siblings: Sequence[Mapping[str, Any]], chance: tuple[float, float]
) -> Truth:
    """Label a run, given all runs of its family and variant, and the losses of a constant answer.

    ``chance`` holds the training and the validation loss of the best constant answer: what a
    network knows beyond it is what it has learned.
    """
    count = run["snapshots"]
    steps = run["steps"][count - 1]
    train, val = _filled(run["train_loss"]), _filled(run["val_loss"][:count])
    now, later = _ending(train, count), _ending(train, len(train))
    learned = [(chance[0] - now) / (chance[0] - _envelope(siblings, "train_loss", steps))]
    val_room = chance[1] - _envelope(siblings, "val_loss", steps)
    if val_room > GENERALIZES * chance[1]:
        learned.append((chance[1] - float(val.min())) / val_room)
    room = chance[0] - best_train(siblings)
    return Truth(
        learned=min(learned),
        bad=min(learned) < LEARNED_ENOUGH,
        generalized=float(val.min()) < (1.0 - GENERALIZES) * chance[1],
        state=_state(train, count, chance[0], room),
        gain=(now - later) / room if np.isfinite(now) else -np.inf,
        val_loss=val,
        best_val=float(val.min()),
    )


def best_train(siblings: Sequence[Mapping[str, Any]]) -> float:
    """Return the least training loss that any sibling reached in its budget."""
    return _envelope(siblings, "train_loss", 10**9)


def state_at(run: Mapping[str, Any], end: int, chance: float, best: float) -> str:
    """Return the state at snapshot ``end``, known from training on for as long again."""
    train = _filled(run["train_loss"])[: 2 * end + 1]
    return _state(train, end + 1, chance, chance - best)


def _state(train: Floats, count: int, chance: float, room: float) -> str:
    now, later = _ending(train, count), _ending(train, len(train))
    if not np.isfinite(now) or not np.isfinite(later):
        return "diverging"
    noise = float(np.std(np.diff(train[count - 10 : count], n=2))) / np.sqrt(6.0)
    if max(now, later) > max(chance, train[0]) + 0.1 * room + 3.0 * noise:
        return "diverging"
    gain, own = now - later, float(train[0]) - now
    if gain > GAIN_OF_TASK * room:
        return "training"
    if own > 0.0 and gain > GAIN_OF_OWN * own and gain > 3.0 * noise:
        return "training"
    return "converged" if (chance - now) / room >= LEARNED_ENOUGH else "stalled"
