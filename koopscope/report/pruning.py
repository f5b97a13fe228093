"""What a pruning keeps, as text and as JSON: per layer, and the mode that it rests on.

Shows prunings and nothing else; scores no weight and writes no mask.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from koopscope.pruning.basis import PruningBasis, PruningSettings
from koopscope.pruning.prune import Pruning, TensorDensity
from koopscope.report.envelope import JsonObject, enveloped
from koopscope.report.text.numbers import count
from koopscope.report.text.terminal_style import Cell, Page, fitted_table, wrapped
from koopscope.runs.roles import SMALL

#: Share of a layer's squared norm from which losing it is warned about: of the masks that took more
#: from a layer most cost a tenth of the accuracy, of the others few did (docs/evidence/pruning.md).
MUCH = 0.3

#: Names of tensors kept for one reason that are listed.
NAMED = 4

#: Columns of a density bar, and of a name at least.
BAR_COLUMNS = 12


@dataclass(frozen=True)
class PruningReport:
    """One run, and the prunings that were asked for.

    Attributes
    ----------
    basis, settings
        What all of them rest on.
    prunings
        One per sparsity, in the order given; at least one.
    """

    basis: PruningBasis
    settings: PruningSettings
    prunings: tuple[Pruning, ...]


@dataclass(frozen=True)
class LayerDensity:
    """A layer's weights: how many there are, how many stay, how many stay by magnitude as well.

    ``squares`` and ``squares_kept`` are sums of squared weights: of all, and of those that stay.
    """

    name: str
    total: int
    kept: int
    shared: int
    squares: float = 0.0
    squares_kept: float = 0.0

    @property
    def density(self) -> float:
        """Share of the weights that stays."""
        return self.kept / self.total

    @property
    def overlap(self) -> float | None:
        """Share of the kept weights that magnitude pruning keeps too."""
        return self.shared / self.kept if self.kept else None

    @property
    def removed(self) -> float:
        """Share of the layer's squared norm that goes."""
        return 1.0 - self.squares_kept / self.squares if self.squares else 0.0


def layers_of(pruning: Pruning) -> tuple[LayerDensity, ...]:
    """Return the sums over each layer's tensors, in model order."""
    layers: dict[str, list[TensorDensity]] = {}
    for tensor in pruning.tensors:
        layers.setdefault(tensor.layer, []).append(tensor)
    return tuple(
        LayerDensity(
            name,
            sum(tensor.total for tensor in members),
            sum(tensor.kept for tensor in members),
            sum(tensor.shared for tensor in members),
            sum(tensor.squares for tensor in members),
            sum(tensor.squares_kept for tensor in members),
        )
        for name, members in layers.items()
    )


def render(report: PruningReport, page: Page) -> str:
    """Return the report as text for a page, ending in a newline."""
    sections = [_header(report, page), *(_pruning(p, page) for p in report.prunings)]
    legend = "bar: density relative to the densest layer"
    if report.settings.criterion != "magnitude":
        legend += "; overlap: share of the kept weights that magnitude pruning keeps too"
    sections[-1] += [page.style(line, "faint") for line in wrapped(legend, page)]
    return "\n\n".join("\n".join(section) for section in sections) + "\n"


def document(report: PruningReport) -> JsonObject:
    """Return the report as plain JSON values."""
    basis, settings = report.basis, report.settings
    run, window = basis.analysis.description, basis.analysis.window
    request = report.prunings[0].request
    return enveloped(
        {
            "run": {
                "path": run.path,
                "format": run.format,
                "snapshots": run.snapshots,
                "parameters": run.parameters,
                "window": [run.steps[window.first], run.steps[window.stop - 1]],
                "step": basis.step,
            },
            "settings": {
                **asdict(settings),
                "scope": request.scope,
                "structure": request.structure,
                "min_keep": request.min_keep,
                "allow_empty_layer": request.allow_empty_layer,
            },
            "mode": _mode(report.prunings[0]),
            "kept_whole": [
                {"name": kept.tensor.name, "parameters": kept.tensor.size, "reason": kept.reason}
                for kept in basis.kept
            ],
            "prunings": [_document(pruning) for pruning in report.prunings],
            "notes": report.prunings[0].notes,
        }
    )


def _mode(pruning: Pruning) -> dict[str, Any] | None:
    mode = pruning.criterion.mode
    if mode is None:
        return None
    return {
        "index": mode.index,
        "rank": mode.rank,
        "re": 1.0,
        "im": 0.0,
        "abs": 1.0,
        "residual": mode.residual,
        "largest_other": mode.fastest,
    }


def _document(pruning: Pruning) -> dict[str, Any]:
    return {
        "sparsity": pruning.request.sparsity,
        "total": pruning.total,
        "kept": pruning.kept,
        "overlap_with_magnitude": pruning.overlap,
        "squared_norm_removed": pruning.removed,
        "warning": warning_of(pruning),
        "layers": [_density(layer) for layer in layers_of(pruning)],
        "tensors": [_density(_as_layer(tensor)) for tensor in pruning.tensors],
    }


def _as_layer(tensor: Any) -> LayerDensity:
    return LayerDensity(
        tensor.name, tensor.total, tensor.kept, tensor.shared, tensor.squares, tensor.squares_kept
    )


