"""From the study's rows to what docs/evidence/forecasting.md shows: tables, and a figure.

python -m studies.forecasting.summary
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from koopscope.report.figures.style import COLORS, DASHES, INK, new_figure, styled, to_bytes

HERE = Path(__file__).parent
PICTURE = Path(__file__).parents[2] / "docs" / "evidence" / "forecasting.png"

SETS = ("healthy, every epoch", "healthy, every 40 steps", "yardstick")
#: Tested horizons in snapshots, by what part of the window of 20 they are.
HORIZONS = {5: "a quarter", 10: "a half", 19: "a whole"}
METHODS = ("forecast", "last step", "straight line", "exponential average", "hindsight")
VARIANTS = ("network", "layer", "tensor", "node", "network, sign", "network, pdt")

Rows = list[dict[str, str]]


def read(name: str) -> Rows:
    """Return the rows of one committed file."""
    with (HERE / f"{name}.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def chosen(rows: Rows, group: str, split: str, horizon: int, operator: str = "network") -> Rows:
    """Return one row per run."""
    return [
        row
        for row in rows
        if (row["set"], row["split"], row["operator"]) == (group, split, operator)
        and int(row["horizon"]) == horizon
    ]


def errors(rows: Rows, method: str) -> np.ndarray:
    """Return float64 [runs]: each run's median error over its past moments."""
    return np.array([float(row[method]) for row in rows])


def backtest_table(rows: Rows, split: str = "held out") -> Iterator[str]:
    """Yield the table of errors: the whole distribution of the forecast's, medians of the rest."""
    yield (
        "| runs | ahead | forecast: 10% · 25% · **50%** · 75% · 90% of the runs | last step | "
        "straight line | exp. average | hindsight |"
    )
    yield "|---|---|---|---|---|---|---|"
    for group in SETS:
        for horizon, part in HORIZONS.items():
            found = chosen(rows, group, split, horizon)
            spread = np.quantile(errors(found, "forecast"), [0.1, 0.25, 0.5, 0.75, 0.9])
            low, lower, middle, upper, high = (f"{value:.2f}" for value in spread)
            others = " | ".join(f"{np.median(errors(found, name)):.2f}" for name in METHODS[1:])
            yield (
                f"| {len(found)} {group} | {part} window | {low} · {lower} · **{middle}** · "
                f"{upper} · {high} | {others} |"
            )


def operator_table(rows: Rows, split: str = "held out") -> Iterator[str]:
    """Yield the table of variants: median errors at half a window and a whole one."""
    yield "| runs | " + " | ".join(VARIANTS) + " |"
    yield "|---|" + "---|" * len(VARIANTS)
    for group in SETS[:2]:
        cells = []
        for operator in VARIANTS:
            half, whole = (
                np.median(errors(chosen(rows, group, split, k, operator), "forecast"))
                for k in (10, 19)
            )
            cells.append(f"{half:.2f} · {whole:.2f}")
        yield f"| {group} | " + " | ".join(cells) + " |"


def trust_table(rows: Rows, split: str = "held out") -> Iterator[str]:
    """Yield the table of trust: what was trusted before it came, and what came."""
    yield (
        "| runs | forecasts | trusted | of these better than no change | their median error | "
        "not trusted | of these better than no change | their median error | refused as growing |"
    )
    yield "|---|---|---|---|---|---|---|---|---|"
    for group in SETS:
        mine = [row for row in rows if (row["set"], row["split"]) == (group, split)]
        made = [row for row in mine if row["actual"]]
        cells = []
        for trusted in ("1", "0"):
            came = np.array([float(row["actual"]) for row in made if row["trusted"] == trusted])
            share = f"{np.mean(came < 1.0):.0%}" if len(came) else "–"
            cells += [f"{len(came)}", share, f"{np.median(came):.2f}" if len(came) else "–"]
        growing = sum(row["refused"] == "the motion grows" for row in mine)
        yield f"| {group} | {len(made)} | " + " | ".join(cells) + f" | {growing} |"


