"""The one list of what is asked of every run, in the order in which findings are reported.

A new diagnostic is one module that defines ``DIAGNOSTIC`` and one line here.
"""

from __future__ import annotations

from koopscope.analysis.analysis import Analysis
from koopscope.diagnostics import (
    averaging,
    contraction,
    convergence,
    coverage,
    dead_units,
    depth,
    finiteness,
    initialization,
    learning_rate,
    overfitting,
    plateau,
    precision,
    rest,
    sampling,
    spikes,
    stability,
    wasted,
)
from koopscope.diagnostics.finding import Diagnostic

DIAGNOSTICS: tuple[Diagnostic, ...] = (
    convergence.DIAGNOSTIC,
    overfitting.DIAGNOSTIC,
    plateau.DIAGNOSTIC,
    rest.DIAGNOSTIC,
    wasted.DIAGNOSTIC,
    initialization.DIAGNOSTIC,
    dead_units.DIAGNOSTIC,
    stability.DIAGNOSTIC,
    spikes.DIAGNOSTIC,
    learning_rate.DIAGNOSTIC,
    depth.DIAGNOSTIC,
    averaging.DIAGNOSTIC,
    finiteness.DIAGNOSTIC,
    precision.DIAGNOSTIC,
    sampling.DIAGNOSTIC,
    coverage.DIAGNOSTIC,
)

#: Asked in their place of a run that holds iterates of a network operator.
ITERATE_DIAGNOSTICS: tuple[Diagnostic, ...] = (
    contraction.CONTRACTION,
    contraction.ITERATIONS,
    contraction.ACCELERATION,
    finiteness.DIAGNOSTIC,
    coverage.DIAGNOSTIC,
)


def diagnostics_for(analysis: Analysis) -> tuple[Diagnostic, ...]:
    """Return the questions that fit what the run holds, weights or iterates."""
    return ITERATE_DIAGNOSTICS if contraction.has_states(analysis) else DIAGNOSTICS


def cannot_tell(name: str) -> str:
    """Return what the finding with this id cannot tell, in words; empty for an unknown one."""
    for diagnostic in (*DIAGNOSTICS, *ITERATE_DIAGNOSTICS):
        if diagnostic.id == name:
            return diagnostic.explanation.cannot_tell
    return ""
