"""From oscillator.csv to what docs/evidence/forecasting.md shows of it: tables and a figure.

python -m studies.forecasting.oscillator_summary
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes

from koopscope.report.figures.style import INK, line_styles, new_figure, styled, to_bytes
from studies.forecasting.oscillator import COURSES, JUMP, JUMPS, ROWS, SEEDS, STEPS

PICTURE = Path(__file__).parents[2] / "docs" / "evidence" / "forecasting-oscillator.png"

ORDER = ("trained", "trained, mean", "no change", "EMA", "straight line", "straight line, means")
ORDER += ("published node", "published node, thinned", "published node, means")
ORDER += ("node", "layer", "network", "node, means", "layer, means", "network, means")
ORDER += ("koopscope forecast",)
FITTED = ORDER[6:]
BASELINES = ORDER[:6]
CURVES = ("EMA", "straight line", "straight line, means", "published node")
CURVES += ("published node, means", "koopscope forecast")

#: What is drawn; all of it is in the tables.
DRAWN = ("Adadelta", "Adam", "Adagrad")

#: Losses relative to the trained network's that are drawn; points beyond sit on the upper edge.
LOSSES_SHOWN = {"Adadelta": (0.15, 12.0), "Adam": (0.15, 12.0), "Adagrad": (0.95, 1.6)}

Numbers = dict[tuple[str, str, str], dict[str, np.ndarray]]


def number(cell: str) -> float:
    """Return a number; 1 and 0 for true and false, not a number for anything else."""
    try:
        return {"true": 1.0, "false": 0.0}[cell] if cell in ("true", "false") else float(cell)
    except ValueError:
        return float("nan")


def optimizers(times: str) -> list[str]:
    return [optimizer for setting, optimizer in COURSES if setting == times]


def read() -> Numbers:
    """Return {(times, optimizer, method): {column: [seeds]}}."""
    rows: dict[tuple[str, str, str], list[dict[str, str]]] = {}
    with ROWS.open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            rows.setdefault((row["times"], row["optimizer"], row["method"]), []).append(row)
    return {
        key: {
            column: np.array([number(row[column]) for row in same])
            for column in same[0]
            if column not in ("times", "optimizer", "method")
        }
        for key, same in rows.items()
    }


def spread(values: np.ndarray, digits: int = 2) -> str:
    """Return median and range."""
    three = np.nanmedian(values), np.nanmin(values), np.nanmax(values)
    middle, low, high = (f"{float(f'{value:.{digits}g}'):g}" for value in three)
    return f"{middle} ({low}–{high})"


def table(numbers: Numbers, times: str) -> str:
    """Return Markdown: weight error and loss after the jump, a row per method."""
    heads = [f"{name}: {what}" for name in optimizers(times) for what in ("weights", "loss")]
    lines = [f"| times {times} | " + " | ".join(heads) + " |", "|---|" + "---|" * len(heads)]
    for method in ORDER:
        cells = []
        for optimizer in optimizers(times):
            cells.append(spread(numbers[times, optimizer, method][f"error_{JUMP}"]))
            losses = relative_losses(numbers, times, optimizer, method, JUMP)
            cells.append(spread(losses, digits=3))
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    absolute = [
        spread(numbers[times, name, "trained"][f"loss_{JUMP}"]) for name in optimizers(times)
    ]
    return "\n".join([*lines, "", "loss of the trained network: " + "; ".join(absolute)])


def speeds(numbers: Numbers, times: str, seconds: dict[str, dict[str, list[float]]]) -> str:
    """Return Markdown: how many times the fit and jump fit into the optimizer's own steps."""
    steps = {name: 1e3 * float(np.nanmedian(seconds[name]["steps"])) for name in optimizers(times)}
    lines = [
        f"| times {times} | " + " | ".join(f"{name}: ms | times" for name in optimizers(times))
    ]
    lines[0] += " |"
    lines.append("|---|" + "---|" * 2 * len(optimizers(times)))
    lines.append(
        "| steps | " + " | ".join(f"{steps[name]:,.0f} | 1" for name in optimizers(times)) + " |"
    )
    for method in FITTED:
        cells = []
        for optimizer in optimizers(times):
            taken = numbers[times, optimizer, method]["fit_and_jump_ms"]
            ratio = steps[optimizer] / taken
            cells.append(
                f"{np.nanmedian(taken):.3g} | {np.nanmedian(ratio):,.0f} ({np.nanmin(ratio):,.0f}"
            )
            cells[-1] += f"–{np.nanmax(ratio):,.0f})"
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    recording = [
        f"{name} {np.nanmedian(seconds[name]['snapshots']):.2f} s" for name in optimizers(times)
    ]
    return "\n".join([*lines, "", "taking 10,000 snapshots in memory: " + ", ".join(recording)])


def trusted(numbers: Numbers, times: str, jump: int) -> str:
    """Return how many forecasts koopscope itself trusts, and how many it refuses for growth."""
    shown = []
    for optimizer in optimizers(times):
        said = numbers[times, optimizer, "koopscope forecast"][f"trusted_{jump}"]
        shown.append(f"{optimizer} {np.count_nonzero(said == 1)}, {np.isnan(said).sum()} refused")
    return f"times {times}, {jump} ahead: trusted: {'; '.join(shown)}"


