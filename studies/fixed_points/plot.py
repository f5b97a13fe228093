"""Draw graphs.csv and forest.csv: accuracy against iterations, and what was suggested.

python -m studies.fixed_points.plot
"""

from __future__ import annotations

import csv
from pathlib import Path
from statistics import median

from koopscope.report.figures.style import line_styles, new_figure, styled, to_bytes

HERE = Path(__file__).parent
PICTURE = HERE.parents[1] / "docs" / "evidence" / "fixed-points.png"


def main() -> None:
    rows = []
    for name in ("graphs", "forest"):
        with open(HERE / f"{name}.csv", newline="") as file:
            rows += list(csv.DictReader(file))
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    with styled():
        figure = new_figure(3.9)
        for axes, task in zip(figure.subplots(1, len(tasks)), tasks, strict=True):
            axes.set_title(task)
            axes.set_xlabel("iterations")
            trainings = dict.fromkeys(
                (row["trained"], row["stillness"]) for row in rows if row["task"] == task
            )
            for (trained, still), style in zip(trainings, line_styles(), strict=False):
                same = [
                    row
                    for row in rows
                    if (row["task"], row["trained"], row["stillness"]) == (task, trained, still)
                ]
                counts = [key for key in same[0] if key.startswith("accuracy_")]
                x = [int(key.removeprefix("accuracy_")) for key in counts]
                y = [median(float(row[key]) for row in same) for key in counts]
                label = f"trained with {trained}" + (", still" if float(still) else "")
                axes.plot(x, y, label=label, **style)
            axes.set_xscale("symlog", linthresh=1)
            axes.set_xticks([0, 1, 2, 4, 8, 16, 32, 64], [0, 1, 2, 4, 8, 16, 32, 64])
            axes.legend(fontsize=6, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.16))
            axes.xaxis.minorticks_off()
        figure.axes[0].set_ylabel("accuracy, median over seeds")
        PICTURE.write_bytes(to_bytes(figure, "png"))


if __name__ == "__main__":
    main()
