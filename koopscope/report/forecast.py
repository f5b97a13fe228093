"""A forecast as a page of text and as a JSON document; decides nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from itertools import pairwise
from typing import Any

import numpy as np

from koopscope.forecasting.backtest import FORECAST, INTERVAL, Score
from koopscope.forecasting.baselines import BASELINES
from koopscope.forecasting.results import Forecast
from koopscope.report.envelope import JsonObject, enveloped
from koopscope.report.text.canvas import Canvas
from koopscope.report.text.numbers import count, percent, step_range
from koopscope.report.text.terminal_style import Cell, Page, shortened, table, wrapped

#: Size of the picture in characters, and columns of a layer's name at most.
_COLUMNS, _ROWS = 56, 10
_NAME_COLUMNS = 24

_OPERATORS = {
    "network": "the network as a whole",
    "layer": "each layer by itself",
    "tensor": "each tensor by itself",
    "node": "each node by itself",
}
_OBSERVABLES = {
    "increments": "changes between",
    "weights": "weights of",
    "centered": "centered weights of",
}
_ACCEPTED = {
    "none": "every weight moves",
    "sign": "only weights that go on in the direction of their last change move",
    "pdt": "only weights that go on in the direction of their last change move, by 1 to k times it",
}


def document(found: Forecast) -> JsonObject:
    """Return the forecast as plain JSON values."""
    return enveloped(content(found))


def content(found: Forecast) -> dict[str, Any]:
    """Return the same with its arrays and numbers as they are, and without the versions."""
    run, plan, test = found.description, found.plan, found.backtest
    window = plan.window(plan.last)
    return {
        "run": {
            "path": run.path,
            "format": run.format,
            "snapshots": run.snapshots,
            "parameters": run.parameters,
            "window": [plan.steps[window.start], plan.steps[window.stop - 1]],
            "spacing_steps": plan.spacing_steps,
            "pooled": plan.every,
        },
        "settings": {**asdict(found.settings), "delay": plan.delay, "every": plan.every},
        "target": {
            "step": plan.target,
            "horizon": plan.horizon,
            "trusted": found.is_trusted,
            "actual_error": found.actual,
        }
        if plan.target is not None
        else None,
        "trust": {"step": found.trusted_step, "verdict": found.verdict},
        "backtest": [
            {
                "horizon": horizon,
                "steps": horizon * plan.spacing_steps,
                "tested": test.tested(index),
                "errors": {name: _score(test.score(name, index)) for name in test.errors},
            }
            for index, horizon in enumerate(test.horizons)
        ],
        "growth": {"modes": found.growth.modes, "factor": found.growth.factor},
        "layers": [asdict(layer) for layer in found.layers],
        "notes": found.notes,
    }


def _score(score: Score | None) -> JsonObject | None:
    return None if score is None else asdict(score)


def render(found: Forecast, page: Page) -> str:
    """Return the forecast as text for a page."""
    sections = [_header(found, page), _test(found, page)]
    if len(found.plane.trajectory) > 1 and found.plane.shares.any():
        sections.append(_picture(found, page))
    if found.layers:
        sections.append(list(_layers(found, page)))
    return "\n\n".join("\n".join(section) for section in sections) + "\n"


def _header(found: Forecast, page: Page) -> list[str]:
    plan, settings = found.plan, found.settings
    window = plan.window(plan.last)
    lines = [page.style(found.description.path, "title")]
    if plan.target is not None:
        last = int(found.description.steps[_last_recorded(found)])
        far = (plan.target - last) / (plan.spacing_steps / plan.every)
        text = count(round(far), "snapshot") if far == round(far) else f"{far:.1f} snapshots"
        lines += wrapped(f"forecast of step {plan.target:,}, {text} after step {last:,}", page)
    steps = step_range(int(plan.steps[window.start]), int(plan.steps[window.stop - 1]))
    what = "means" if plan.every > 1 else "snapshots"
    lines += wrapped(
        f"{_OPERATORS[settings.operator]}, from the {_OBSERVABLES[settings.observable]} "
        f"{plan.fitted} {what}, {steps}",
        page,
    )
    if settings.accept != "none":
        lines += wrapped(_ACCEPTED[settings.accept], page)
    for note in found.notes:
        lines += wrapped(f"note: {note}", page)
    return lines


def _last_recorded(found: Forecast) -> int:
    """Return the run's snapshot that the forecast starts from."""
    steps = found.description.steps
    middle = int(found.plan.steps[found.plan.last])
    return int(np.searchsorted(steps, middle)) + found.plan.every // 2


