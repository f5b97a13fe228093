"""The gate as JSON: the analysis' own document, schema 1, with a ``check`` added to each run."""

from __future__ import annotations

from dataclasses import asdict

from koopscope.gate.judgement import VERDICTS, Judgement
from koopscope.report.analysis_json import run_document
from koopscope.report.envelope import JsonObject, of_runs
from koopscope.report.gate.gate import Gate
from koopscope.report.json_values import plain


def document(gate: Gate) -> JsonObject:
    """Return one run's object, or an object with ``runs``, as plain JSON values."""
    return of_runs([_run(judgement) for judgement in gate.judgements], gate.failures, sweep=None)


def _run(judgement: Judgement) -> JsonObject:
    counts = {verdict: judgement.count(verdict) for verdict in VERDICTS}
    check = plain(
        {
            "verdict": judgement.verdict,
            "counts": counts,
            "outcomes": [asdict(outcome) for outcome in judgement.outcomes],
        }
    )
    return {**run_document(judgement.diagnosis), "check": check}
