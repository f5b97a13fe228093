"""From the study's rows to what docs/evidence/pruning.md shows: means, standard errors, a figure.

    python -m studies.pruning.summary

Differences are paired: each network's criterion against magnitude on the same network. Standard
errors are over the networks: three seeds of each of six kinds, or those that a criterion was
measured on.
"""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
from matplotlib import rc_context

from koopscope.report.figures.style import line_styles, new_figure, styled, to_bytes

HERE = Path(__file__).parent
ORDER = ("magnitude", "destination", "koopman-magnitude", "forecast-magnitude", "ema-magnitude")
PICTURE = Path(__file__).parents[2] / "docs" / "evidence" / "pruning.png"
ORDER += ("koopman-gradient", "gradient-magnitude", "random")
MEASURES = {
    "right_after": "right after pruning",
    "tuned": "after the same short training on",
    "on_final": "the same mask on the final weights",
}

#: Measures by which a criterion could become the default.
RULE = ("right_after", "tuned")

Cells = dict[tuple[float, float, str], dict[tuple[str, str], dict[str, float]]]


def read() -> Cells:
    """Return {(time, sparsity, criterion): {(kind, seed): numbers}}."""
    cells: Cells = defaultdict(dict)
    with (HERE / "results.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            key = float(row["at"]), float(row["sparsity"]), row["criterion"]
            numbers = {name: float(row[name]) for name in (*MEASURES, "dense")}
            numbers |= {name: float(row[name]) for name in ("overlap_now", "overlap_end")}
            cells[key][row["kind"], row["seed"]] = numbers
    return cells


def mean_and_error(values: list[float]) -> tuple[float, float]:
    """Return the mean and its standard error."""
    return float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(len(values)))


def summarised(cells: Cells) -> list[dict[str, object]]:
    """Return one record per time, sparsity and criterion, in percent."""
    records = []
    for (at, sparsity, name), networks in sorted(
        cells.items(), key=lambda item: (*item[0][:2], ORDER.index(item[0][2]))
    ):
        usual = cells[at, sparsity, "magnitude"]
        record: dict[str, object] = {"at": at, "sparsity": sparsity, "criterion": name}
        for measure in MEASURES:
            values = {key: 100 * n[measure] for key, n in networks.items()}
            mean, _ = mean_and_error(list(values.values()))
            gain, error = mean_and_error([v - 100 * usual[k][measure] for k, v in values.items()])
            record[measure] = {
                "mean": round(mean, 2),
                "spread": round(float(np.std(list(values.values()), ddof=1)), 2),
                "against_magnitude": round(gain, 2),
                "standard_error": round(error, 2),
            }
        for share in ("overlap_now", "overlap_end"):
            record[share] = round(float(np.mean([n[share] for n in networks.values()])), 4)
        records.append(record)
    return records


def tables(records: list[dict[str, object]]) -> str:
    """Return the records as Markdown tables, one per measure."""
    found = {(r["at"], r["sparsity"], r["criterion"]): r for r in records}
    sparsities = sorted({float(str(r["sparsity"])) for r in records})
    lines = []
    for measure, title in MEASURES.items():
        lines += [f"**{title.capitalize()}**", ""]
        heads = " | ".join(f"{100 * s:g}%" for s in sparsities)
        lines += [f"| mask from | criterion | {heads} |", "|---|---|" + "---|" * len(sparsities)]
        for at in sorted({float(str(r["at"])) for r in records}):
            for name in ORDER:
                shown = []
                for sparsity in sparsities:
                    cell = found[at, sparsity, name][measure]
                    assert isinstance(cell, dict)
                    if name == "magnitude":
                        shown.append(f"{cell['mean']:.1f} (spread {cell['spread']:.0f})")
                    else:
                        gain, error = cell["against_magnitude"], cell["standard_error"]
                        shown.append(f"{gain:+.1f} ± {error:.1f}")
                first = f"{100 * at:g}%" if name == ORDER[0] else ""
                lines.append(f"| {first} | {name} | {' | '.join(shown)} |")
        lines.append("")
    return "\n".join(lines)


def overlaps(cells: Cells, name: str, share: str) -> str:
    """Return a Markdown table of a criterion's overlap with magnitude, per kind at the end."""
    sparsities = sorted({key[1] for key in cells})
    kinds = list(dict.fromkeys(kind for kind, _ in cells[1.0, sparsities[0], name]))
    lines = ["| network | " + " | ".join(f"{100 * s:g}%" for s in sparsities) + " |"]
    lines.append("|---|" + "---|" * len(sparsities))
    for kind in (*kinds, "mean"):
        shown = [
            np.mean([n[share] for k, n in cells[1.0, s, name].items() if kind in (k[0], "mean")])
            for s in sparsities
        ]
        lines.append(f"| {kind} | " + " | ".join(f"{value:.3f}" for value in shown) + " |")
    return "\n".join(lines)


def picture(records: list[dict[str, object]]) -> bytes:
    """Draw accuracy against sparsity, one panel per time and measure."""
    found = {(r["at"], r["sparsity"], r["criterion"]): r for r in records}
    times = sorted({float(str(r["at"])) for r in records})
    sparsities = sorted({float(str(r["sparsity"])) for r in records})
    with styled(), rc_context({"savefig.dpi": 110}):
        figure = new_figure(4.6)
        panels = figure.subplots(2, len(times), sharey=True, sharex=True)
        for row, measure in zip(panels, ("right_after", "tuned"), strict=True):
            for axes, at in zip(row, times, strict=True):
                for name, style in zip(ORDER, line_styles(), strict=False):
                    # Not every criterion was measured on every network: differences are paired.
                    values = [
                        found[at, s, ORDER[0]][measure]["mean"]  # type: ignore[index]
                        + found[at, s, name][measure]["against_magnitude"]  # type: ignore[index]
                        for s in sparsities
                    ]
                    axes.plot([100 * s for s in sparsities], values, label=name, **style)
                axes.set_title(f"mask at {100 * at:g}%, {measure.replace('_', ' ')}")
            row[0].set_ylabel("accuracy, %")
        for axes in panels[-1]:
            axes.set_xlabel("sparsity, %")
        handles, labels = panels[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4)
        return to_bytes(figure, "png")


def main() -> None:
    cells = read()
    records = summarised(cells)
    text = ",\n".join(json.dumps(record) for record in records)
    (HERE / "summary.json").write_text(f"[\n{text}\n]\n", encoding="utf-8")
    PICTURE.write_bytes(picture(records))
    print(tables(records))
    print(overlaps(cells, "koopman-magnitude", "overlap_now"))


if __name__ == "__main__":
    main()
