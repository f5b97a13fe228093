"""The tables of docs/guide/accelerating.md and docs/evidence/accelerating.md, from the CSV files.

python -m studies.accelerating.summary           # prints them
python -m studies.accelerating.summary --write   # puts them into the pages
"""

from __future__ import annotations

import argparse
import csv
import math
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from statistics import median

RESULTS = Path(__file__).with_name("results.csv")
CHOOSING = Path(__file__).with_name("choosing.csv")
FREEZING = Path(__file__).with_name("freezing.csv")
DOCS = Path(__file__).parents[2] / "docs"
PAGES = (DOCS / "guide" / "accelerating.md", DOCS / "evidence" / "accelerating.md")

WAYS = {
    "evaluate": "`evaluate=`",
    "straight": "straight jumps",
    "pdt": "PDT",
    "ema_0.9": "EMA",
    "lawa": "LAWA",
    "lookahead": "Lookahead",
    "schedule_free": "schedule-free",
}

Row = dict[str, str]


def read(path: Path = RESULTS) -> list[Row]:
    if not path.exists():
        return []
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def saved(row: Row) -> float:
    """Return the part of plain training's gradient evaluations that was not needed."""
    return 1.0 - float(row["cost"]) / float(row["plain_cost"]) if row["cost"] else -math.inf


def percent(part: float) -> str:
    return f"{round(100.0 * part)}%".replace("-", "−")


def cell(values: list[float]) -> str:
    """Return the median, and how many never got there (they count as the slowest)."""
    if not values:
        return ""
    late = sum(value == -math.inf for value in values)
    middle = median(values)
    if middle == -math.inf:
        return f"not reached ({late} of {len(values)})"
    return percent(middle) + (f" ({late} of {len(values)} not)" if late else "")


