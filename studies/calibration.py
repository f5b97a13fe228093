"""Draw probabilities against what happened: ``python -m studies.calibration --corpus DIR``.

The held-out runs' probabilities that a start is bad, that a run is still training, and that a run
at rest has learned, in bins of equal numbers; bars are 90% of resamples of whole families.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from koopscope.diagnostics import convergence, initialization
from koopscope.report.figures.style import line_styles, new_figure, styled, to_bytes
from studies import corpus
from studies.corpus import Case
from studies.score import seen
from studies.yardstick.plan import HELD_OUT

HERE = Path(__file__).parent
TABLE = HERE / "calibration.csv"
PICTURE = HERE.parent / "docs" / "evidence" / "calibration.png"
PANELS = ("the start is bad", "still training", "has learned, if not training")
BINS, RESAMPLES = 7, 400

#: Predicted, happened, family.
Point = tuple[float, bool, str]


def points_of(cases: Sequence[Case], edition: str) -> dict[str, list[Point]]:
    """Return by panel what was predicted of each run and whether it happened."""
    found: dict[str, list[Point]] = {panel: [] for panel in PANELS}
    for case in cases:
        analysis = seen(case.analysis, edition)
        score = initialization.ask(analysis).evidence["score"]
        if score is not None and not case.truth.bad_unclear:
            found[PANELS[0]].append((score, case.truth.bad, case.family))
        state = convergence.ask(analysis).evidence
        if case.truth.state_unclear or "still_training" not in state:
            continue
        is_training = case.truth.state == "training"
        found[PANELS[1]].append((state["still_training"], is_training, case.family))
        if not is_training:
            learned = case.truth.state == "converged"
            found[PANELS[2]].append((state["has_learned"], learned, case.family))
    return found


def bins_of(points: Sequence[Point]) -> list[tuple[float, float, float, float, int]]:
    """Return by bin: predicted, observed, the ends of the bar, and how many runs."""
    said = np.array([point[0] for point in points])
    held = np.array([point[1] for point in points], float)
    families, index = np.unique([point[2] for point in points], return_inverse=True)
    rng = np.random.default_rng(0)
    draws = [rng.integers(0, len(families), len(families)) for _ in range(RESAMPLES)]
    found = []
    for part in np.array_split(np.argsort(said, kind="stable"), BINS):
        sums = np.bincount(index[part], held[part], len(families))
        counts = np.bincount(index[part], minlength=len(families))
        shares = [sums[d].sum() / counts[d].sum() for d in draws if counts[d].sum()]
        low, high = np.quantile(shares, [0.05, 0.95])
        found.append((said[part].mean(), held[part].mean(), low, high, len(part)))
    return found


def draw(rows: Sequence[Sequence[object]]) -> None:
    """Draw the table."""
    with styled():
        figure = new_figure(3.0)
        for axes, panel in zip(figure.subplots(1, 3), PANELS, strict=True):
            axes.set_title(panel)
            axes.plot([0, 1], [0, 1], color="#1a1a1a", linewidth=0.9, linestyle="--")
            for edition, style in zip(("weights", "losses"), line_styles(), strict=False):
                part = [
                    [float(str(value)) for value in row[2:6]]
                    for row in rows
                    if row[0] == panel and row[1] == edition
                ]
                x, y, low, high = np.array(part).T
                label = "weights alone" if edition == "weights" else "weights and losses"
                axes.plot(x, y, label=label, **style)
                axes.vlines(x, low, high, color=style["color"], linewidth=0.9)
            axes.set_xlabel("predicted")
        figure.axes[0].set_ylabel("observed share")
        figure.axes[0].legend(loc="upper left")
        PICTURE.write_bytes(to_bytes(figure, "png"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, help="measure anew; else draw the stored table")
    options = parser.parse_args()
    if options.corpus is not None:
        cases = corpus.load(options.corpus / "runs", HELD_OUT)
        with open(TABLE, "w", newline="") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(["panel", "edition", "predicted", "observed", "low", "high", "runs"])
            for edition in ("weights", "losses"):
                for panel, points in points_of(cases, edition).items():
                    for *numbers, runs in bins_of(points):
                        table.writerow([panel, edition, *(f"{n:.4f}" for n in numbers), runs])
    with open(TABLE, newline="") as file:
        draw(list(csv.reader(file))[1:])


if __name__ == "__main__":
    main()
