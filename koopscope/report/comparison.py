"""Two trainings held against each other, as text for people and as JSON; decides nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from koopscope.comparison.alignment import Alignment
from koopscope.comparison.distances import PARTS
from koopscope.comparison.parting import Parting
from koopscope.comparison.recorded import RecordedMetric, recorded_metric
from koopscope.comparison.results import Comparison, PairComparison, Side
from koopscope.report.envelope import JsonObject, enveloped
from koopscope.report.text.canvas import Canvas
from koopscope.report.text.numbers import percent
from koopscope.report.text.terminal_style import (
    Cell,
    Page,
    fitted_table,
    sparkline,
    table,
    wrapped,
)
from koopscope.runs.run import RunDescription

#: The style of each verdict.
LOOKS = {"same": "pass", "different": "fail", "inconclusive": "inconclusive"}

_COLUMNS, _ROWS = 56, 8

#: What the table calls the parts that it shows, each in usual seed distances.
_SHOWN = {"speed": "speed", "directness": "straightness", "spectra": "spectra", "operator": "law"}

_SPARK = 24


def document(found: Comparison) -> JsonObject:
    """Return the comparison as plain JSON values."""
    return enveloped(content(found))


def content(found: Comparison) -> dict[str, Any]:
    """Return the same with its arrays and numbers as they are, and without the versions."""
    return {
        "runs": [
            {"group": side.name, "path": run.path, "snapshots": run.snapshots}
            for side in _sides(found)
            for run in side.runs
        ],
        "comparison": {**_pair(found.foremost), "verdict": found.verdict},
        "pairs": [_pair(pair) for pair in found.pairs],
        "recorded": _recorded(recorded_metric(_descriptions(found))),
    }


def _descriptions(found: Comparison) -> list[RunDescription]:
    return [run for side in _sides(found) for run in side.runs]


def _recorded(found: RecordedMetric | None) -> JsonObject | None:
    if found is None:
        return None
    return {
        "metric": found.choice.name,
        "better": found.choice.better,
        "runs": [
            {"path": path, "value": best.value, "step": best.step, "last": best.last}
            for path, best in found.runs
        ],
    }


def _sides(found: Comparison) -> list[Side]:
    return [found.pairs[0].first, *(pair.second for pair in found.pairs)]


def _pair(pair: PairComparison) -> JsonObject:
    test = pair.test
    return {
        "first": pair.first.name,
        "second": pair.second.name,
        "verdict": pair.verdict,
        "decided_by": pair.rule,
        "reason": pair.reason,
        "p_value": pair.p_value,
        "distance": pair.distance,
        "distance_interval": pair.interval,
        "level": pair.level,
        "score": {
            "same_beyond": pair.score.same_beyond,
            "different_within": pair.score.different_within,
        },
        "permutation": {
            "contrast": test.contrast,
            "smallest_p_value": test.smallest,
            "assignments": test.assignments,
            "exact": test.is_exact,
        }
        if test is not None
        else None,
        "aligned_by": pair.timeline.way,
        "steps": pair.timeline.steps,
        "parts_at_step": pair.parts_at_step,
        "parting": _parting(pair.parting),
        "network": _parts(pair),
        "layers": [
            {
                "name": layer.name,
                "parameters": layer.size,
                "distance": layer.distance.value,
                "parts_at_step": layer.parts_at_step,
                "parts": dict(zip(PARTS, layer.distance.parts, strict=True)),
            }
            for layer in pair.layers
        ],
        "motions": _motions(pair),
        "alignment": _alignment(pair.alignment),
        "breaks_at_steps": [*pair.first.breaks_at_steps, *pair.second.breaks_at_steps],
        "notes": pair.notes,
    }


def _parts(pair: PairComparison) -> JsonObject:
    return {
        "distance": pair.network.value,
        "parts": dict(zip(PARTS, pair.network.parts, strict=True)),
    }


def _parting(found: Parting | None) -> JsonObject | None:
    if found is None:
        return None
    return {
        "first_unequal_step": found.first_unequal_step,
        "parts_at_step": found.parts_at_step,
        "growth": found.growth,
        "exponent": found.exponent,
        "interval": found.interval,
        "doubling_steps": found.doubling_steps,
        "steps": found.steps,
        "distances": found.distances,
        "rounding": found.rounding,
        "unequal": found.unequal,
    }


def _motions(pair: PairComparison) -> JsonObject | None:
    found = pair.motions
    if found is None:
        return None
    return {
        "angles_degrees": found.angles_degrees,
        "displacement_cosine": found.displacement_cosine,
        "final_distance": found.final_distance,
        "proxies_without_data": {
            "final_cosine": found.final_cosine,
            "midpoint_norm": found.midpoint_norm,
        },
    }


def _alignment(found: Alignment | None) -> JsonObject | None:
    if found is None:
        return None
    last = found.last
    return {
        "units": found.units,
        "moved": found.moved,
        "rescaled": found.rescaled,
        "are_copies": found.are_copies,
        "layers": [
            {
                "name": layer.name,
                "units": layer.units,
                "moved": layer.moved,
                "rescaled": layer.rescaled,
            }
            for layer in found.layers
        ],
        "not_aligned": [{"name": name, "reason": why} for name, why in found.fixed.items()],
        "last_weights_apart": {
            "as_stored": last.as_stored,
            "aligned": last.aligned,
            "at_one_scale": last.at_one_scale,
        }
        if last is not None
        else None,
    }


def render(found: Comparison, page: Page) -> str:
    """Return the comparison as text for a page: the verdict first."""
    sections = []
    for pair in found.pairs:
        sections += [section for section in _sections(pair, page) if section]
    recorded = recorded_metric(_descriptions(found))
    if recorded is not None:
        sections.append(_losses(recorded, page))
    return "\n\n".join("\n".join(section) for section in sections) + "\n"


def _losses(found: RecordedMetric, page: Page) -> list[str]:
    name = found.choice.name
    heads = ("Recorded, best first", f"best {name}", "at step", "last")
    rows = [[Cell(head, "strong", right=k > 0) for k, head in enumerate(heads)]]
    for path, best in found.runs:
        numbers = (f"{best.value:.4g}", f"{best.step:,}", f"{best.last:.4g}")
        rows.append([Cell(f"  {path}"), *(Cell(number, right=True) for number in numbers)])
    return fitted_table(rows, page)


def _sections(pair: PairComparison, page: Page) -> Iterator[list[str]]:
    look = LOOKS[pair.verdict]
    mark = page.glyphs.marks[look if look != "fail" else "fail"]
    verdict = page.style(f"{mark} {pair.verdict}", look)
    head = [page.style(f"{pair.first.name}  against  {pair.second.name}", "title")]
    if page.width is not None and len(pair.first.name + pair.second.name) + 11 > page.width:
        head = [page.style(pair.first.name, "title"), page.style(pair.second.name, "title")]
    said = wrapped(pair.reason, page, 2)
    yield [*head, verdict, *(f"  {line}" for line in said)]
    facts = [f"compared: {pair.timeline.sentence}", *(f"note: {note}" for note in pair.notes)]
    yield [line for fact in facts for line in wrapped(fact, page)]
    if pair.parting is not None:
        yield _weights(pair, pair.parting, page)
    yield list(_courses(pair, page))
    if pair.layers:
        yield list(_layers(pair, page))


def _weights(pair: PairComparison, found: Parting, page: Page) -> list[str]:
    heading = "Weights" if pair.layers else "Weights of the tensors that are in both runs"
    lines = [page.style(heading, "title")]
    if found.parts_at_step is None:
        how = "never differ" if found.first_unequal_step is None else "differ only by rounding"
        return [*lines, f"  they {how}"]
    if found.parts_at_step == found.steps[0]:
        said = f"apart from the first compared step on ({found.parts_at_step:,})"
    else:
        said = f"together up to rounding until step {found.parts_at_step:,}"
    lines += [f"  {line}" for line in wrapped(said, page, 2)]
    if found.exponent is not None and found.interval is not None:
        low, high = found.interval
        law = (
            f"from there their distance grows as time to the power {found.exponent:.2f} "
            f"({low:.2f} to {high:.2f})"
        )
        if found.growth == "exponential":
            law += (
                f"; an exponential that doubles every {found.doubling_steps:,.3g} steps fits better"
            )
        lines += [f"  {line}" for line in wrapped(law, page, 2)]
    lines += _distance_picture(found, page)
    motion = pair.motions
    if motion is not None:
        rows = []
        if len(motion.angles_degrees):
            angles = ", ".join(f"{angle:.0f}" for angle in motion.angles_degrees)
            rows.append(("angles between the motions", f"{angles} degrees"))
        if motion.displacement_cosine is not None:
            rows.append(("cosine of the ways travelled", f"{motion.displacement_cosine:.3f}"))
        if motion.final_distance is not None:
            rows.append(("last weights apart, in ways travelled", f"{motion.final_distance:.2f}"))
        if motion.midpoint_norm is not None:
            rows.append(
                ("norm half way between them (proxy, no data)", percent(motion.midpoint_norm))
            )
        rows += _of_units(pair.alignment)
        lines += table([[Cell(f"  {name}"), Cell(value, right=True)] for name, value in rows], page)
    return lines


def _of_units(found: Alignment | None) -> list[tuple[str, str]]:
    """Return how far the last weights around hidden units are apart in each order and scale."""
    last = found.last if found is not None else None
    if found is None or last is None or not found.moved:
        return []
    rows = [
        ("last weights around hidden units apart, in lengths", f"{last.aligned:.3f}"),
        ("  with units as they are stored", f"{last.as_stored:.3f}"),
    ]
    if last.at_one_scale is not None:
        rows.append(("  with units at one scale (if ReLU or the like)", f"{last.at_one_scale:.3f}"))
    return rows


def _distance_picture(found: Parting, page: Page) -> list[str]:
    """Draw the distance over the compared snapshots."""
    values = [float(each) for each in found.distances if each == each]
    top = max(values, default=0.0)
    if len(values) < 3 or not top > 0.0:
        return []
    canvas = Canvas(min(_COLUMNS, (page.width or _COLUMNS) - 2), _ROWS)
    first, last = float(found.steps[0]), float(found.steps[-1])
    before = None
    for step, value in zip(found.steps, found.distances, strict=True):
        if value != value:
            break
        place = (0.999 * (float(step) - first) / max(1.0, last - first), 0.98 * float(value) / top)
        canvas.line(before or place, place)
        before = place
    lines = [f"  {line}".rstrip() for line in canvas.lines(page)]
    said = f"distance of the weights, 0 to {top:.3g}, over steps {int(first):,} to {int(last):,}"
    return [*lines, *(f"  {page.style(line, 'faint')}" for line in wrapped(said, page, 2))]


def _courses(pair: PairComparison, page: Page) -> Iterator[str]:
    """Yield a row per side and course of the network, as a small picture."""
    heads = ("Network", "speed", "straightness", "way still to go")
    rows = [[Cell(heads[0], "title"), *(Cell(head, "faint") for head in heads[1:])]]
    width = _SPARK if page.width is None else max(6, min(_SPARK, (page.width - 24) // 3))
    for side in (pair.first, pair.second):
        for run, courses in zip(side.runs, side.courses, strict=True):
            name = side.name if len(side.runs) == 1 else f"{side.name}: {run.path}"
            drawn = [
                [float(value) for value in _positive(courses[each], each)]
                for each in ("speed", "directness", "remaining")
            ]
            rows.append([Cell(f"  {name}"), *(Cell(sparkline(c, width, page)) for c in drawn)])
    yield from fitted_table(rows, page)
    legend = (
        "as parts of the largest; by the whole network's own numbers they are "
        f"{pair.network.value:.2f} usual seed distances apart"
    )
    yield from (page.style(f"  {line}", "faint") for line in wrapped(legend, page, 2))


def _positive(values: Any, name: str) -> Any:
    """Return the speed itself, which the course has as a logarithm; others as they are."""
    import numpy as np

    return np.exp(values) if name == "speed" else np.clip(values, 0.0, None)


def _layers(pair: PairComparison, page: Page) -> Iterator[str]:
    parted = any(layer.parts_at_step is not None for layer in pair.layers)
    heads = ["weights", "distance", *_SHOWN.values(), *(["apart at step"] if parted else [])]
    rows = [[Cell("Layers", "title"), *(Cell(head, "faint", right=True) for head in heads)]]
    for layer in pair.layers:
        own = layer.distance
        row = [
            Cell(f"  {layer.name}"),
            Cell(f"{layer.size:,}", right=True),
            Cell(f"{own.value:.2f}", "strong", right=True),
            *(Cell(small_ratio(own.relative(part)), right=True) for part in _SHOWN),
        ]
        if parted:
            step = layer.parts_at_step
            row.append(Cell(page.glyphs.dash if step is None else f"{step:,}", right=True))
        rows.append(row)
    yield from fitted_table(rows, page)
    legend = "in usual seed distances: 1 is what another seed of one recipe makes"
    yield from (page.style(f"  {line}", "faint") for line in wrapped(legend, page, 2))


def small_ratio(value: float) -> str:
    """Return a ratio with the digits that matter."""
    return f"{value:.1f}" if value >= 0.05 or value < 5e-4 else "<0.1"