def growing(numbers: Numbers, times: str, method: str) -> str:
    """Return how many networks have a mode beyond the unit circle, and by how much it grows."""
    shown = []
    for optimizer in optimizers(times):
        values = numbers[times, optimizer, method]["growth"]
        shown.append(f"{optimizer} {np.count_nonzero(values > 1.0)}, {spread(values**JUMP)}")
    return f"times {times}, {method}: growing modes and growth over the jump: {'; '.join(shown)}"


def beaten(numbers: Numbers, times: str, column: str, pair: tuple[str, str]) -> str:
    """Return of how many networks the first method has the smaller number."""
    counts = []
    for optimizer in optimizers(times):
        one, two = (numbers[times, optimizer, name][column] for name in pair)
        counts.append(f"{optimizer} {np.count_nonzero(one < two)}")
    return f"times {times}, {column}: {pair[0]} below {pair[1]}: {', '.join(counts)} of {SEEDS}"


def relative_losses(
    numbers: Numbers, times: str, optimizer: str, method: str, jump: int
) -> np.ndarray:
    """Return [seeds], the loss over that of the same network trained so far."""
    column = f"loss_{jump}"
    trained = numbers[times, optimizer, "trained"][column]
    return numbers[times, optimizer, method][column] / trained


def curves(axes: Axes, numbers: Numbers, optimizer: str, measure: str) -> None:
    """Draw medians over the networks against the length of the jump."""
    names = ("no change", *CURVES)
    if measure == "loss":
        names += ("trained, mean",)
        axes.axhline(1.0, color=INK, linewidth=0.8)
        axes.set_ylim(*LOSSES_SHOWN[optimizer])
    for method, style in zip(names, line_styles(), strict=False):
        if measure == "loss":
            values = [relative_losses(numbers, "drawn", optimizer, method, jump) for jump in JUMPS]
        else:
            values = [numbers["drawn", optimizer, method][f"error_{jump}"] for jump in JUMPS]
        if method == "trained, mean":
            style = {"color": INK, "linestyle": ":", "linewidth": 1.8}
        axes.plot(JUMPS, np.nanmedian(values, axis=1), label=method, **style)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(JUMPS, [f"{jump:,}" for jump in JUMPS], rotation=30)
    axes.minorticks_off()


def every_network(axes: Axes, numbers: Numbers, optimizer: str) -> None:
    """Draw every network's loss after the jump, a column of points per method."""
    shown = ("trained, mean", "no change", *CURVES)
    low, high = LOSSES_SHOWN[optimizer]
    for place, method in enumerate(shown):
        values = np.sort(relative_losses(numbers, "drawn", optimizer, method, JUMP))
        across = place + np.linspace(-0.3, 0.3, len(values))
        off = values > high
        axes.plot(across[~off], values[~off], "o", color=INK, markersize=1.6, markeredgewidth=0)
        axes.plot(across[off], np.full(off.sum(), high), "^", color=INK, markersize=2.2)
        middle = min(np.nanmedian(values), high)
        axes.plot([place - 0.38, place + 0.38], [middle, middle], color="#D55E00", linewidth=1.6)
    axes.axhline(1.0, color=INK, linewidth=0.8)
    axes.set_yscale("log")
    axes.set_ylim(low, high * 1.05)
    axes.set_xticks(range(len(shown)), shown, rotation=60, ha="right", rotation_mode="anchor")
    axes.grid(False, axis="x")


def readable(axes: Axes, ticks: Sequence[float]) -> None:
    """Label a logarithmic axis of ratios with plain numbers."""
    low, high = axes.get_ylim()
    shown = [tick for tick in ticks if low <= tick <= high]
    axes.set_yticks(shown, [f"{tick:g}" for tick in shown])
    axes.minorticks_off()


def picture(numbers: Numbers) -> bytes:
    with styled(), rc_context({"savefig.dpi": 130}):
        figure = new_figure(7.2)
        panels = figure.subplots(3, len(DRAWN))
        for column, optimizer in enumerate(DRAWN):
            errors, losses, every = panels[:, column]
            curves(errors, numbers, optimizer, "error")
            curves(losses, numbers, optimizer, "loss")
            every_network(every, numbers, optimizer)
            errors.set_ylim(0.02, 8.0)
            readable(errors, (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5))
            ticks = (1, 1.1, 1.2, 1.5) if optimizer == "Adagrad" else (0.2, 0.5, 1, 2, 5, 10)
            readable(losses, ticks)
            readable(every, ticks)
            errors.set_title(optimizer)
            losses.set_xlabel("steps ahead")
        panels[0, 0].set_ylabel("weight error / no change")
        panels[1, 0].set_ylabel("loss / trained network")
        panels[2, 0].set_ylabel(f"loss / trained network,\n{JUMP:,} steps ahead, every network")
        handles, labels = panels[1, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=4)
        return to_bytes(figure, "png")


def main() -> None:
    numbers = read()
    seconds = json.loads(STEPS.read_text(encoding="utf-8"))
    for times in seconds:
        print(table(numbers, times), speeds(numbers, times, seconds[times]), sep="\n\n")
        for jump in JUMPS:
            print(trusted(numbers, times, jump))
        for method in FITTED[:-1]:
            print(growing(numbers, times, method))
        for method in ("published node", "network, means", "koopscope forecast"):
            for other in BASELINES:
                for measure in ("loss", "error"):
                    print(beaten(numbers, times, f"{measure}_{JUMP}", (method, other)))
        print()
    PICTURE.write_bytes(picture(numbers))


if __name__ == "__main__":
    main()