def _density(layer: LayerDensity) -> dict[str, Any]:
    return {
        "name": layer.name,
        "total": layer.total,
        "kept": layer.kept,
        "density": layer.density,
        "overlap_with_magnitude": layer.overlap,
        "squared_norm_removed": layer.removed,
    }


def _header(report: PruningReport, page: Page) -> list[str]:
    basis, first = report.basis, report.prunings[0]
    run, window = basis.analysis.description, basis.analysis.window
    others = _kept_whole(report)
    lines = [page.style(run.path, "title")]
    judged = f"judged at step {basis.step:,}"
    if first.criterion.snapshots_used > 2:
        judged += f" from the {window.snapshots:,} snapshots since step {run.steps[window.first]:,}"
    lines += wrapped(judged, page)
    lines += wrapped(f"{first.criterion.name}: {_meaning(first, page)}", page)
    what = {"weight": "single weights", "unit": "whole units"}[first.request.structure]
    share = {"global": "one threshold for all layers", "layer": "the same share of each layer"}
    are = "other is" if others == 1 else "others are"
    kept = f"; {others:,} {are} kept whole" if others else ""
    lines += wrapped(
        f"{what}, {share[first.request.scope]}: {first.total:,} weights in "
        f"{count(len(first.tensors), 'tensor')}{kept}",
        page,
    )
    lines += [line for kept in _kept_lines(report) for line in wrapped(kept, page)]
    for note in first.notes:
        lines += wrapped(f"note: {note}", page)
    return lines


def _kept_lines(report: PruningReport) -> Iterator[str]:
    """Yield which parameters stay whole and why, biases apart: they are many and small."""
    by_reason: dict[str, list[str]] = {}
    for kept in report.basis.kept:
        if kept.reason != SMALL:
            by_reason.setdefault(kept.reason, []).append(kept.tensor.name)
    for reason, names in by_reason.items():
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        yield f"kept: {', '.join(names[:NAMED])}{more} ({reason})"


def _kept_whole(report: PruningReport) -> int:
    """Return how many weights of the run have no mask; tied tensors are counted as recorded."""
    masked = {tensor.name for tensor in report.prunings[0].tensors}
    names = {n for p in report.basis.parameters if p.tensor.name in masked for n in p.names}
    tensors = report.basis.analysis.description.tensors
    return sum(tensor.size for tensor in tensors if tensor.name not in names)


def _meaning(pruning: Pruning, page: Page) -> str:
    mode = pruning.criterion.mode
    if mode is None:
        return _MEANINGS[pruning.criterion.name]
    said = f"mode {mode.index + 1} of {mode.rank}, {page.glyphs.eigenvalue} = 1, the fixed point"
    if not math.isnan(mode.residual):
        said += f", residual {mode.residual:.2g}"
    if not mode.is_approached:
        said += (
            f"; the weights move away from it, for another mode has {page.glyphs.magnitude} = "
            f"{mode.fastest:.4f}"
        )
    return said


_MEANINGS = {
    "forecast-magnitude": "magnitudes where the modes of the increments come to rest",
    "destination": "magnitudes forecast for 20 snapshots ahead",
    "magnitude": "the weights' magnitudes",
    "gradient-magnitude": "magnitude times last increment",
    "random": "chance",
}


def _pruning(pruning: Pruning, page: Page) -> list[str]:
    stay = f"{pruning.kept:,} of {pruning.total:,} weights stay"
    if pruning.criterion.name != "magnitude" and pruning.overlap is not None:
        stay += f", {pruning.overlap:.1%} of them by magnitude as well"
    title = page.style(f"Sparsity {100 * pruning.request.sparsity:g}%", "title")
    lines = [f"{title}: {stay}", *fitted_table(list(_rows(pruning, page)), page)]
    warning = warning_of(pruning)
    return lines + (wrapped(f"warning: {warning}", page) if warning else [])


def warning_of(pruning: Pruning) -> str | None:
    """Return in words that a mask removes so much that the network will not work as it is."""
    worst = max(layers_of(pruning), key=lambda layer: layer.removed)
    if worst.removed < MUCH:
        return None
    return (
        f"{worst.name} loses {worst.removed:.0%} of its squared norm, the network "
        f"{pruning.removed:.0%}. From {MUCH:.0%} of a layer on, most networks lost a tenth of "
        "their accuracy or more: train on with the mask held, or choose a lower sparsity."
    )


def _rows(pruning: Pruning, page: Page) -> Iterator[list[Cell]]:
    layers = layers_of(pruning)
    compared = pruning.criterion.name != "magnitude"
    heads = ["weights", "kept", "density", *(["overlap"] if compared else [])]
    yield [Cell("Layers", "title"), *(Cell(head, "faint", right=True) for head in heads), Cell("")]
    densest = max((layer.density for layer in layers), default=0.0)
    for layer in layers:
        numbers = [f"{layer.total:,}", f"{layer.kept:,}", f"{layer.density:.1%}"]
        if compared:
            overlap = layer.overlap
            numbers.append(page.glyphs.dash if overlap is None else f"{overlap:.1%}")
        bar = round(BAR_COLUMNS * layer.density / densest) if densest else 0
        yield [
            Cell(layer.name),
            *(Cell(number, right=True) for number in numbers),
            Cell(page.glyphs.levels[-1] * bar),
        ]
