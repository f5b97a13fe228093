"""The tables of docs/evidence/forecasting.md on accelerated training, from acceleration.csv.

python -m studies.forecasting.acceleration_summary
"""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from pathlib import Path
from statistics import fmean, median

RESULTS = Path(__file__).with_name("acceleration.csv")
#: Epochs after which a training is given up.
LONGEST = 70
WAYS = {
    "ema": "average (EMA)",
    "straight": "straight jumps",
    "koopman": "Koopman jumps",
    "pdt": "PDT as published",
}

Row = dict[str, str]


def read() -> list[Row]:
    with open(RESULTS, newline="") as file:
        return list(csv.DictReader(file))


def saved(row: Row, measure: str) -> float:
    """Return the part of usual training's time or epochs that was not needed."""
    if not row[measure]:
        return -math.inf
    return 1.0 - float(row[measure]) / float(row[f"usual_{measure}"])


def cell(values: list[float]) -> str:
    """Return median, range and how many seeds never got there (they count as the slowest)."""
    late = sum(value == -math.inf for value in values)
    middle = median(sorted(values))
    if middle == -math.inf:
        return f"not reached ({late} of {len(values)})"
    reached = [value for value in values if value > -math.inf]
    spread = f"{_percent(min(reached))} to {_percent(max(reached))}"
    return f"{_percent(middle)} ({spread}{f'; {late} not reached' if late else ''})"


def table(rows: list[Row], measure: str, factor: str = "1.0") -> str:
    """Return a Markdown table: a line for each network and optimizer."""
    lines = ["| network | optimizer | " + " | ".join(WAYS.values()) + " |", "|---" * 6 + "|"]
    cells: dict[tuple[str, str, str], dict[str, list[float]]] = {}
    for row in rows:
        if row["factor"] == factor and row["way"] in WAYS:
            rate = float(row["rate"]) * float(row["factor"])
            key = (row["kind"], row["optimizer"], f"{rate:g}")
            cells.setdefault(key, defaultdict(list))[row["way"]].append(saved(row, measure))
    for (kind, optimizer, rate), by_way in cells.items():
        numbers = " | ".join(cell(by_way[way]) for way in WAYS)
        lines.append(f"| {kind} | {optimizer}, {rate} | {numbers} |")
    everything = defaultdict(list)
    for by_way in cells.values():
        for way, values in by_way.items():
            everything[way] += values
    if len(cells) > 1:
        lines.append("| all | | " + " | ".join(cell(everything[way]) for way in WAYS) + " |")
    return "\n".join(lines)


def _percent(part: float) -> str:
    return f"{round(100.0 * part)}%".replace("-", "−")


def defaults() -> str:
    """Return a Markdown table of what other options than the defaults saved."""
    parts: dict[str, list[float]] = defaultdict(list)
    with open(RESULTS.with_name("accelerator_defaults.csv"), newline="") as file:
        for row in csv.DictReader(file):
            epochs = float(row["epochs"] or LONGEST)
            parts[row["options"]].append(1.0 - epochs / float(row["usual"]))
    lines = ["| | epochs saved |", "|---|---|"]
    for name, values in parts.items():
        shown = name if name == "defaults" else f"`{name}`"
        lines.append(f"| {shown} | {_percent(fmean(values))} |")
    return "\n".join(lines)


def main() -> None:
    rows = read()
    for title, measure, factor in (
        ("time", "seconds", "1.0"),
        ("epochs", "epochs", "1.0"),
        ("time at a tenth of the rate", "seconds", "0.1"),
        ("epochs at a tenth of the rate", "epochs", "0.1"),
    ):
        print(f"{title}\n\n{table(rows, measure, factor)}\n")
    print(defaults())


if __name__ == "__main__":
    main()