def floor(rows: Rows) -> str:
    """Return the sentence on what the order of the minibatches decides."""
    left = np.array([float(row["floor"]) for row in rows if row["held_out"] == "1"])
    quartiles = np.quantile(left, [0.25, 0.5, 0.75])
    return f"{quartiles[1]:.2f} in the median (quartiles {quartiles[0]:.2f} and {quartiles[2]:.2f})"


def headlines(rows: Rows) -> Iterator[str]:
    """Yield what half a window ahead comes to: over all healthy runs, and run by run."""
    for split in ("held out", "tuning"):
        for groups, what in ((SETS[:2], "healthy"), (SETS[2:], "yardstick")):
            found = [row for group in groups for row in chosen(rows, group, split, 10)]
            ours, line = errors(found, "forecast"), errors(found, "straight line")
            average, best = errors(found, "exponential average"), errors(found, "hindsight")
            yield (
                f"{len(found)} {what} runs, {split}: median {np.median(ours):.2f}, hindsight "
                f"{np.median(best):.2f}; nearer than the straight line in {np.sum(ours < line)}, "
                f"than the average in {np.sum(ours < average)}, than no change in "
                f"{np.sum(ours < 1.0)}"
            )


def tables() -> str:
    """Return everything that the page holds of the study."""
    tests, trust = read("backtests"), read("trust")
    parts = [backtest_table(tests), headlines(tests), operator_table(tests), trust_table(trust)]
    return "\n\n".join("\n".join(part) for part in parts) + f"\n\n{floor(read('twins'))}\n"


def figure() -> bytes:
    """Draw errors against the horizon, and over the runs at half a window."""
    rows = read("backtests")
    with styled():
        picture = new_figure(3.2)
        left, right = picture.subplots(1, 2, width_ratios=(1.0, 1.15))
        groups = SETS[:2]
        by_method: dict[str, list[np.ndarray]] = defaultdict(list)
        for horizon in HORIZONS:
            found = [row for group in groups for row in chosen(rows, group, "held out", horizon)]
            for name in METHODS:
                by_method[name].append(errors(found, name))
        for k, name in enumerate(METHODS):
            medians = [np.median(values) for values in by_method[name]]
            left.plot(
                list(HORIZONS), medians, DASHES[k % 4], color=COLORS[k], marker="o", label=name
            )
        spread = np.array([np.quantile(v, [0.25, 0.75]) for v in by_method["forecast"]])
        left.fill_between(list(HORIZONS), *spread.T, color=COLORS[0], alpha=0.2, linewidth=0.0)
        left.axhline(1.0, color=INK, linewidth=0.8, linestyle=":")
        left.set_title("84 held-out healthy runs")
        left.set_xlabel("snapshots ahead (window: 20)")
        left.set_ylabel("median error, no change = 1")
        left.set_ylim(0.0, 1.6)
        left.legend(loc="upper left", ncols=2, fontsize=6.5)
        for k, group in enumerate(SETS):
            found = chosen(rows, group, "held out", 10)
            for name, dash, width in (("forecast", "-", 1.5), ("straight line", ":", 1.0)):
                values = np.sort(errors(found, name))
                share = np.arange(1, len(values) + 1) / len(values)
                label = f"{group} ({len(found)})" if name == "forecast" else None
                right.plot(values, share, dash, color=COLORS[k], linewidth=width, label=label)
        right.axvline(1.0, color=INK, linewidth=0.8, linestyle=":")
        right.set_xlim(0.0, 2.0)
        right.set_ylim(0.0, 1.0)
        right.set_title("10 snapshots ahead: forecast (–), line (···)")
        right.set_xlabel("error, no change = 1")
        right.set_ylabel("share of the runs with less")
        right.legend(loc="lower right", fontsize=6.5)
        return to_bytes(picture, "png")


def main() -> None:
    print(tables(), end="")
    PICTURE.write_bytes(figure())


if __name__ == "__main__":
    main()
