"""Which extrapolation of a weight agrees best with the masks at the end of training.

On runs of the tuning families (``studies.generate --only runs``): every candidate ranks the
weights at 15, 30 and 60% of training from at most the last 12 snapshots, and its share of the final
mask, by magnitude at the end, is averaged over sparsities of 50, 80, 90 and 95%, then over the runs
of a family, then over families. Recipes with a healthy start, at 0.3 to 2 times the rate that suits
the family; at most ten a family.

    python -m studies.pruning.destinations FOLDER/runs RESULTS.csv
"""

from __future__ import annotations

import csv
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from koopscope.pruning.choices import RECENT
from koopscope.runs.detect.opening import open_run
from koopscope.spectra.accumulating import gram_of
from koopscope.spectra.dmd import dmd
from koopscope.spectra.law_of_motion import law_of_motion
from studies.plan import TUNING

TIMES = (0.15, 0.3, 0.6)
SPARSITIES = (0.5, 0.8, 0.9, 0.95)
RUNS = 10
REACHES = (1, 2, 4, 6, 8, 12)
AHEAD = (4.0, 8.0, 20.0, 40.0, 1e4)

Values = np.ndarray


def chosen(folder: Path) -> list[Path]:
    """Return the runs of the tuning families whose recipe is a healthy one."""
    found: list[Path] = []
    counts: Counter[str] = Counter()
    for label in sorted(folder.glob("*.json")):
        recipe = json.loads(label.read_text())["recipe"]
        healthy = recipe["init"] == "default" and 0.3 <= recipe["rate_factor"] <= 2.0
        if recipe["family"] in TUNING and healthy and counts[recipe["family"]] < RUNS:
            counts[recipe["family"]] += 1
            found.append(label.with_suffix(".h5"))
    return found


def weights_of(path: Path) -> Values:
    """Return float64 (T, N), all weights of matrices and kernels."""
    with open_run(path) as run:
        tensors = [t for t in run.description.tensors if len(t.shape) >= 2]
        return np.concatenate([b.values.astype(float) for b in run.blocks(tensors)], axis=1)


def candidates(recent: Values) -> Iterator[tuple[str, Values]]:
    """Yield the name and the values of each extrapolation of the last snapshot."""
    last, steps, gram = recent[-1], np.diff(recent, axis=0), gram_of(recent)
    yield "magnitude", last
    for over in (1, 2, 4, 6, 8):
        mean = (last - recent[-1 - over]) / over
        for reach in REACHES:
            yield f"line over {over}, {reach} ahead", last + reach * mean
    for delay in (1, 2):
        columns = law_of_motion(gram, delay=delay).coefficients(AHEAD).T
        for reach, column in zip(AHEAD, columns, strict=True):
            name = "without end" if reach > 1e3 else f"{reach:.0f} ahead"
            yield f"damped law, delay {delay}, {name}", last + column @ steps
    for rank in (0, 3, 5):
        spectrum = dmd(gram, "weights", rank=rank)
        assert spectrum.resting is not None
        column = spectrum.exact_coefficients()[:, spectrum.resting]
        yield f"affine fixed point, rank {rank}", np.abs(column @ recent[1:])
    raw = dmd(gram, "raw", rank=5)
    nearest = int(np.abs(raw.eigenvalues - 1.0).argmin())
    yield "raw mode, rank 5", np.abs(raw.exact_coefficients()[:, nearest] @ recent[1:])


def kept(values: Values, count: int) -> Values:
    mask = np.zeros(len(values), bool)
    mask[np.argpartition(-np.abs(values), count - 1)[:count]] = True
    return mask


def main() -> None:
    folder, out = map(Path, sys.argv[1:])
    overlaps: dict[tuple[str, float], dict[str, list[float]]] = defaultdict(
        lambda: defaultdict(list)
    )
    used = 0
    for path in chosen(folder):
        weights = weights_of(path)
        recipe = json.loads(path.with_suffix(".json").read_text())["recipe"]
        weights = weights[: recipe["snapshots"]]
        if not np.isfinite(weights).all():
            continue
        used += 1
        counts = [round((1.0 - s) * weights.shape[1]) for s in SPARSITIES]
        finals = [kept(weights[-1], count) for count in counts]
        for at in TIMES:
            now = round(at * (len(weights) - 1))
            for name, values in candidates(weights[max(0, now + 1 - RECENT) : now + 1]):
                shares = [
                    float((kept(values, count) & final).sum() / count)
                    for count, final in zip(counts, finals, strict=True)
                ]
                overlaps[name, at][recipe["family"]].append(float(np.mean(shares)))
    print(f"{used} runs")
    means = {key: np.mean([np.mean(v) for v in each.values()]) for key, each in overlaps.items()}
    names = sorted({name for name, _ in means}, key=lambda n: -sum(means[n, at] for at in TIMES))
    with out.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("extrapolation", *(f"{at:g}" for at in TIMES), "mean"))
        for name in names:
            row = [means[name, at] for at in TIMES]
            table.writerow((name, *(f"{v:.4f}" for v in (*row, np.mean(row)))))


if __name__ == "__main__":
    main()
