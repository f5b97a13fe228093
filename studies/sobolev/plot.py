"""Draw reconstruction.csv: one panel for each octave, a line for each method, a dot for each seed.

python -m studies.sobolev.plot
"""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path
from statistics import median

from koopscope.report.figures.style import line_styles, new_figure, styled, to_bytes

HERE = Path(__file__).parent
PICTURE = HERE.parents[1] / "docs" / "evidence" / "sobolev.png"
PANELS = {
    "band_1": "octave of 1",
    "band_4": "octave of 4",
    "band_16": "octave of 16",
    "band_64": "octave of 64",
    "outside": "elsewhere",
    "total": "everywhere",
}


def main() -> None:
    with open(HERE / "reconstruction.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    methods = list(dict.fromkeys(row["method"] for row in rows))
    levels = sorted({int(row["snr_db"]) for row in rows}, reverse=True)
    with styled():
        figure = new_figure(4.6)
        panels = figure.subplots(2, 3, sharex=True, sharey=True).ravel()
        for axes, (column, title) in zip(panels, PANELS.items(), strict=True):
            axes.set_title(title)
            for k, (method, style) in enumerate(zip(methods, line_styles(), strict=False)):
                seeds = defaultdict(list)
                for row in rows:
                    if row["method"] == method:
                        seeds[int(row["snr_db"])].append(float(row[column]))
                axes.semilogy(levels, [median(seeds[db]) for db in levels], label=method, **style)
                for db in levels:
                    axes.semilogy(
                        [db + 0.35 * (k - 3)] * len(seeds[db]),
                        seeds[db],
                        ".",
                        markersize=1.5,
                        color=style["color"],
                    )
            axes.axhline(1.0, color="#1a1a1a", linewidth=0.9, linestyle="--")
            axes.set_xticks(levels)
        panels[0].invert_xaxis()
        panels[0].set_ylim(bottom=3e-5)
        for axes in panels[::3]:
            axes.set_ylabel("error / signal (energy)")
        for axes in panels[3:]:
            axes.set_xlabel("signal to noise, dB")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4)
        PICTURE.write_bytes(to_bytes(figure, "png"))


if __name__ == "__main__":
    main()
