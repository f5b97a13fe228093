"""Assertions on training runs, for test suites: the gate, and the comparison with a reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

from koopscope.comparison.compare import compare
from koopscope.comparison.results import Comparison
from koopscope.diagnostics.diagnosis import Diagnosis, analyze
from koopscope.gate.baseline import stored_report
from koopscope.gate.judgement import Outcome, Verdict, judge
from koopscope.gate.policy import policy


def assert_healthy(
    run: str | PathLike[str],
    *,
    baseline: str | PathLike[str] | Sequence[str | PathLike[str]] | None = None,
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
        A JSON report stored earlier, to hold values and findings against, or several, of other
        seeds.
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
        If a rule at or above ``fail_on`` is violated, or, with ``strict``, cannot tell; or if
        nothing was judged, or not what was demanded by name.
    KoopscopeError
        If the run cannot be read, or a demand is unknown.
    """
    values: Mapping[str, Any] = {key.replace("_", "-"): value for key, value in demands.items()}
    demanded = policy(values, "assert_healthy")
    diagnosis = analyze(run, **(settings or {}))
    paths = [baseline] if isinstance(baseline, (str, PathLike)) else list(baseline or ())
    judged = judge(diagnosis, demanded, [stored_report(path) for path in paths])
    levels: dict[str, tuple[Verdict, ...]] = {
        "error": ("error",),
        "warn": ("error", "warn"),
        "never": (),
    }
    failing = levels[demanded.fail_on]
    if demanded.strict:
        failing = (*failing, "inconclusive")
    violated = [outcome for outcome in judged.outcomes if outcome.verdict in failing]
    if not violated and not judged.is_decided:
        violated = [outcome for outcome in judged.outcomes if outcome.verdict == "inconclusive"]
        if not violated:
            raise AssertionError(f"{run}: no rule that is on applies, so nothing was judged")
    if violated:
        lines = [f"{run} is not healthy:", *(_line(outcome) for outcome in violated)]
        raise AssertionError("\n".join(lines))
    return diagnosis


def _line(outcome: Outcome) -> str:
    text = f"  {outcome.code} {outcome.title}: {outcome.message}"
    if outcome.expected is not None and outcome.found is not None:
        text += f" Expected {outcome.expected}, found {outcome.found}."
    return text


def assert_equivalent(
    run: str | PathLike[str] | Sequence[str | PathLike[str]],
    reference: str | PathLike[str] | Sequence[str | PathLike[str]],
    *,
    exact: bool = False,
    strict: bool = False,
    **choice: Any,
) -> Comparison:
    """Fail if a training is not the same dynamics as a reference.

    Parameters
    ----------
    run, reference
        A run file each, or several that repeat one recipe with other seeds.
    exact
        Demand that the weights themselves are the same up to rounding at every snapshot: a test of
        reproducibility. Only of two single runs of one network.
    strict
        Fail as well where the runs cannot tell.
    **choice
        ``include``, ``exclude``, ``window`` and ``match_by_order`` of ``koopscope.compare``.

    Returns
    -------
    The comparison, for further assertions.

    Raises
    ------
    AssertionError
        If they differ, in the words of the comparison.
    KoopscopeError
        If a run cannot be read, or they cannot be held against each other.
    """
    found = compare(reference, run, names=("the reference", "the run"), **choice)
    pair = found.foremost
    if exact:
        parting = pair.parting
        if parting is None or not pair.layers:
            raise AssertionError(
                "the weights cannot be held against each other: exact takes two single runs of one "
                "network"
            )
        if not parting.is_within_rounding:
            raise AssertionError(
                f"{run} does not reproduce {reference}: the weights are apart by more than "
                f"rounding at step {parting.parts_at_step:,}"
            )
        return found
    if found.verdict == "different":
        raise AssertionError(f"{run} is not the same dynamics as {reference}: {pair.reason}")
    if strict and found.verdict == "inconclusive":
        raise AssertionError(f"{run} and {reference} cannot be told apart or alike: {pair.reason}")
    return found
