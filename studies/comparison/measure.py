"""How well the comparison tells a change from a seed, on the held-out families.

``python -m studies.comparison.measure FOLDER`` writes ``pairs.csv``, ``groups.csv``, ``nulls.csv``
and ``summary.json`` beside this file. What is compared with: the distance of the last weights, one
less the centred kernel alignment (CKA) of the motions, and the distance of the loss curves.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from koopscope.comparison.distances import log_distance
from koopscope.comparison.permutation import contrast, permutation_test
from koopscope.comparison.verdicts import (
    LEVEL,
    group_verdict,
    score_of_groups,
    score_of_pair,
)
from studies.comparison.corpus import Base, Trained, bases

HERE = Path(__file__).parent
DRAWS = 200
MEASURES = ("distance", "network", "weights", "motions", "losses")


def by_weights(one: Trained, other: Trained) -> float:
    """Return the distance of the last weights, relative to their lengths."""
    lengths = np.linalg.norm(one.last) + np.linalg.norm(other.last)
    return float(2.0 * np.linalg.norm(one.last - other.last) / lengths)


def by_motions(one: Trained, other: Trained) -> float:
    """Return 1 - CKA of the two courses of snapshots (Kornblith et al. 2019, linear)."""
    norms = np.linalg.norm(one.motion) * np.linalg.norm(other.motion)
    return float(1.0 - np.sum(one.motion * other.motion) / norms)


def by_losses(one: Trained, other: Trained) -> float:
    """Return the root mean square difference of the logarithms of the training losses."""
    a, b = (np.log(np.maximum(run.losses, 1e-9)) for run in (one, other))
    return float(np.sqrt(np.nanmean((a - b) ** 2)))


def measured(base: Base, one: Trained, other: Trained) -> dict[str, float]:
    """Return the logarithms of all distances of two runs, but CKA's, which can be 0."""
    network, layers = base.parts(one, other)
    return {
        "distance": log_distance(layers, "layers"),
        "network": log_distance(network, "network"),
        "weights": by_weights(one, other),
        "motions": by_motions(one, other),
        "losses": by_losses(one, other),
    }


def auroc(different: Sequence[float], same: Sequence[float]) -> float:
    """Return how often a difference lies above a sameness; ties count half."""
    above, below = np.array(different)[:, None], np.array(same)
    return float(np.mean(above > below) + 0.5 * np.mean(above == below))


def pair_rows(known: Sequence[Base]) -> list[dict[str, Any]]:
    rows = []
    for base in known:
        for change, pairs in [
            ("none", base.same_pairs()),
            *((change, base.different_pairs(change)) for change in base.changes),
        ]:
            for one, other in pairs:
                found = measured(base, one, other)
                rows.append(
                    {
                        "base": base.name,
                        "change": change,
                        "first": one.name,
                        "second": other.name,
                        **{name: f"{value:.5g}" for name, value in found.items()},
                        "verdict": score_of_pair(found["distance"], "layers").verdict,
                    }
                )
    return rows


class Matrices:
    """All distances between the runs of a base, by measure."""

    def __init__(self, base: Base) -> None:
        self.base = base
        self._known: dict[tuple[str, str], dict[str, float]] = {}

    def of(self, runs: Sequence[Trained], measure: str) -> np.ndarray:
        found = np.zeros((len(runs), len(runs)))
        for i, j in combinations(range(len(runs)), 2):
            one, other = sorted((runs[i], runs[j]), key=lambda run: run.name)
            key = (one.name, other.name)
            if key not in self._known:
                self._known[key] = measured(self.base, one, other)
            found[i, j] = found[j, i] = self._known[key][measure]
        return found


def group_row(matrices: Matrices, change: str, runs: Sequence[Trained]) -> dict[str, Any]:
    """Return what three against three come to, by every measure."""
    first = np.arange(6) < 3
    contrasts = {name: contrast(matrices.of(runs, name), first) for name in MEASURES}
    test = permutation_test(matrices.of(runs, "distance"), 3)
    verdict = group_verdict(test, score_of_groups(test.contrast, "layers"))
    return {
        "base": matrices.base.name,
        "change": change,
        "first": runs[0].name,
        "second": runs[3].name,
        **{name: f"{value:.5g}" for name, value in contrasts.items()},
        "p_value": f"{test.p_value:.4g}",
        "verdict": verdict,
    }


