"""``koopscope check``: judges runs against a policy, so that CI can pass or fail them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from koopscope.cli import console
from koopscope.cli.diagnosing import diagnosed
from koopscope.cli.engines import judging_engine_options
from koopscope.cli.exit_codes import COULD_NOT, FOUND
from koopscope.cli.options import analysis_options
from koopscope.cli.outputs import Outputs, report_options, write_file
from koopscope.cli.reading import Reading, run_options
from koopscope.errors import KoopscopeError
from koopscope.report.registry import formats, render

if TYPE_CHECKING:
    from koopscope.analysis.settings import Settings
    from koopscope.diagnostics.diagnosis import Diagnosis
    from koopscope.engine.source import GramSource
    from koopscope.gate.judgement import Judgement, Verdict
    from koopscope.gate.policy import Policy
    from koopscope.report.gate.gate import Gate
    from koopscope.runs.run import Run


@click.command("check")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option(
    "--config",
    "overrides",
    multiple=True,
    metavar="FILE|KEY=VALUE",
    help="A TOML file to use instead of the one that is found, or a single setting, such as "
    "rules.precision=off.",
)
@click.option(
    "--isolated", is_flag=True, help="Ignore configuration files and environment variables."
)
@click.option(
    "--fail-on",
    type=click.Choice(["error", "warn", "never"]),
    help="Exit with 1 from this level on.  [default: error, or as configured]",
)
@click.option("--strict", is_flag=True, help="Exit with 2 if a rule cannot tell.")
@click.option(
    "--baseline",
    "baselines",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="REPORT",
    help="Compare with a JSON report that was stored earlier. Repeat it with reports of other "
    "seeds of the same training: how much they differ says what counts as a change.",
)
@click.option(
    "--against",
    "references",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="REFERENCE",
    help="Compare the dynamics with those of this run (rule same-dynamics); repeat it for other "
    "seeds of the reference.",
)
@analysis_options
@judging_engine_options
@run_options
@report_options(*formats("gate"))
@click.pass_context
def command(
    ctx: click.Context,
    runs: tuple[str, ...],
    overrides: Sequence[str],
    isolated: bool,
    fail_on: str | None,
    strict: bool,
    baselines: Sequence[Path],
    references: Sequence[Path],
    settings: Settings,
    source: GramSource,
    shards: bool,
    reading: Reading,
    outputs: Outputs,
) -> None:
    """Check training runs in CI: exit 0 if they pass, 1 if a rule fails, 2 if that is unknown.

    The rules are set in koopscope.toml or in [tool.koopscope] of pyproject.toml, in this folder or
    one above it, then in KOOPSCOPE_... variables, then by --config. `koopscope explain` lists the
    rules.
    """
    from koopscope.cli.configuration import read_policy
    from koopscope.gate.baseline import stored_report

    jobs = reading.openers(runs, shards)
    outputs.check(list(jobs), inputs=[*runs, *reading.inputs, *baselines, *references])
    given = [f"fail-on={fail_on}"] if fail_on else []
    given += ["strict=true"] if strict else []
    policy = read_policy([*overrides, *given], os.environ, isolated)
    stored = [stored_report(path) for path in baselines]
    held_to = list(reading.openers([str(path) for path in references]).values())
    gate = _judged(jobs, policy, stored, settings, source, held_to)
    _write(gate, outputs)
    for judgement in gate.judgements:
        _warn_of_nothing(judgement)
        for sentence in judgement.diagnosis.analysis.description.unread:
            console.complain(sentence, "--strict makes that an exit code of 2", "warning")
    console.say(_closing_sentence(gate, policy))
    ctx.exit(_exit_code(gate, policy))


def _judged(
    jobs: Mapping[str, Callable[[], Run]],
    policy: Policy,
    baseline: Sequence[Mapping[str, Any]],
    settings: Settings,
    source: GramSource,
    references: Sequence[Callable[[], Run]],
) -> Gate:
    """Judge every run; one that cannot be read does not keep the others from being judged."""
    from koopscope.gate.judgement import judge
    from koopscope.report.envelope import Failure
    from koopscope.report.gate.gate import Gate

    judgements, failures = [], []
    for path, opened in jobs.items():
        try:
            diagnosis = diagnosed(opened, settings, source)
            if references:
                diagnosis = _held_to(diagnosis, opened, references, settings)
            judgements.append(judge(diagnosis, policy, baseline))
        except KoopscopeError as error:
            console.complain_of(error)
            failures.append(Failure(path, error))
    return Gate(tuple(judgements), tuple(failures))


def _held_to(
    diagnosis: Diagnosis,
    opened: Callable[[], Run],
    references: Sequence[Callable[[], Run]],
    settings: Settings,
) -> Diagnosis:
    """Add the finding on whether a run's dynamics are those of the references."""
    from koopscope.comparison.compare import compare_opened
    from koopscope.comparison.subjects import Choice
    from koopscope.gate.reference import reference_finding

    choice = Choice(settings.include, settings.exclude, settings.asked_steps)
    path = diagnosis.analysis.description.path
    found = compare_opened([("the reference", references), (path, [opened])], choice)
    return replace(diagnosis, findings=(*diagnosis.findings, reference_finding(found.foremost)))


def _write(gate: Gate, outputs: Outputs) -> None:
    from koopscope.cli.configuration import step_summary_path
    from koopscope.report.text.terminal_style import Page

    summary = step_summary_path()
    if summary is not None:
        before = summary.read_bytes() if summary.is_file() else b""
        write_file(summary, before + render("gate", gate, "markdown", Page()).encode())
    outputs.write_reports("gate", gate)


def _warn_of_nothing(judgement: Judgement) -> None:
    """Say why a run cannot pass of which nothing was judged."""
    if not judgement.outcomes:
        console.complain(
            f"{judgement.diagnosis.analysis.description.path}: no rule that is on applies to this "
            "run, so nothing was judged",
            "turn rules on (preset, rules.NAME); `koopscope explain` lists them",
        )


def _exit_code(gate: Gate, policy: Policy) -> int:
    """Not judged beats found, found beats cannot tell."""
    if gate.failures or not all(judgement.outcomes for judgement in gate.judgements):
        return COULD_NOT
    violations = {"error": gate.count("error"), "warn": gate.count("error") + gate.count("warn")}
    if violations.get(policy.fail_on):
        return FOUND
    if not all(judgement.is_decided for judgement in gate.judgements):
        return COULD_NOT
    unread = any(judged.diagnosis.analysis.description.unread for judged in gate.judgements)
    return COULD_NOT if policy.strict and (gate.count("inconclusive") or unread) else 0


def _closing_sentence(gate: Gate, policy: Policy) -> str:
    words: dict[Verdict, str] = {
        "error": "error",
        "warn": "warning",
        "inconclusive": "cannot tell",
        "pass": "passed",
    }
    counts = [f"{gate.count(v)} {word}" for v, word in words.items() if gate.count(v)]
    if gate.failures:
        counts.insert(0, f"{len(gate.failures)} not judged")
    code = _exit_code(gate, policy)
    outcome = {0: "passed", FOUND: "failed", COULD_NOT: "could not be decided"}[code]
    return f"The gate {outcome}: {', '.join(counts) or 'nothing was judged'}."
