"""The gate as JSON: the analysis' own document, schema 1, with a ``check`` added to each run."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from koopscope._version import __version__
from koopscope.gate.judgement import VERDICTS, Judgement
from koopscope.report.analysis_json import SCHEMA_VERSION, run_document
from koopscope.report.gate.gate import Gate
from koopscope.report.json_values import plain
from koopscope.report.text.terminal_style import Page


def render(gate: Gate, page: Page) -> str:
    """Return indented JSON in ASCII, whatever the page."""
    return json.dumps(document(gate), indent=2, allow_nan=False)


def document(gate: Gate) -> dict[str, Any]:
    """Return one run's object, or an object with ``runs``, as plain JSON values."""
    runs = [_run(judgement) for judgement in gate.judgements]
    if len(runs) == 1 and not gate.failures:
        return runs[0]
    whole: dict[str, Any] = plain(
        {
            "schema_version": SCHEMA_VERSION,
            "koopscope_version": __version__,
            "runs": runs,
            "failed": [
                {"path": failure.path, "error": failure.error.message, "hint": failure.error.hint}
                for failure in gate.failures
            ],
            "sweep": None,
        }
    )
    return whole


def _run(judgement: Judgement) -> dict[str, Any]:
    counts = {verdict: judgement.count(verdict) for verdict in VERDICTS}
    check = plain(
        {
            "verdict": judgement.verdict,
            "counts": counts,
            "outcomes": [asdict(outcome) for outcome in judgement.outcomes],
        }
    )
    return {**run_document(judgement.diagnosis), "check": check}