def by_network(rows: Iterable[Row]) -> dict[tuple[str, str], dict[str, list[Row]]]:
    found: dict[tuple[str, str], dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        found[row["network"], row["optimizer"]][row["way"]].append(row)
    return found


def time_table(rows: list[Row]) -> str:
    """Return what is saved until the target, by network; tuning and unseen ones apart."""
    lines = ["| network | optimizer | " + " | ".join(WAYS.values()) + " |", "|---" * 9 + "|"]
    for tuning, title in (("1", "tuning networks"), ("0", "unseen networks")):
        group = [row for row in rows if row["tuning"] == tuning]
        for (kind, optimizer), ways in by_network(group).items():
            cells = [cell([saved(row) for row in ways[way]]) for way in WAYS]
            lines.append(f"| {kind} | {optimizer} | " + " | ".join(cells) + " |")
        every = [cell([saved(r) for r in group if r["way"] == way]) for way in WAYS]
        lines.append(f"| **{title}** | | " + " | ".join(every) + " |")
    return "\n".join(lines)


def ratio_table(rows: list[Row], measure: str) -> str:
    """Return a measure relative to plain training's, by network, medians over seeds."""
    lines = ["| network | optimizer | " + " | ".join(WAYS.values()) + " |", "|---" * 9 + "|"]
    for tuning, title in (("1", "tuning networks"), ("0", "unseen networks")):
        group = [row for row in rows if row["tuning"] == tuning]
        plain = {_key(r): float(r[measure]) for r in group if r["way"] == "plain" and r[measure]}
        ratios: dict[tuple[str, str, str], list[float]] = defaultdict(list)
        for row in group:
            if row[measure] and plain.get(_key(row)):
                ratio = float(row[measure]) / plain[_key(row)]
                ratios[row["network"], row["optimizer"], row["way"]].append(ratio)
        for kind, optimizer in by_network(group):
            cells = [_middle(ratios[kind, optimizer, way]) for way in WAYS]
            lines.append(f"| {kind} | {optimizer} | " + " | ".join(cells) + " |")
        every = [
            _middle([v for (_, _, w), values in ratios.items() if w == way for v in values])
            for way in WAYS
        ]
        lines.append(f"| **{title}** | | " + " | ".join(every) + " |")
    return "\n".join(lines)


def _key(row: Row) -> tuple[str, str, str]:
    return row["network"], row["optimizer"], row["seed"]


def _middle(values: list[float]) -> str:
    return f"{median(values):.2f}" if values else ""


def short_table(rows: list[Row]) -> str:
    """Return, for each way, what it saves, where it fails, and the validation loss."""
    lines = [
        "| | training saved | slower by more than 5% | target not reached | validation loss at the "
        "target | validation loss at the end |",
        "|---|---|---|---|---|---|",
    ]
    for way, name in WAYS.items():
        mine = [row for row in rows if row["way"] == way]
        parts = [saved(row) for row in mine]
        if not parts:
            continue
        slower = [
            key
            for key, ways in by_network(rows).items()
            if ways[way] and median([saved(row) for row in ways[way]]) < -0.05
        ]
        late = sum(part == -math.inf for part in parts)
        ratios = [_middle(held_out_ratios(rows, way, m)) for m in MEASURES]
        lines.append(
            f"| {name} | {cell(parts).partition(' (')[0]} "
            f"| {len(slower)} of {len(by_network(rows))} | {late} of {len(parts)} "
            f"| {ratios[0] or 'none'} | {ratios[1] or 'none'} |"
        )
    return "\n".join(lines)


MEASURES = ("held_out_at_target", "held_out_at_end")


def held_out_ratios(rows: list[Row], way: str, measure: str) -> list[float]:
    """Return a validation loss relative to plain training's, run by run."""
    plain = {_key(row): row[measure] for row in rows if row["way"] == "plain"}
    return [
        float(row[measure]) / float(plain[_key(row)])
        for row in rows
        if row["way"] == way and row[measure] and plain.get(_key(row))
    ]


def choosing_table() -> str:
    """Return what other options than the defaults save on the tuning networks."""
    parts: dict[str, list[float]] = defaultdict(list)
    for row in read(CHOOSING):
        parts[row["options"]].append(saved(row))
    lines = ["| | training saved, median | least | target not reached |", "|---|---|---|---|"]
    for name, values in parts.items():
        shown = f"`{name}`" if "=" in name else name
        reached = [value for value in values if value > -math.inf]
        late = f"{len(values) - len(reached)} of {len(values)}"
        lines.append(
            f"| {shown} | {cell(values).partition(' (')[0]} | {percent(min(reached))} | {late} |"
        )
    return "\n".join(lines)


def freezing_table() -> str:
    """Return what freezing saved, and the losses with and without it."""
    lines = [
        "| network | optimizer, schedule | seed | frozen | gradients saved | loss without, with "
        "| validation loss without, with |",
        "|---" * 7 + "|",
    ]
    rows = read(FREEZING)
    for plain, frozen in zip(rows[::2], rows[1::2], strict=False):
        names = frozen["frozen"].replace("+", ", ") or "none"
        lines.append(
            f"| {plain['network']} | {plain['optimizer']}, {plain['schedule']} | {plain['seed']} "
            f"| {names} | {percent(float(frozen['gradients_saved']))} "
            f"| {float(plain['loss']):.3g}, {float(frozen['loss']):.3g} "
            f"| {float(plain['held_out']):.3g}, {float(frozen['held_out']):.3g} |"
        )
    return "\n".join(lines)


def count_line(rows: list[Row]) -> str:
    """Return how many trainings the tables rest on."""
    networks = len({row["network"] for row in rows})
    seeds = sorted({int(row["seed"]) for row in rows})
    trainings = len({_key(row) for row in rows})
    return (
        f"{networks} networks, SGD and Adam; {len(seeds)} of 5 seeds; "
        f"{trainings} plain trainings, as many of every way."
    )


def tables() -> dict[str, str]:
    rows = read()
    return {
        "count": count_line(rows),
        "short": short_table(rows),
        "count-unseen": count_line([row for row in rows if row["tuning"] == "0"]),
        "short-unseen": short_table([row for row in rows if row["tuning"] == "0"]),
        "time": time_table(rows),
        "validation": ratio_table(rows, "held_out_at_end"),
        "choosing": choosing_table(),
        "freezing": freezing_table(),
    }


def written(page: str, found: dict[str, str]) -> str:
    """Return a page with its tables renewed, each after its own mark."""
    for name, text in found.items():
        mark = f"<!-- table: {name} -->\n"
        if mark in page:
            before, _, rest = page.partition(mark)
            _, _, after = rest.partition("<!-- end -->")
            page = f"{before}{mark}\n{text}\n\n<!-- end -->{after}"
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    found = tables()
    if parser.parse_args().write:
        for path in PAGES:
            path.write_text(written(path.read_text(encoding="utf-8"), found), encoding="utf-8")
        return
    for name, text in found.items():
        print(f"{name}\n\n{text}\n")


if __name__ == "__main__":
    main()
