"""Which truncation rule predicts real training best: every rule on every run of the corpus.

A spectrum of a window of increments predicts the displacement over half as many snapshots again;
the error is relative to "no change". ``auto`` was chosen on the tuning families; the others show
what it is worth elsewhere. The corpus is made by ``python -m studies.generate``. Prints the
tables in docs/evidence/numerics.md.

    python -m benchmarks.rank_rules CORPUS/runs
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np

from koopscope._types import Float64
from koopscope.analysis.analysis import Analysis
from koopscope.analysis.settings import Settings
from koopscope.errors import KoopscopeError
from koopscope.runs.detect.opening import open_run
from koopscope.spectra.heldout import forecast_errors, held_out_rank
from koopscope.spectra.rank import truncation_rank
from koopscope.spectra.reduction import Reduction, reduce
from koopscope.spectra.series import Series
from studies.plan import TUNING

WINDOWS = (16, 30)
PLACES = 4
RESIDUAL_LIMIT = 0.5


def _truncated_error(reduction: Reduction, rank: int, horizon: int) -> float:
    """Error of predicting the displacement with so many leading directions."""
    operator = reduction.operator(min(rank, reduction.numerical_rank))
    return float(forecast_errors(reduction, horizon, [operator])[0])


def by_rank(rule: int | float) -> Callable[[Float64, Reduction, int, int], float]:
    def error(gram: Float64, reduction: Reduction, size: int, horizon: int) -> float:
        aspect = reduction.pairs / max(size, reduction.pairs)
        rank = truncation_rank(reduction.singular_values, rule, aspect)
        return _truncated_error(reduction, rank, horizon)

    return error


def by_held_out(gram: Float64, reduction: Reduction, size: int, horizon: int) -> float:
    rank = held_out_rank(
        Series("increments", gram[: reduction.pairs + 1, : reduction.pairs + 1], size)
    )
    return _truncated_error(reduction, rank, horizon)


def by_residual(gram: Float64, reduction: Reduction, size: int, horizon: int) -> float:
    """The optimal hard threshold, and of its modes only those with a small residual."""
    m = reduction.pairs
    rank = truncation_rank(reduction.singular_values, 0, m / max(size, m))
    eigenvalues, Q = np.linalg.eig(reduction.operator(rank).astype(complex))
    YY = gram[1 : m + 1, 1 : m + 1] / reduction.scales[:, None] / reduction.scales
    Z = (reduction.basis(rank) * reduction.scales[:, None]) @ Q
    lengths = np.real(np.einsum("ij,ij->j", Z.conj(), YY @ Z))
    residuals = np.sqrt(np.maximum(lengths - np.abs(eigenvalues) ** 2, 0.0))
    basis = reduction.basis(rank)
    last = np.linalg.solve(Q, (basis.T @ gram[:m, m]).astype(complex))
    powers = sum(eigenvalues**k for k in range(1, horizon + 1))
    predicted = (Q @ (last * (residuals < RESIDUAL_LIMIT) * powers)).real
    return _combination_error(gram, m, horizon, predicted @ basis.T, slice(0, m))


def by_straight_line(gram: Float64, reduction: Reduction, size: int, horizon: int) -> float:
    m = reduction.pairs
    return _combination_error(gram, m, horizon, np.full(5, horizon / 5.0), slice(m - 4, m + 1))


def _combination_error(
    gram: Float64, m: int, horizon: int, weights: Float64, which: slice
) -> float:
    """Error of predicting the displacement as a weighted sum of known increments."""
    ahead = slice(m + 1, m + 1 + horizon)
    moved = gram[ahead, ahead].sum()
    overlap = weights @ gram[which, ahead].sum(axis=1)
    square = moved - 2.0 * overlap + weights @ gram[which, which] @ weights
    return float(np.sqrt(max(square, 0.0) / moved))


RULES = {
    "straight line through the last 5": by_straight_line,
    "4": by_rank(4),
    "10": by_rank(10),
    "0.99 of the energy": by_rank(0.99),
    "-1 (none)": by_rank(-1),
    "0 (optimal hard threshold)": by_rank(0),
    "0, residual below 0.5": by_residual,
    "auto (held-out prediction)": by_held_out,
}

#: side -> window -> rule -> errors, one per window of a run.
Found = dict[str, dict[int, dict[str, list[float]]]]


def measure(path: Path, found: dict[int, dict[str, list[float]]]) -> None:
    with open_run(path) as run:
        gram = Analysis.of(run, Settings()).gram()
    for window in WINDOWS:
        horizon = window // 2
        latest = gram.snapshots - 1 - window - horizon
        if latest < 0:
            continue
        for first in np.linspace(0, latest, PLACES).astype(int):
            part = slice(first, first + window + horizon)
            increments = gram.increments[part, part]
            if not (np.diagonal(increments) > 0.0).all():
                continue
            series = Series("increments", increments, gram.size)
            reduction = reduce(series, window - 1)
            for name, rule in RULES.items():
                found[window][name].append(rule(increments, reduction, gram.size, horizon))


def main() -> None:
    found: Found = {
        side: {window: defaultdict(list) for window in WINDOWS} for side in ("tuning", "held out")
    }
    for path in sorted(Path(sys.argv[1]).glob("*.h5")):
        family = path.stem.rsplit("-", 1)[0]
        try:
            measure(path, found["tuning" if family in TUNING else "held out"])
        except KoopscopeError as error:
            print(f"left out {path.name}: {error.message}", file=sys.stderr)
    for side, by_window in found.items():
        for window, by_rule in by_window.items():
            count = len(next(iter(by_rule.values()), []))
            print(f"\n{side} families, {window} increments, {window // 2} ahead, {count} windows\n")
            print("| rank | median | 75% | 90% | geometric mean |")
            print("|---|---|---|---|---|")
            for name, errors in by_rule.items():
                quantiles = np.quantile(errors, [0.5, 0.75, 0.9])
                mean = np.exp(np.mean(np.log(np.clip(errors, 1e-3, 10.0))))
                cells = " | ".join(f"{value:.3f}" for value in (*quantiles, mean))
                print(f"| {name} | {cells} |")


if __name__ == "__main__":
    main()
