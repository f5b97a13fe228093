"""A report as JSON, schema 1: for programs, and for comparing one run with the next.

The same input gives the same bytes: no time, no host, no order that could change. A number that is
not finite becomes ``null``.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from importlib import resources
from typing import Any

import numpy as np

from koopscope._types import Float64
from koopscope._version import __version__
from koopscope.analysis.analysis import NETWORK, Analysis, Level
from koopscope.diagnostics.diagnosis import Diagnosis
from koopscope.report.analysis_report import Report
from koopscope.report.json_values import plain
from koopscope.report.text.eigenvalue_rows import half_life_bounds
from koopscope.report.text.terminal_style import Page
from koopscope.spectra.dmd import Spectrum
from koopscope.spectra.gram import Observable
from koopscope.spectra.noise import NoiseFilter

SCHEMA_VERSION = "1.0"

JsonObject = dict[str, Any]


def schema() -> JsonObject:
    """Return the JSON Schema that every document follows; it ships with the package."""
    name = f"analysis-{SCHEMA_VERSION}.schema.json"
    text = (resources.files("koopscope.report") / "schema" / name).read_text("utf-8")
    parsed: JsonObject = json.loads(text)
    return parsed


def render(report: Report, page: Page) -> str:
    """Return the report as indented JSON in ASCII, whatever the page."""
    return json.dumps(document(report), indent=2, allow_nan=False)


def document(report: Report) -> JsonObject:
    """Return the report as plain JSON values: one run's object, or an object with ``runs``."""
    if report.is_single and report.diagnoses:
        return run_document(report.diagnoses[0])
    failed = [
        {"path": failure.path, "error": failure.error.message, "hint": failure.error.hint}
        for failure in report.failures
    ]
    whole: JsonObject = plain(
        {
            "schema_version": SCHEMA_VERSION,
            "koopscope_version": __version__,
            "runs": [run_document(diagnosis) for diagnosis in report.diagnoses],
            "failed": failed,
            "sweep": report.sweep,
        }
    )
    return whole


def run_document(diagnosis: Diagnosis) -> JsonObject:
    """Return one run's analysis as plain JSON values."""
    analysis = diagnosis.analysis
    levels: tuple[Level, ...] = ("layer", "tensor")
    wanted = {"layer": analysis.settings.level != NETWORK, "tensor": _has_tensors(analysis)}
    moved = {level: _motions(analysis, level) if wanted[level] else [] for level in levels}
    whole: JsonObject = plain(
        {
            "schema_version": SCHEMA_VERSION,
            "koopscope_version": __version__,
            "run": _run(analysis),
            "settings": {
                **asdict(analysis.settings),
                "method_reason": analysis.method_reason,
            },
            "spectra": _spectra(analysis),
            "layers": moved["layer"],
            "tensors": moved["tensor"],
            "findings": [asdict(finding) for finding in diagnosis.findings],
        }
    )
    return whole


def _has_tensors(analysis: Analysis) -> bool:
    return analysis.settings.level == "tensor"


def _run(analysis: Analysis) -> JsonObject:
    run, window = analysis.description, analysis.window
    return {
        "path": run.path,
        "format": run.format,
        "snapshots": run.snapshots,
        "parameters": run.parameters,
        "tensors": len(run.tensors),
        "dtype": run.dtype,
        "first_step": run.steps[0],
        "last_step": run.steps[-1],
        "spacing": window.spacing_steps if window.snapshots > 1 else None,
        "evenly_spaced": window.evenly_spaced,
        "metrics": {name: _metric(values) for name, values in run.metrics.items()},
        "skipped": [asdict(skipped) for skipped in run.skipped],
        "notes": run.notes,
    }


def _metric(values: Float64) -> JsonObject:
    """The last, lowest and highest value given; none of a metric that was never finite."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return {"last": None, "lowest": None, "highest": None}
    return {"last": finite[-1], "lowest": finite.min(), "highest": finite.max()}


def _spectra(analysis: Analysis) -> list[JsonObject]:
    """Every scope as asked for; the network also in the other observable, and unfiltered."""
    found = [_spectrum(analysis, *entry) for entry in analysis.spectra()]
    if found:
        shown = analysis.settings.observable
        other: Observable = "weights" if shown == "increments" else "increments"
        found.insert(1, _spectrum(analysis, NETWORK, NETWORK, analysis.spectrum(observable=other)))
        if analysis.settings.noise_filter != "none":
            before = analysis.spectrum(noise_filter="none")
            found.insert(1, _spectrum(analysis, NETWORK, NETWORK, before, "none"))
    return found


def _spectrum(
    analysis: Analysis,
    level: Level,
    name: str,
    spectrum: Spectrum,
    noise_filter: NoiseFilter | None = None,
) -> JsonObject:
    steps, window = analysis.description.steps, analysis.window
    used = noise_filter or analysis.settings.noise_filter
    known = analysis.confidence(name, spectrum.observable, level=level, noise_filter=used)
    low, high = known.uncertainty.magnitude_low, known.uncertainty.magnitude_high
    shortest, longest = half_life_bounds(spectrum, known.uncertainty)
    intervals = [
        {"abs": [low[j], high[j]], "half_life_steps": [shortest[j], longest[j]]}
        if math.isfinite(high[j])
        else None
        for j in range(spectrum.rank)
    ]
    return {
        "scope": level,
        "name": name,
        "observable": spectrum.observable,
        "window": [steps[window.first], steps[window.stop - 1]],
        "noise_filter": used,
        "rank": spectrum.rank,
        "singular_values": spectrum.singular_values,
        "held_out_error": known.held_out.error,
        "eigenvalues": [
            {
                "re": value.real,
                "im": value.imag,
                "abs": abs(value),
                "residual": spectrum.residuals[j],
                "amplitude": spectrum.amplitudes[j],
                "share": spectrum.shares[j],
                "half_life_steps": spectrum.half_lives_steps[j],
                "interval": intervals[j],
                "held_out_residual": known.held_out.residuals[j],
                "compression_error": known.compression_errors[j],
            }
            for j, value in enumerate(spectrum.eigenvalues)
        ],
    }


def _motions(analysis: Analysis, level: Level) -> list[JsonObject]:
    return [asdict(analysis.motion(scope, level)) for scope in analysis.scopes(level)]
