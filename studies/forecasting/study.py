"""Forecast real runs from their own past and hold it against what came: every run, every horizon.

The healthy runs of ``runs.py`` and, where its folder is given, the whole yardstick with its
spoiled half. Written down per run: the median error over past moments, relative to no change, of
koopscope's forecasts and of the baselines; the error of the best combination of the window's own
increments in hindsight, which no forecast of this kind can undercut; and whether what was trusted
held.

    python -m studies.forecasting.study --cache FOLDER [--yardstick FOLDER]
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from koopscope.errors import KoopscopeError
from koopscope.forecasting.forecaster import Forecaster
from koopscope.forecasting.plan import ForecastSettings
from koopscope.runs.detect.opening import open_run
from koopscope.spectra.gram import total
from studies import plan
from studies.forecasting import runs

OUT = Path(__file__).with_name("backtests.csv")
TRUST = Path(__file__).with_name("trust.csv")

#: Operators, and the network's with PDT's acceptance test or its first half.
VARIANTS = {
    "network": ForecastSettings(),
    "layer": ForecastSettings(operator="layer"),
    "tensor": ForecastSettings(operator="tensor"),
    "node": ForecastSettings(operator="node"),
    "network, sign": ForecastSettings(accept="sign"),
    "network, pdt": ForecastSettings(accept="pdt"),
}
#: Parts of a run after which a forecast is made and trusted, or not.
CUTS = (0.6, 0.7, 0.8)
AHEAD = 10
HINDSIGHT = "hindsight"
ERRORS = ("forecast", "last step", "straight line", "exponential average", HINDSIGHT)
COLUMNS = ("set", "split", "run", "operator", "horizon", "tested", *ERRORS, "better")
TRUST_COLUMNS = ("set", "split", "run", "until", "trusted", "refused", "actual")

Row = dict[str, object]


def hindsight(forecaster: Forecaster, origin: int, horizon: int) -> float:
    """Return the error of the projection of what came on the increments of the window."""
    whole = total(forecaster._grams.values()).increments
    window = slice(origin + 1 - forecaster.plan.fitted, origin)
    ahead = slice(origin, origin + horizon)
    length = float(whole[ahead, ahead].sum())
    overlap = whole[window, ahead].sum(axis=1)
    inverse = np.linalg.pinv(whole[window, window], rcond=1e-10, hermitian=True)
    return float(np.sqrt(max(0.0, 1.0 - overlap @ inverse @ overlap / length)))


def backtests(path: Path, variant: str) -> Iterator[Row]:
    """Yield the median errors of one run at every tested horizon."""
    with open_run(path) as run:
        forecaster = Forecaster(run, VARIANTS[variant])
        test = forecaster.forecast().backtest
    for k, horizon in enumerate(test.horizons):
        known = test.origins[test.moved[:, k] > 0.0].tolist()
        if not known:
            continue
        scores = {name: test.score(name, k) for name in test.errors}
        row: Row = {"operator": variant, "horizon": int(horizon), "tested": test.tested(k)}
        row |= {name: f"{score.median:.4f}" for name, score in scores.items() if score}
        best = np.median([hindsight(forecaster, int(o), int(horizon)) for o in known])
        row[HINDSIGHT] = f"{best:.4f}"
        row["better"] = f"{scores['forecast'].better:.3f}" if scores["forecast"] else ""
        yield row


def trusted(path: Path) -> Iterator[Row]:
    """Yield what was trusted at the ``CUTS`` of one run, and what came."""
    with open_run(path) as run:
        steps = run.description.steps
        for cut in CUTS:
            until = int(steps[int(cut * (len(steps) - 1))])
            row: Row = {"until": until, "trusted": 0, "refused": "", "actual": ""}
            settings = ForecastSettings(ahead=AHEAD, until=until, beyond_trust=True)
            try:
                found = Forecaster(run, settings).forecast()
                row["trusted"] = int(found.is_trusted)
                row["actual"] = "" if found.actual is None else f"{found.actual:.4f}"
            except KoopscopeError as error:
                row["refused"] = error.message.partition(":")[0]
            yield row


def one(job: tuple[str, str, str, Path]) -> tuple[list[Row], list[Row]]:
    """Return everything about one run."""
    group, split, name, path = job
    label = {"set": group, "split": split, "run": name}
    tests: list[Row] = []
    for variant in ("network",) if group == "yardstick" else VARIANTS:
        try:
            tests += [label | row for row in backtests(path, variant)]
        except KoopscopeError as error:
            print(f"{name}: {error.message}", flush=True)
    return tests, [label | row for row in trusted(path)]


def jobs(cache: Path, yardstick: Path | None) -> Iterator[tuple[str, str, str, Path]]:
    """Yield every run: its set, its split, its name and file."""
    for run, path in runs.files(cache):
        group = f"healthy, every {run.spacing} steps" if run.spacing else "healthy, every epoch"
        yield group, "held out" if run.held_out else "tuning", run.name, path
    if yardstick is not None:
        for recipe in plan.all_recipes():
            split = "held out" if recipe.held_out else "tuning"
            yield "yardstick", split, recipe.name, yardstick / f"{recipe.name}.h5"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--yardstick", type=Path)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    with (
        ProcessPoolExecutor(options.workers) as pool,
        OUT.open("w", newline="") as tests_file,
        TRUST.open("w", newline="") as trust_file,
    ):
        tests = csv.DictWriter(tests_file, COLUMNS, lineterminator="\n")
        trust = csv.DictWriter(trust_file, TRUST_COLUMNS, lineterminator="\n")
        tests.writeheader()
        trust.writeheader()
        for found, held in pool.map(one, jobs(options.cache, options.yardstick)):
            tests.writerows(found)
            trust.writerows(held)


if __name__ == "__main__":
    main()
