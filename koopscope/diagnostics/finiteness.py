"""Did any recorded weight become NaN or infinite, and where first?"""

from __future__ import annotations

from typing import Any

import numpy as np

from koopscope.analysis.analysis import Analysis
from koopscope.diagnostics.finding import Diagnostic, Finding, Status


def ask(analysis: Analysis) -> Finding:
    """Name every tensor with a non-finite entry and the step at which the first one appears."""
    asked = slice(analysis.window.asked_first, analysis.window.asked_stop)
    steps = analysis.description.steps[asked]
    bad: list[dict[str, Any]] = []
    for tensor in analysis.tensors:
        counts = analysis.grams[tensor.name].nonfinite[asked]
        if counts.any():
            first = int(np.flatnonzero(counts)[0])
            bad.append(
                {
                    "tensor": tensor.name,
                    "first_step": int(steps[first]),
                    "snapshots": int(np.count_nonzero(counts)),
                    "entries": int(counts.max()),
                }
            )
    status: Status = "pass"
    message, hint = _all_finite(analysis.read_share), None
    if bad:
        worst = min(bad, key=lambda entry: entry["first_step"])  # model order within a step
        others = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
        rest = "; the finite snapshots are analysed" if analysis.finite_tensors else ""
        status = "fail"
        message = (
            f"NaN or infinite weights in {worst['tensor']} from step {worst['first_step']} on"
            f"{others}{rest}."
        )
        hint = "lower the learning rate or clip gradients; look at the steps just before"
    return DIAGNOSTIC.finding(
        status, message, {"tensors": bad}, value=float(len(bad)), threshold=0.0, hint=hint
    )


def _all_finite(read_share: float) -> str:
    if read_share >= 1.0:
        return "Every recorded weight is a finite number."
    return f"Every weight that was read is a finite number: {read_share:.1%} of them."


DIAGNOSTIC = Diagnostic(
    id="finiteness",
    code="KS903",
    title="Finite weights",
    explanation=(
        "Counts NaN and infinite entries (and entries too large to square) in every snapshot. The "
        "spectra rest on the longest stretch of snapshots without one; a tensor that is never "
        "finite is left out and named here. A sample (--method compressed) tells of what it read "
        "alone."
    ),
    ask=ask,
    unit="tensors",
)
