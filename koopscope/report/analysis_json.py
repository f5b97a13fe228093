"""A report as JSON, schema 1: for programs, and for comparing one run with the next.

The same input gives the same bytes: no time, no host, no order that could change. A number that is
not finite becomes ``null``.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import numpy as np

from koopscope._types import Float64
from koopscope.analysis.analysis import Analysis
from koopscope.analysis.summary import ScopeSummary, SpectrumSummary, Summary
from koopscope.diagnostics.diagnosis import Diagnosis
from koopscope.report.analysis_report import Report
from koopscope.report.envelope import JsonObject, enveloped, of_runs
from koopscope.spectra.dmd import Spectrum


def document(report: Report) -> JsonObject:
    """Return the report as plain JSON values: one run's object, or an object with ``runs``."""
    documents = [run_document(diagnosis) for diagnosis in report.diagnoses]
    return of_runs(documents, report.failures, sweep=report.sweep)


def run_document(diagnosis: Diagnosis, summary: Summary | None = None) -> JsonObject:
    """Return one run's analysis as plain JSON values, of its own summary if no other is given."""
    return enveloped(run_content(diagnosis, summary))


def run_content(diagnosis: Diagnosis, summary: Summary | None = None) -> dict[str, Any]:
    """Return the same with its arrays and numbers as they are, and without the versions."""
    analysis = diagnosis.analysis
    summary = summary or diagnosis.summary
    return {
        "run": {
            **_run(analysis),
            "next": diagnosis.next.plain(),
            "keep": diagnosis.keep.plain() if diagnosis.keep is not None else None,
        },
        "settings": {
            **asdict(analysis.settings),
            "method_reason": analysis.method_reason,
        },
        "spectra": _spectra(analysis, summary),
        "layers": _motions(summary.layers),
        "tensors": _motions(summary.tensors),
        "findings": [finding.plain() for finding in diagnosis.findings],
        "groups": [part.plain() for part in diagnosis.parts],
    }


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


def _spectra(analysis: Analysis, summary: Summary) -> list[JsonObject]:
    """Every scope as asked for; the network also in the other observable, and unfiltered."""
    steps, window = analysis.description.steps, analysis.window
    used = [steps[window.first], steps[window.stop - 1]] if summary.asked is not None else []
    return [{**_spectrum(spectrum), "window": used} for spectrum in summary.spectra()]


def _spectrum(spectrum: SpectrumSummary) -> JsonObject:
    known = spectrum.confidence
    return {
        "scope": spectrum.scope.level,
        "name": spectrum.scope.name,
        "observable": spectrum.observable,
        "window": [],
        "noise_filter": spectrum.noise_filter,
        "rank": spectrum.rank,
        "singular_values": spectrum.singular_values,
        "held_out_error": known.held_out.error if known else None,
        "eigenvalues": [
            {
                **eigenvalue_content(spectrum, j),
                "interval": _interval(spectrum, j),
                "held_out_residual": known.held_out.residuals[j] if known else None,
                "compression_error": known.compression_errors[j] if known else None,
            }
            for j in range(len(spectrum.eigenvalues))
        ],
    }


def eigenvalue_content(spectrum: SpectrumSummary | Spectrum, j: int) -> dict[str, Any]:
    """Return what a spectrum itself says of one eigenvalue."""
    value = spectrum.eigenvalues[j]
    return {
        "re": value.real,
        "im": value.imag,
        "abs": abs(value),
        "residual": spectrum.residuals[j],
        "amplitude": spectrum.amplitudes[j],
        "share": spectrum.shares[j],
        "half_life_steps": spectrum.half_lives_steps[j],
    }


def _interval(spectrum: SpectrumSummary, j: int) -> JsonObject | None:
    known, lives = spectrum.confidence, spectrum.half_life_bounds
    if known is None or lives is None or not math.isfinite(known.uncertainty.magnitude_high[j]):
        return None
    return {
        "abs": [known.uncertainty.magnitude_low[j], known.uncertainty.magnitude_high[j]],
        "half_life_steps": [lives[0][j], lives[1][j]],
    }


def _motions(parts: tuple[ScopeSummary, ...]) -> list[JsonObject]:
    return [asdict(part.motion) for part in parts]
