"""What a run file holds, as text and as JSON: tensors, steps, metrics, metadata, what is left out.

Shows a ``RunDescription`` and nothing else; reads no weight and judges no run.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from koopscope.report.envelope import Failure, JsonObject, enveloped, of_runs
from koopscope.report.text.numbers import count
from koopscope.report.text.terminal_style import Cell, Page, columns_of, fitted_table, wrapped
from koopscope.runs.dtypes import STORED_AS
from koopscope.runs.run import RunDescription, TensorInfo
from koopscope.runs.views.progression import best_progression
from koopscope.spectra.window import usable_window


@dataclass(frozen=True)
class Inspection:
    """Runs that were opened, and those that could not be."""

    runs: tuple[RunDescription, ...]
    failures: tuple[Failure, ...] = ()


def render(inspection: Inspection, page: Page) -> str:
    """Return the descriptions as text for a page."""
    return "\n\n\n".join("\n".join(_run(run, page)) for run in inspection.runs)


def document(inspection: Inspection) -> JsonObject:
    """Return the descriptions as plain JSON values."""
    return of_runs([run_document(run) for run in inspection.runs], inspection.failures)


def run_document(run: RunDescription) -> JsonObject:
    """Return one description as plain JSON values."""
    return enveloped(
        {
            "run": {
                "path": run.path,
                "format": run.format,
                "snapshots": run.snapshots,
                "parameters": run.parameters,
                "tensors": len(run.tensors),
                "dtype": run.dtype,
                "bytes": run.snapshots * _snapshot_bytes(run),
                "first_step": run.steps[0] if run.snapshots else None,
                "last_step": run.steps[-1] if run.snapshots else None,
                **_spacing(run.steps),
                **({} if run.sketch is None else {"sketch": _sketch(run)}),
                "skipped": [asdict(skipped) for skipped in run.skipped],
                "notes": run.notes,
            },
            "layers": [
                {"name": name, "tensors": len(members), "parameters": _size(members)}
                for name, members in _layers(run)
            ],
            "tensors": [
                {**asdict(tensor), "layer": tensor.layer, "parameters": tensor.size}
                for tensor in run.tensors
            ],
            "metrics": [
                {"name": name, **_summary(values, run.steps)}
                for name, values in run.metrics.items()
            ],
            "metadata": run.metadata,
        }
    )


def _run(run: RunDescription, page: Page) -> Iterator[str]:
    yield page.style(run.path, "title")
    yield from wrapped(f"{run.format}: {_steps(run)}", page)
    yield from wrapped(
        f"{count(run.parameters, 'weight')} in {count(len(run.tensors), 'tensor')} of "
        f"{count(len(run.layers), 'layer')}{', ' + run.dtype if run.tensors else ''}; "
        f"{_in_units(_snapshot_bytes(run))} a snapshot",
        page,
    )
    if run.sketch is not None:
        kept = len(run.sketch.kept)
        weights = f"; weights of {count(kept, 'snapshot')}" if kept else " and no weights"
        yield from wrapped(f"holds {run.sketch.words}{weights}", page)
    for note in run.notes:
        yield from wrapped(f"note: {note}", page)
    if run.tensors:
        yield ""
        yield from fitted_table([_tensor_head(run), *_tensor_rows(run)], page)
    if len(run.layers) < len(run.tensors):
        yield ""
        yield from fitted_table(_layer_rows(run), page)
    if run.metrics:
        yield ""
        yield from _metric_table(run, page)
    if run.metadata:
        yield ""
        yield page.style("Metadata", "title")
        yield from _listed(((key, _text(value)) for key, value in run.metadata.items()), page)
    if run.skipped:
        yield ""
        yield page.style("Skipped", "title")
        yield from _listed(((entry.name, entry.reason) for entry in run.skipped), page)


def _tensor_head(run: RunDescription) -> list[Cell]:
    return [Cell("Tensors", "title"), *_heads("shape", "weights", "dtype", "kind")]


def _tensor_rows(run: RunDescription) -> Iterator[list[Cell]]:
    for tensor in run.tensors:
        shape = " x ".join(str(size) for size in tensor.shape) or "scalar"
        values = (shape, f"{tensor.size:,}", tensor.dtype, tensor.kind)
        yield [Cell(tensor.name), *_cells(values)]


def _layer_rows(run: RunDescription) -> list[list[Cell]]:
    rows = [[Cell("Layers", "title"), *_heads("tensors", "weights", "share")]]
    for name, members in _layers(run):
        share = f"{_size(members) / run.parameters:.1%}"
        rows.append([Cell(name), *_cells((str(len(members)), f"{_size(members):,}", share))])
    return rows


def _metric_table(run: RunDescription, page: Page) -> list[str]:
    """Return the metrics with as many digits as the page has room for."""
    for digits in (5, 4, 3):
        lines = fitted_table(_metric_rows(run, page, digits), Page(page.width, page.unicode))
        if page.width is None or max(map(columns_of, lines)) <= page.width:
            break
    return fitted_table(_metric_rows(run, page, digits), page)


def _metric_rows(run: RunDescription, page: Page, digits: int) -> list[list[Cell]]:
    heads = _heads("values", "first", "last", "lowest", "at step", "highest", "at step")
    rows = [[Cell("Metrics", "title"), *heads]]
    for name, values in run.metrics.items():
        found = _summary(values, run.steps)
        numbers = [found[key] for key in ("first", "last", "lowest", "lowest_step")]
        numbers += [found["highest"], found["highest_step"]]
        texts = [
            page.glyphs.dash if number is None else _number(number, digits) for number in numbers
        ]
        rows.append([Cell(name), *_cells((str(found["values"]), *texts))])
    return rows


def _summary(
    values: npt.NDArray[np.float64], steps: npt.NDArray[np.int64]
) -> dict[str, int | float | None]:
    """Return how many values were given, the ends, and the extremes of those that are finite."""
    given = np.flatnonzero(~np.isnan(values))
    finite = np.flatnonzero(np.isfinite(values))
    low = int(finite[np.argmin(values[finite])]) if finite.size else None
    high = int(finite[np.argmax(values[finite])]) if finite.size else None
    return {
        "values": int(given.size),
        "first": float(values[given[0]]) if given.size else None,
        "last": float(values[given[-1]]) if given.size else None,
        "lowest": None if low is None else float(values[low]),
        "lowest_step": None if low is None else int(steps[low]),
        "highest": None if high is None else float(values[high]),
        "highest_step": None if high is None else int(steps[high]),
    }


def _spacing(steps: npt.NDArray[np.int64]) -> dict[str, Any]:
    """Return the spacing of the longest evenly spaced stretch, and where it lies."""
    if len(steps) < 2:
        return {"spacing": None, "evenly_spaced": True, "even_stretch": None}
    window = usable_window(steps, np.ones(len(steps), np.bool_))
    used = steps[window.first : window.stop]
    progression = steps[best_progression(steps)]
    if len(progression) > len(used):  # with snapshots in between, which analyze leaves out
        used = progression
    return {
        "spacing": float(used[1] - used[0]),
        "evenly_spaced": window.evenly_spaced,
        "even_stretch": {
            "snapshots": len(used),
            "first_step": used[0],
            "last_step": used[-1],
        },
    }


def _steps(run: RunDescription) -> str:
    steps = run.steps
    if run.snapshots < 2:
        return f"1 snapshot, step {steps[0]:,}" if run.snapshots else "no snapshot"
    text = f"{run.snapshots:,} snapshots, steps {steps[0]:,} to {steps[-1]:,}"
    spacing = _spacing(steps)
    every = "every step" if spacing["spacing"] == 1 else f"every {spacing['spacing']:,.0f} steps"
    if spacing["evenly_spaced"]:
        return f"{text}, {every}"
    gaps, stretch = np.diff(steps), spacing["even_stretch"]
    return (
        f"{text}, unevenly spaced ({gaps.min():,} to {gaps.max():,} steps apart); longest even "
        f"stretch: {stretch['snapshots']:,} snapshots, steps {stretch['first_step']:,} to "
        f"{stretch['last_step']:,}, {every}"
    )


def _layers(run: RunDescription) -> list[tuple[str, list[TensorInfo]]]:
    members: dict[str, list[TensorInfo]] = {}
    for tensor in run.tensors:
        members.setdefault(tensor.layer, []).append(tensor)
    return list(members.items())


def _size(tensors: Iterable[TensorInfo]) -> int:
    return sum(tensor.size for tensor in tensors)


def _snapshot_bytes(run: RunDescription) -> int:
    if run.sketch is not None:
        return sum(run.sketch.bytes_of(tensor.size, tensor.is_complex) for tensor in run.tensors)
    return sum(tensor.size * STORED_AS[tensor.dtype].itemsize for tensor in run.tensors)


def _sketch(run: RunDescription) -> JsonObject | None:
    info = run.sketch
    if info is None:
        return None
    kept = [run.steps[row] for row in info.kept]
    return {"numbers": info.numbers, "seed": info.seed, "kept_steps": kept}


def _heads(*texts: str) -> list[Cell]:
    return [Cell(text, "faint", right=True) for text in texts]


def _cells(texts: Iterable[str]) -> list[Cell]:
    return [Cell(text, right=True) for text in texts]


def _listed(pairs: Iterable[tuple[str, str]], page: Page) -> Iterator[str]:
    for name, text in pairs:
        first, *rest = wrapped(" ".join(f"{name}: {text}".split()), page, indent=4)
        yield f"  {first}"
        yield from (f"    {line}" for line in rest)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _number(value: float, digits: int) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.{digits}g}"


def _in_units(size: int) -> str:
    """Return a number of bytes to three digits."""
    scaled, unit = float(size), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if scaled < 1000:
            break
        scaled, unit = scaled / 1024, larger
    return f"{scaled:.3g} {unit}"