def group_rows(all_matrices: Sequence[Matrices]) -> list[dict[str, Any]]:
    """Hold threes of seeds against each other, and the first three against each change."""
    rows = []
    for matrices in all_matrices:
        base = matrices.base
        threes = [base.seeds[k : k + 3] for k in range(0, len(base.seeds) - 2, 3)]
        for one, other in combinations(threes, 2):
            rows.append(group_row(matrices, "none", [*one, *other]))
        for change in base.changes:
            rows.append(group_row(matrices, change, [*threes[0], *base.runs[change]]))
    return rows


def null_rows(all_matrices: Sequence[Matrices]) -> list[dict[str, Any]]:
    """Draw groups of one recipe at random, three and four a side."""
    rng = np.random.default_rng(0)
    rows = []
    for draw in range(DRAWS):
        matrices = all_matrices[draw % len(all_matrices)]
        seeds = matrices.base.seeds
        row: dict[str, Any] = {"base": matrices.base.name}
        for size in (3, 4):
            runs = [seeds[k] for k in rng.permutation(len(seeds))[: 2 * size]]
            test = permutation_test(matrices.of(runs, "distance"), size)
            row[f"p_{size}"] = f"{test.p_value:.4g}"
            row[f"verdict_{size}"] = group_verdict(test, score_of_groups(test.contrast, "layers"))
        rows.append(row)
    return rows


def of_change(rows: Iterable[Mapping[str, Any]], measure: str, change: str) -> list[float]:
    return [float(row[measure]) for row in rows if row["change"] == change]


def areas(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Return the AUROC of every measure: over all changes, which count alike, and by change."""
    changes = sorted({row["change"] for row in rows} - {"none"})
    found = {}
    for measure in MEASURES:
        same = of_change(rows, measure, "none")
        each = {change: auroc(of_change(rows, measure, change), same) for change in changes}
        pooled = [value for change in changes for value in of_change(rows, measure, change)]
        found[measure] = {"all": auroc(pooled, same), **each}
    return found


def verdicts(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    """Count the verdicts on pairs of one recipe, and of two, by change."""
    found: dict[str, dict[str, int]] = {}
    for row in rows:
        counts = found.setdefault(row["change"], {"same": 0, "different": 0, "inconclusive": 0})
        counts[row["verdict"]] += 1
    return found


def summary(
    pairs: Sequence[Mapping[str, Any]],
    groups: Sequence[Mapping[str, Any]],
    nulls: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Return the figures that the pages quote."""
    return {
        "pairs": {"count": len(pairs), "auroc": areas(pairs), "verdicts": verdicts(pairs)},
        "groups": {"count": len(groups), "auroc": areas(groups), "verdicts": verdicts(groups)},
        "nulls": {
            "draws": len(nulls),
            **{
                f"false_rejections_{size}": float(
                    np.mean([row[f"verdict_{size}"] == "different" for row in nulls])
                )
                for size in (3, 4)
            },
            **{
                f"p_{size}_at_most": {
                    f"{level:g}": float(
                        np.mean([float(row[f"p_{size}"]) <= level + 1e-9 for row in nulls])
                    )
                    for level in (LEVEL, 0.1, 0.2, 0.5)
                }
                for size in (3, 4)
            },
        },
    }


def _write(name: str, rows: Sequence[Mapping[str, Any]]) -> None:
    with (HERE / name).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read(name: str) -> list[dict[str, str]]:
    """Return the rows of a committed table."""
    with (HERE / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def rounded(value: Any, round_to: Callable[[float], float] = lambda x: round(x, 4)) -> Any:
    if isinstance(value, Mapping):
        return {key: rounded(item) for key, item in value.items()}
    return round_to(value) if isinstance(value, float) else value


if __name__ == "__main__":
    known = bases(Path(sys.argv[1]), "held-out")
    matrices = [Matrices(base) for base in known]
    tables = {
        "pairs.csv": pair_rows(known),
        "groups.csv": group_rows(matrices),
        "nulls.csv": null_rows(matrices),
    }
    for name, rows in tables.items():
        _write(name, rows)
    found = rounded(summary(*tables.values()))
    (HERE / "summary.json").write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    print(json.dumps(found, indent=1))
