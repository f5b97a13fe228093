"""What is true of a run of the study, from what the rules never see.

The fault that was put in, the loss on the whole training set, a second half of the validation set,
and where the run went when it was trained on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from koopscope._types import Float64

#: A validation loss that ends this part of its gain above its value at the best step is over-fit.
OVERFIT = 0.05
#: A spike counts where the loss on the whole training set rises by this part of its gain.
SPIKED = 0.1
#: A rate was too high where the end is this part of what there was to learn above the best run.
TOO_HIGH = 0.25
#: A lower rate leaves a plateau where it gains this part of the whole gain more than the same rate.
LEFT = 0.01
#: A layer rests where it moves less than this part of its way while the run is trained on.
RESTS = 0.1
#: Budget was wasted where stopping cost no more than this part of the validation gain.
COSTS = 0.02


@dataclass(frozen=True)
class Truth:
    """Of one run; ``None`` where nothing is known of a question."""

    overfit: bool | None
    spiked: bool | None
    recovered: bool | None
    too_low: bool | None
    too_high: bool | None
    plateau: bool | None
    killed: Mapping[str, list[int]]
    idle_adapter: bool | None


def array(values: Any) -> Float64:
    return np.array([np.nan if v is None else v for v in values], float)


def truth(outcome: Mapping[str, Any], best_of_family: float) -> Truth:
    """Label one run, given the least training loss that any run of its family ended at."""
    recipe, train = outcome["recipe"], array(outcome["train_loss"])
    kind = recipe["kind"]
    spiked, recovered = _spike(outcome, train)
    return Truth(
        overfit=_overfit(outcome, train),
        spiked=spiked,
        recovered=recovered,
        too_low={"low": True, "healthy": False, "overfit": False}.get(kind),
        too_high=_too_high(kind, train, float(outcome["chance"][0]), best_of_family),
        plateau=_plateau(outcome, train),
        killed=outcome["killed"],
        idle_adapter=recipe["factor"] == 0.0 if kind == "lora" else None,
    )


def _overfit(outcome: Mapping[str, Any], train: Float64) -> bool | None:
    second = array(outcome["second_val_loss"])
    if not np.isfinite(second).all() or outcome["recipe"]["kind"] not in ("healthy", "overfit"):
        return None
    means = np.convolve(second, np.ones(5) / 5.0, "valid")
    gained = second[0] - means.min()
    lost = means[-1] - means.min()
    return bool(lost > OVERFIT * gained and train[-1] < train[int(np.argmin(means))])


def _spike(outcome: Mapping[str, Any], train: Float64) -> tuple[bool | None, bool | None]:
    kind, every = outcome["recipe"]["kind"], outcome["recipe"]["every"]
    if kind not in ("spike", "lasting"):
        quiet = kind in ("healthy", "low", "frozen", "dead") and np.isfinite(train).all()
        gained = train[0] - np.nanmin(train)
        return (False if quiet and np.diff(train)[3:].max() < 0.5 * SPIKED * gained else None), None
    before = (outcome["fault_steps"][0] - 1) // every
    last = min(len(train) - 1, 1 + (outcome["fault_steps"][-1] + every - 1) // every)
    gained = train[0] - np.nanmin(train[: before + 1])
    peak = train[before + 1 : last + 1]
    rose = not np.isfinite(peak).all() or peak.max() - train[before] > SPIKED * gained
    if not rose:
        return None, None
    back = float(np.mean(train[-5:])) - train[before]
    return True, bool(back < 0.25 * SPIKED * gained) if np.isfinite(back) else False


def _too_high(kind: str, train: Float64, chance: float, best: float) -> bool | None:
    if kind not in ("high", "healthy"):
        return None
    end = float(np.mean(train[-5:]))
    ruined = not np.isfinite(end) or end - best > TOO_HIGH * (chance - best)
    if kind == "healthy":
        return False if not ruined else None
    return ruined


def _plateau(outcome: Mapping[str, Any], train: Float64) -> bool | None:
    if "lower" not in outcome or not np.isfinite(train).all():
        return None
    same, lower = (
        float(np.mean(array(outcome[key]["train_loss"])[-3:])) for key in ("same", "lower")
    )
    gained = train[0] - train.min()
    if not np.isfinite(same + lower) or gained <= 0.0:
        return None
    return bool(same - lower > LEFT * gained)
