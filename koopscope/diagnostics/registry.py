"""The one list of what is asked of every run, in the order in which findings are reported.

A new diagnostic is one module that defines ``DIAGNOSTIC`` and one line here.
"""

from __future__ import annotations

from koopscope.diagnostics import convergence, finiteness, precision, sampling
from koopscope.diagnostics.finding import Diagnostic

DIAGNOSTICS: tuple[Diagnostic, ...] = (
    convergence.DIAGNOSTIC,
    finiteness.DIAGNOSTIC,
    precision.DIAGNOSTIC,
    sampling.DIAGNOSTIC,
)
