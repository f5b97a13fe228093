"""Assertions on training runs, for test suites: the gate of ``koopscope check`` as one function."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any

from koopscope.diagnostics.diagnosis import Diagnosis, analyze
from koopscope.gate.baseline import stored_report
from koopscope.gate.judgement import Outcome, Verdict, judge
from koopscope.gate.policy import policy


def assert_healthy(
    run: str | PathLike[str],
    *,
    baseline: str | PathLike[str] | None = None,
    settings: Mapping[str, Any] | None = None,
    **demands: Any,
) -> Diagnosis:
    """Fail with every violated rule in words if a run does not pass the gate.

    Reads no configuration file and no environment variable: what is demanded stands in the test.

    Parameters
    ----------
    run
        A run file.
    baseline
        A JSON report stored earlier, to hold values and findings against.
    settings
        Fields of ``koopscope.analysis.settings.Settings``, for example ``{"until": 5000}``.
    **demands
        The keys of ``[tool.koopscope]`` with underscores for dashes: ``preset="strict"``,
        ``fail_on="warn"``, ``strict=True``, ``rules={"precision": "off"}``,
        ``metrics={"val_loss": {"final-below": 0.5}}``.

    Returns
    -------
    The diagnosis, for further assertions.

    Raises
    ------
    AssertionError
        If a rule at or above ``fail_on`` is violated, or, with ``strict``, cannot tell.
    KoopscopeError
        If the run cannot be read, or a demand is unknown.
    """
    values: Mapping[str, Any] = {key.replace("_", "-"): value for key, value in demands.items()}
    demanded = policy(values, "assert_healthy")
    diagnosis = analyze(run, **(settings or {}))
    judged = judge(diagnosis, demanded, None if baseline is None else stored_report(baseline))
    levels: dict[str, tuple[Verdict, ...]] = {
        "error": ("error",),
        "warn": ("error", "warn"),
        "never": (),
    }
    failing = levels[demanded.fail_on]
    if demanded.strict:
        failing = (*failing, "inconclusive")
    violated = [outcome for outcome in judged.outcomes if outcome.verdict in failing]
    if violated:
        lines = [f"{run} is not healthy:", *(_line(outcome) for outcome in violated)]
        raise AssertionError("\n".join(lines))
    return diagnosis


def _line(outcome: Outcome) -> str:
    text = f"  {outcome.code} {outcome.title}: {outcome.message}"
    if outcome.expected is not None and outcome.found is not None:
        text += f" Expected {outcome.expected}, found {outcome.found}."
    return text
