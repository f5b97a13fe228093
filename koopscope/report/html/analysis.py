"""An analysis as a page: the verdict and what to do, the losses, the findings, then the spectrum.

Lays out what the analysis and the diagnostics say; computes and decides nothing of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from koopscope.analysis.analysis import Analysis
from koopscope.analysis.summary import ScopeSummary, SpectrumSummary, Summary
from koopscope.diagnostics.diagnosis import Diagnosis
from koopscope.diagnostics.next_step import by_importance
from koopscope.diagnostics.registry import diagnostics_for
from koopscope.markup import Markup, element, figure, joined, table
from koopscope.report.analysis_json import run_document
from koopscope.report.analysis_report import Report
from koopscope.report.envelope import JsonObject, of_runs
from koopscope.report.gate.explanation import SECTIONS
from koopscope.report.html.charts import Curve, Mark, curves, heat_map, unit_circle
from koopscope.report.html.document import document
from koopscope.report.html.statuses import STATUS_WORDS
from koopscope.report.json_values import plain
from koopscope.report.layer_speeds import binned, foremost, relative_to_largest
from koopscope.report.loss_marks import loss_marks, recorded_losses
from koopscope.report.text.eigenvalue_rows import RESIDUAL_SCALE, folded
from koopscope.report.text.numbers import count, interval, percent, share, small, step_range
from koopscope.report.text.terminal_style import Page

#: Rows and columns of the heat map: more would be thinner than a line of text, or than a pixel.
_MOST_ROWS, _MOST_COLUMNS = 40, 72

#: Further eigenvalues are in the JSON report.
_MOST_EIGENVALUES = 16


def render(report: Report, page: Page) -> str:
    """Return the report as one HTML page."""
    runs = [_run(diagnosis, k) for k, diagnosis in enumerate(report.diagnoses)]
    failures = [
        element(
            "section",
            element("h2", failure.path),
            element("p", f"Could not be read: {failure.error.message}"),
            element("p", failure.error.hint or ""),
        )
        for failure in report.failures
    ]
    paths = [diagnosis.analysis.description.path for diagnosis in report.diagnoses]
    title = paths[0] if len(paths) == 1 else count(len(paths), "run")
    head = [] if report.is_single else [_contents(report)]
    return document(f"koopscope: {title}", joined([head, runs, failures]), _data(report))


def _contents(report: Report) -> Markup:
    ranking = (report.sweep or {}).get("ranking")
    if ranking is not None:
        return _ranking(report, ranking)
    rows = [
        (
            element("a", diagnosis.analysis.description.path, href=f"#run-{k}"),
            f"{diagnosis.first_look.state}.",
        )
        for k, diagnosis in enumerate(report.diagnoses)
    ]
    return table("The runs of this page", ("run", "what matters most"), rows)


def _ranking(report: Report, ranking: Mapping[str, Any]) -> Markup:
    """Return the runs of the page in their order, the best one first, and what that rests on."""
    places = {each.analysis.description.path: k for k, each in enumerate(report.diagnoses)}
    by = ranking["by"]
    measured = [f"best {by}", "at step"] if by else []
    heads = ("run", "state", *measured, "restart", "rate", "do")
    rows = []
    for run in ranking["runs"]:
        step = "" if run["step"] is None else f"{run['step']:,}"
        rows.append(
            (
                element("a", run["path"], href=f"#run-{places[run['path']]}"),
                run["state"],
                *([_cell(run["value"], "{:.4g}"), step] if by else []),
                _cell(run["restart_score"], "{:.2f}"),
                _cell(run["rate"], "{:g}"),
                run["do"],
            )
        )
    right = frozenset(range(2, len(heads) - 1))
    legend = "restart: 0 is a good start, 1 a bad one; rate: the largest recorded learning rate."
    said = [element("p", ranking["sentence"]), element("p", legend, class_="faint")]
    return joined(
        [table("The runs of this page, the best one first", heads, rows, right=right), said]
    )


def _cell(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)


def _data(report: Report) -> JsonObject:
    """Return the JSON report; spectra of parts of a network would make the page too long."""
    documents = [
        run_document(diagnosis, _without_parts(diagnosis.summary)) for diagnosis in report.diagnoses
    ]
    return of_runs(documents, report.failures, sweep=report.sweep)


def _without_parts(summary: Summary) -> Summary:
    layers = tuple(replace(part, spectrum=None) for part in summary.layers)
    return replace(summary, layers=layers, tensors=())  # the tensors' numbers stand in their table


def _run(diagnosis: Diagnosis, index: int) -> Markup:
    analysis = diagnosis.analysis
    parts = [
        _header(analysis),
        verdict(diagnosis),
        losses(diagnosis),
        element("h2", "Findings"),
        _findings(diagnosis),
    ]
    for part in diagnosis.parts:
        parts += [element("h2", f"{part.group.name}, judged by itself"), verdict(part.diagnosis)]
    parts += _parts_over_time(diagnosis)
    parts += _spectrum(diagnosis)
    parts.append(_made(analysis))
    return element("section", parts, id=f"run-{index}")


def _header(analysis: Analysis) -> Markup:
    run = analysis.description
    recorded = f"{count(run.snapshots, 'snapshot')}, {step_range(*_ends(run.steps))}"
    weights = f"{run.parameters:,} weights in {count(len(run.tensors), 'tensor')}, {run.dtype}"
    notes = [element("p", f"Note: {note}", class_="faint") for note in run.notes]
    missed = [skipped.name for skipped in run.skipped if not skipped.counts]
    if missed:
        notes.append(element("p", f"Not read: {', '.join(missed)}.", class_="faint"))
    return element(
        "header",
        element("h1", run.path),
        element("p", f"{recorded}; {weights}", class_="faint"),
        notes,
    )


def _ends(steps: npt.NDArray[np.int64]) -> tuple[int, int]:
    return int(steps[0]), int(steps[-1])


def verdict(diagnosis: Diagnosis) -> Markup:
    """Return the first screen: what state, why, what to do, and what is not known."""
    look = diagnosis.first_look
    status = by_importance(diagnosis.findings)[0].status
    told = [(look.why, ""), *((note, "") for note in look.notes), (look.unsure, "Not known: ")]
    parts = [
        element("p", f"{look.state}.", class_="state"),
        *(
            element("p", _sentence(f"{words}{text}"), class_="faint")
            for text, words in told
            if text
        ),
        element("p", f"Do: {look.do or 'nothing; go on'}.", class_="do"),
    ]
    return element("div", parts, class_=f"verdict {status}")


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."


def losses(diagnosis: Diagnosis) -> Markup:
    """Return the recorded losses over steps, with the steps that findings name marked."""
    run = diagnosis.analysis.description
    lines = [Curve(name, values) for name, values in recorded_losses(diagnosis).items()]
    if not lines:
        return element("p", "No loss was recorded with the weights.", class_="faint")
    picture = curves(
        "Recorded losses over training steps", run.steps.astype(float), lines, _marks(diagnosis)
    )
    caption = (
        "The recorded losses; a dashed line marks a step that a finding names. A range of more "
        "than two decades has a logarithmic scale."
    )
    return figure(picture, caption)


def _marks(diagnosis: Diagnosis) -> list[Mark]:
    return [Mark(mark.step, mark.words) for mark in loss_marks(diagnosis)]


def _findings(diagnosis: Diagnosis) -> list[Markup]:
    explained = {each.id: each.explanation for each in diagnostics_for(diagnosis.analysis)}
    shown = []
    for finding in diagnosis.findings:
        status = element("span", f"{STATUS_WORDS[finding.status]} ", class_=f"tag {finding.status}")
        lines = []
        if finding.hint:
            lines.append(element("p", finding.hint))
        if finding.action.line:
            lines.append(element("p", f"Do: {finding.action.line}.", class_="do"))
        if finding.criterion is not None:
            said = f"Expected {finding.criterion.expected}; found {finding.criterion.found}."
            lines.append(element("p", said, class_="faint"))
        explanation = explained[finding.id]
        sections = [
            [element("dt", heading), element("dd", getattr(explanation, name))]
            for name, heading in SECTIONS.items()
        ]
        shown.append(
            element(
                "details",
                element("summary", status, element("strong", finding.id), " ", finding.message),
                lines,
                element(
                    "details",
                    element("summary", f"About this question ({finding.code})"),
                    element("dl", sections),
                ),
                class_=finding.status,
                open=finding.status in ("fail", "warn"),
            )
        )
    return shown


def _parts_over_time(diagnosis: Diagnosis) -> list[Markup]:
    layers = diagnosis.summary.layers
    if not layers or not len(layers[0].speeds):
        return []
    steps = diagnosis.analysis.description.steps
    window = diagnosis.analysis.window
    shown = foremost(layers, [part.motion.path_length for part in layers], _MOST_ROWS)
    picture = heat_map(
        "Speed of every layer over time, each relative to its own fastest",
        [part.scope.name for part in shown],
        np.array([relative_to_largest(binned(part.speeds, _MOST_COLUMNS)) for part in shown]),
        steps[window.first : window.stop].astype(float),
        "dark: as fast as this layer ever moved",
    )
    folded_away = len(layers) - len(shown)
    more = f" The {folded_away} layers that moved least are in the table." if folded_away else ""
    caption = f"How fast each layer moved; an empty stretch at the end is a layer at rest.{more}"
    parts = [
        element("h2", "Layers"),
        figure(picture, caption),
        _movements("How far each layer moved", layers),
    ]
    if diagnosis.summary.tensors:
        parts.append(_movements("How far each tensor moved", diagnosis.summary.tensors))
    return parts


def _movements(caption: str, parts: Sequence[ScopeSummary]) -> Markup:
    heads = ("name", "weights", "moved", "way", "straightness", "rounding")
    rows = [
        (
            part.scope.name,
            f"{part.motion.parameters:,}",
            _relative(part.motion.displacement, part.motion.norm),
            _relative(part.motion.path_length, part.motion.norm),
            "" if part.motion.directness is None else f"{part.motion.directness:.2f}",
            small(part.motion.rounding),
        )
        for part in parts
    ]
    legend = (
        "moved and way: from the first to the last snapshot, straight and along the path, relative "
        "to the norm at the first; straightness: moved / way; rounding: relative to an increment."
    )
    filled = table(caption, heads, rows, right=frozenset(range(1, 6)))
    return joined([filled, element("p", legend, class_="faint")])


def _relative(length: float, norm: float) -> str:
    if norm > 0.0:
        return percent(length / norm)
    return "" if length == 0.0 else "from zero"


def _spectrum(diagnosis: Diagnosis) -> list[Markup]:
    spectrum = diagnosis.summary.asked
    heading = element("h2", "Spectrum of the network")
    if spectrum is None:
        return [heading, element("p", "None: too few usable snapshots.", class_="faint")]
    if not spectrum.rank:
        return [heading, element("p", "None: nothing moved.", class_="faint")]
    title = f"Koopman eigenvalues of the network's {spectrum.observable} in the complex plane"
    picture = unit_circle(
        title, spectrum.eigenvalues, spectrum.shares, spectrum.residuals, RESIDUAL_SCALE[1]
    )
    caption = (
        f"Eigenvalues of the {spectrum.observable} per {interval(spectrum.spacing_steps)}, rank "
        f"{spectrum.rank} of {spectrum.pairs}. Inside the circle a mode decays, outside it grows; "
        f"area is its share of the amplitude; hollow: a residual above {RESIDUAL_SCALE[1]}, which "
        "is no eigenvalue to rely on."
    )
    return [
        heading,
        element("div", figure(picture, caption), _eigenvalues(spectrum), class_="two"),
        _test(spectrum),
    ]


def _eigenvalues(spectrum: SpectrumSummary) -> Markup:
    rows = [
        (
            f"{row.magnitude:.4f}",
            f"± {row.reach:.3f}" if math.isfinite(row.reach) else "",
            "" if math.isinf(row.period_steps) else f"{row.period_steps:.3g}",
            "" if math.isnan(row.residual) else small(row.residual),
            share(row.share),
        )
        for row in folded(spectrum)[:_MOST_EIGENVALUES]
    ]
    heads = ("|λ|", "90% interval", "period, steps", "residual", "share")
    return table("Eigenvalues, largest amplitude first", heads, rows, right=frozenset(range(5)))


def _test(spectrum: SpectrumSummary) -> Markup:
    known = spectrum.confidence
    if known is None or not math.isfinite(known.held_out.error):
        return Markup("")
    return element(
        "p",
        "Test: fitted to the first two thirds of the run, the law predicts the last third with an "
        f"error {known.held_out.error:.2g} times that of assuming no change.",
    )


def _made(analysis: Analysis) -> Markup:
    settings = {**plain(vars(analysis.settings)), "method": analysis.method_reason}
    rows = [
        [element("dt", name), element("dd", str(value))]
        for name, value in settings.items()
        if value not in (None, "", [], [None, None])
    ]
    return element(
        "details", element("summary", "How this was made: settings"), element("dl", rows)
    )