def _test(found: Forecast, page: Page) -> list[str]:
    title = page.style("Test on the run's own past", "title")
    if not len(found.backtest.horizons):
        return [title, *wrapped(f"{found.verdict}.", page)]
    rows = list(_test_rows(found, page))
    legend = (
        "error over that of assuming no change (below 1 is better), median over past moments; in "
        "brackets "
        f"{INTERVAL[0]:.0%} to {INTERVAL[1]:.0%} of them"
    )
    lines = [title, *table(rows, page)]
    lines += [page.style(line, "faint") for line in wrapped(legend, page)]
    lines += wrapped(f"{found.verdict}.", page)
    if found.actual is not None:
        lines += wrapped(
            f"The run went on: at step {found.plan.target:,} the error of the forecast is "
            f"{found.actual:.2f} times that of assuming no change.",
            page,
        )
    return lines


def _test_rows(found: Forecast, page: Page) -> Iterator[list[Cell]]:
    plan, test = found.plan, found.backtest
    heads = ("snapshots", "steps", "tested", FORECAST, "", *_SHORT.values())
    yield [Cell(head, "faint", right=head != "") for head in heads]
    for index, horizon in enumerate(test.horizons):
        score = test.score(FORECAST, index)
        tested = test.tested(index)
        if score is None:
            continue
        role = "pass" if test.passes(index) else "warn"
        yield [
            Cell(f"{int(horizon) * plan.every:,}", right=True),
            Cell(f"{horizon * plan.spacing_steps:,.6g}", right=True),
            Cell(str(tested), right=True),
            Cell(_error(score.median), role, right=True),
            Cell(f"({_error(score.low)} to {_error(score.high)})"),
            *(
                Cell(_error(other.median) if other else page.glyphs.dash, right=True)
                for other in (test.score(name, index) for name in _SHORT)
            ),
        ]


_SHORT = dict(zip(BASELINES, ("last step", "line", "average"), strict=True))


def _error(value: float) -> str:
    return f"{value:.2f}" if 0.005 <= value < 100.0 or not value else f"{value:.0e}"


def _picture(found: Forecast, page: Page) -> list[str]:
    """Draw the trajectory around the window and the way ahead in the two leading coordinates."""
    plan, plane = found.plan, found.plane
    start = max(0, plan.last + 1 - 2 * plan.fitted)
    path = plane.trajectory[start:]
    ahead = np.concatenate([np.zeros((1, path.shape[1])), plane.ahead[1]])
    if path.shape[1] < 2:
        path, ahead = (np.pad(points, ((0, 0), (0, 1))) for points in (path, ahead))
    everything = np.concatenate([path, ahead])
    low, high = everything.min(axis=0), everything.max(axis=0)
    size = np.where(high > low, high - low, 1.0) * 1.1
    canvas = Canvas(min(_COLUMNS, page.width or _COLUMNS), _ROWS)

    def place(point: np.ndarray[Any, Any]) -> tuple[float, float]:
        x, y = (point - (low + high) / 2.0) / size + 0.5
        return float(x), float(y)

    for before, after in pairwise(path):
        canvas.line(place(before), place(after))
    for point in ahead[1:]:
        canvas.letter(*place(point), "+", "info")
    canvas.letter(*place(np.zeros(2)), "o", "strong")
    lines = canvas.lines(page)
    reach = f"step {plan.target:,}" if plan.target is not None else "the longest tested horizon"
    legend = (
        f"the two leading coordinates ({', '.join(percent(s) for s in plane.shares)} of the "
        f"window's motion): the run, o the last snapshot looked at, + the way to {reach}"
    )
    return [
        *(line.rstrip() for line in lines),
        *(page.style(line, "faint") for line in wrapped(legend, page)),
    ]


def _layers(found: Forecast, page: Page) -> Iterator[str]:
    rows = [
        [
            Cell("Layers", "title"),
            *(
                Cell(head, "faint", right=True)
                for head in ("weights", "forecast to move", "in the window", "jump")
            ),
        ]
    ]
    for layer in found.layers:
        room = _NAME_COLUMNS if page.width is not None else None
        name = layer.name if room is None else shortened(layer.name, room, page)
        rows.append(
            [
                Cell(name),
                Cell(f"{layer.parameters:,}", right=True),
                Cell(f"{layer.displacement:.3g}", right=True),
                Cell(f"{layer.travelled:.3g}", right=True),
                Cell(percent(layer.accepted / layer.parameters), right=True),
            ]
        )
    yield from table(rows, page)
    legend = (
        "forecast to move: distance from the last weights; in the window: from its first snapshot "
        "to its last; jump: weights that move at all"
    )
    yield from (page.style(line, "faint") for line in wrapped(legend, page))
