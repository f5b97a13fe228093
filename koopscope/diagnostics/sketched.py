"""What a finding loses by resting on a sketch: its number's error, and whether its status holds.

The question is asked again of the sketch without one of its eight groups of numbers at a time. A
status that does not survive that is not known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from koopscope.diagnostics.finding import Basis, Finding
from koopscope.runs.sketches import SketchInfo

#: 0.95 quantile of Student's t with the seven degrees of freedom that eight groups leave.
T_90 = 1.895
#: Of eight parts of the sketch, how many must give the status of the whole.
LEAST_AGREEING = 6


def on_sketch(found: Finding, parts: Sequence[Finding], info: SketchInfo) -> Finding:
    """Return a finding with what it rests on, and inconclusive where its status does not hold.

    Parameters
    ----------
    found
        From all of the sketch.
    parts
        The same question, asked without one group of numbers each.
    info
        How the run was sketched.
    """
    agreeing = sum(part.status == found.status for part in parts)
    error = _error(found, parts)
    basis = Basis(info.numbers, error, agreeing, len(parts))
    moved = error is None or error > 0.0
    if agreeing == len(parts) and not (moved and found.value is not None):
        words = f"It rests on facts beside the sketch ({info.numbers} numbers a tensor)."
        return replace(found, message=f"{found.message} {words}", basis=basis)
    number = "" if error is None else f"its number is known to ±{T_90 * error:.2g} (90%) and "
    words = f"From {info.words}: {number}its status holds in {agreeing} of {len(parts)} parts."
    message = f"{found.message} {words}"
    if agreeing >= LEAST_AGREEING or found.status == "inconclusive":
        return replace(found, message=message, basis=basis)
    return replace(
        found,
        status="inconclusive",
        message=message,
        hint="record more numbers a tensor: Recorder(..., sketch=1024)",
        criterion=None,
        basis=basis,
    )


def _error(found: Finding, parts: Sequence[Finding]) -> float | None:
    """Return the jackknife's standard error of the number, ``None`` where a part has none."""
    values = [part.value for part in parts]
    if found.value is None or any(value is None for value in values):
        return None
    numbers = np.array(values, float)
    count = len(numbers)
    return float(np.sqrt((count - 1) / count * np.square(numbers - numbers.mean()).sum()))
