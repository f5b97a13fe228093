"""What a pruning keeps, as text and as JSON: per layer, and the mode that it rests on.

Shows prunings and nothing else; it must never score a weight or write a mask.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from koopscope._version import __version__
from koopscope.pruning.judging import Judgement, PruningSettings
from koopscope.pruning.prune import Pruning
from koopscope.report.json_values import plain
from koopscope.report.text.numbers import count
from koopscope.report.text.terminal_style import Cell, Page, fitted_table, wrapped

SCHEMA_VERSION = "1.0"

#: Columns of a density bar, and of a name at least.
BAR_COLUMNS = 12


@dataclass(frozen=True)
class PruningReport:
    """One run, and the prunings that were asked for.

    Attributes
    ----------
    judgement, settings
        What all of them rest on.
    prunings
        One per sparsity, in the order given; at least one.
    """

    judgement: Judgement
    settings: PruningSettings
    prunings: tuple[Pruning, ...]


@dataclass(frozen=True)
class LayerDensity:
    """A layer's weights: how many there are, how many stay, how many stay by magnitude as well."""

    name: str
    total: int
    kept: int
    shared: int

    @property
    def density(self) -> float:
        """Share of the weights that stays."""
        return self.kept / self.total

    @property
    def overlap(self) -> float | None:
        """Share of the kept weights that magnitude pruning keeps too."""
        return self.shared / self.kept if self.kept else None


def layers_of(pruning: Pruning) -> tuple[LayerDensity, ...]:
    """Return the sums over each layer's tensors, in model order."""
    sums: dict[str, list[int]] = {}
    for tensor in pruning.tensors:
        counts = (tensor.total, tensor.kept, tensor.shared)
        sums[tensor.layer] = [
            a + b for a, b in zip(sums.get(tensor.layer, (0, 0, 0)), counts, strict=True)
        ]
    return tuple(LayerDensity(name, *counts) for name, counts in sums.items())


def render(report: PruningReport, name: str, page: Page) -> str:
    """Return the report as ``table`` or ``json``, ending in a newline."""
    return render_json(report) if name == "json" else render_table(report, page)


def render_table(report: PruningReport, page: Page) -> str:
    """Return the report as text for a page, ending in a newline."""
    sections = [_header(report, page), *(_pruning(p, page) for p in report.prunings)]
    legend = "bar: density relative to the densest layer"
    if report.settings.criterion != "magnitude":
        legend += "; overlap: share of the kept weights that magnitude pruning keeps too"
    sections[-1] += [page.style(line, "faint") for line in wrapped(legend, page)]
    return "\n\n".join("\n".join(section) for section in sections) + "\n"


def render_json(report: PruningReport) -> str:
    """Return the report as JSON, following ``schema/pruning-1.0.schema.json``."""
    return json.dumps(document(report), indent=2, allow_nan=False) + "\n"


def document(report: PruningReport) -> dict[str, Any]:
    """Return the report as plain JSON values."""
    judgement, settings = report.judgement, report.settings
    run, window = judgement.analysis.description, judgement.analysis.window
    request = report.prunings[0].request
    whole: dict[str, Any] = plain(
        {
            "schema_version": SCHEMA_VERSION,
            "koopscope_version": __version__,
            "run": {
                "path": run.path,
                "format": run.format,
                "snapshots": run.snapshots,
                "parameters": run.parameters,
                "window": [run.steps[window.first], run.steps[window.stop - 1]],
                "step": judgement.step,
            },
            "settings": {
                **asdict(settings),
                "scope": request.scope,
                "structure": request.structure,
                "min_keep": request.min_keep,
                "allow_empty_layer": request.allow_empty_layer,
            },
            "mode": _mode(report.prunings[0]),
            "prunings": [_document(pruning) for pruning in report.prunings],
            "notes": report.prunings[0].notes,
        }
    )
    return whole


def _mode(pruning: Pruning) -> dict[str, Any] | None:
    mode = pruning.criterion.mode
    if mode is None:
        return None
    return {
        "index": mode.index,
        "rank": mode.rank,
        "re": mode.eigenvalue.real,
        "im": mode.eigenvalue.imag,
        "abs": abs(mode.eigenvalue),
        "residual": mode.residual,
    }


def _document(pruning: Pruning) -> dict[str, Any]:
    return {
        "sparsity": pruning.request.sparsity,
        "total": pruning.total,
        "kept": pruning.kept,
        "overlap_with_magnitude": pruning.overlap,
        "layers": [_density(layer) for layer in layers_of(pruning)],
        "tensors": [_density(_as_layer(tensor)) for tensor in pruning.tensors],
    }


def _as_layer(tensor: Any) -> LayerDensity:
    return LayerDensity(tensor.name, tensor.total, tensor.kept, tensor.shared)


def _density(layer: LayerDensity) -> dict[str, Any]:
    return {
        "name": layer.name,
        "total": layer.total,
        "kept": layer.kept,
        "density": layer.density,
        "overlap_with_magnitude": layer.overlap,
    }


def _header(report: PruningReport, page: Page) -> list[str]:
    judgement, first = report.judgement, report.prunings[0]
    run, window = judgement.analysis.description, judgement.analysis.window
    others = _kept_whole(report)
    lines = [page.style(run.path, "title")]
    judged = f"judged at step {judgement.step:,}"
    if np.count_nonzero(first.criterion.coefficients.any(axis=1)) > 2:
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
    for note in first.notes:
        lines += wrapped(f"note: {note}", page)
    return lines


def _kept_whole(report: PruningReport) -> int:
    """Return how many weights of the run have no mask; tied tensors are counted as recorded."""
    masked = {tensor.name for tensor in report.prunings[0].tensors}
    names = {n for p in report.judgement.parameters if p.tensor.name in masked for n in p.names}
    tensors = report.judgement.analysis.description.tensors
    return sum(tensor.size for tensor in tensors if tensor.name not in names)


def _meaning(pruning: Pruning, page: Page) -> str:
    mode = pruning.criterion.mode
    if mode is None:
        return _MEANINGS[pruning.criterion.name]
    value = f"{mode.eigenvalue.real:.6f}"
    if mode.eigenvalue.imag:
        value += f" {'-' if mode.eigenvalue.imag < 0 else '+'} {abs(mode.eigenvalue.imag):.6f}i"
    return (
        f"mode {mode.index + 1} of {mode.rank}, {page.glyphs.eigenvalue} = {value} (nearest 1), "
        f"residual {mode.residual:.2g}"
    )


_MEANINGS = {
    "forecast-magnitude": "magnitudes where the modes of the increments come to rest",
    "magnitude": "the weights' magnitudes",
    "gradient-magnitude": "magnitude times last increment",
    "random": "chance",
}


def _pruning(pruning: Pruning, page: Page) -> list[str]:
    stay = f"{pruning.kept:,} of {pruning.total:,} weights stay"
    if pruning.criterion.name != "magnitude" and pruning.overlap is not None:
        stay += f", {pruning.overlap:.1%} of them by magnitude as well"
    title = page.style(f"Sparsity {100 * pruning.request.sparsity:g}%", "title")
    return [f"{title}: {stay}", *fitted_table(list(_rows(pruning, page)), page)]


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
