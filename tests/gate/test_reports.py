"""Every output of the gate is what it was, and is read by a parser that is not ours.

Run with REWRITE_GOLDEN=1 after a change that is meant, and look at the difference.
"""

import json
import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from koopscope import KoopscopeError
from koopscope.analysis.analysis import Analysis
from koopscope.analysis.settings import Settings
from koopscope.diagnostics.action import Action
from koopscope.diagnostics.diagnosis import Diagnosis
from koopscope.diagnostics.finding import Finding
from koopscope.gate.judgement import Judgement, Outcome
from koopscope.report.envelope import Failure, schema
from koopscope.report.gate.gate import Gate
from koopscope.report.registry import formats, render
from koopscope.report.text.terminal_style import Page
from koopscope.runs.run import RunDescription, TensorInfo
from koopscope.spectra.accumulating import gram_of
from tests.frameworks import framework

HERE = Path(__file__).parent
NASTY = 'a "quoted" <tag> & | pipe, 50%: *bold* @someone #1\x07'
SHOWN = NASTY.replace("\x07", "\\x07")


def run(path: str, *findings: Finding) -> Diagnosis:
    """Three snapshots of two weights, in small whole numbers."""
    weights = np.array([[0.0, 4.0], [2.0, 4.0], [3.0, 4.0]])
    description = RunDescription(
        path,
        "koopscope-run 1.0",
        np.array([0, 10, 20]),
        (TensorInfo("layer.weight", (2,), "float64"),),
        metrics={"loss": np.array([2.0, 1.0, 0.5])},
    )
    return Diagnosis(
        Analysis(description, {"layer.weight": gram_of(weights)}, Settings(rank=1)),
        findings,
    )


def outcome(code: str, verdict: Any, message: str, **more: Any) -> Outcome:
    return Outcome(code.lower(), code, f"Rule {code}", verdict, message, **more)


TOO_FAST = Finding(
    "stability",
    "KS201",
    "warn",
    "It oscillates.",
    action=Action("lower_lr", factor_range=(0.1, 0.5)),
)
GATE = Gate(
    (
        Judgement(
            run("runs/first.h5", TOO_FAST),
            (
                outcome(
                    "KS301",
                    "error",
                    NASTY,
                    expected="<= 0.5 score",
                    found="0.9 score",
                    interval=(0.85, 0.95),
                    hint="start again\nwith another seed",
                ),
                outcome(
                    "KS201",
                    "warn",
                    TOO_FAST.message,
                    expected="<= 1",
                    found="1.1",
                    do=TOO_FAST.action.line,
                ),
                outcome("KS101", "inconclusive", "Too few snapshots."),
                outcome("KS901", "pass", "Fine."),
                outcome("KS902", "pass", "Fine."),
            ),
        ),
        Judgement(run("runs/second:a,b.h5"), (outcome("KS901", "pass", "Fine."),)),
    ),
    (Failure("runs/third.h5", KoopscopeError("runs/third.h5 is empty", "record something")),),
)
SUFFIXES = {"table": "txt", "json": "json", "junit": "xml", "markdown": "md", "github": "github"}


@pytest.mark.parametrize("name", SUFFIXES)
def test_the_output_is_what_it_was(name: str) -> None:
    golden = HERE / "golden" / f"gate.{SUFFIXES[name]}"
    text = render("gate", GATE, name, Page(width=80))
    if os.environ.get("REWRITE_GOLDEN"):
        golden.write_text(text, "utf-8")
    assert text == golden.read_text("utf-8")


@pytest.mark.parametrize("name", formats("gate"))
def test_the_same_gate_gives_the_same_bytes(name: str) -> None:
    assert render("gate", GATE, name, Page()) == render("gate", GATE, name, Page())


def test_junit_follows_the_schema_that_ci_systems_read() -> None:
    xmlschema = framework("xmlschema")
    text = render("gate", GATE, "junit", Page())
    xmlschema.XMLSchema(HERE / "junit.xsd").validate(text)


def test_junit_counts_what_it_holds() -> None:
    from xml.etree import ElementTree as ET

    text = render("gate", GATE, "junit", Page())
    suites = ET.fromstring(text.split("\n", 1)[1]).findall("testsuite")
    assert [suite.get("name") for suite in suites] == [
        "runs/first.h5",
        "runs/second:a,b.h5",
        "runs/third.h5",
    ]
    for suite in suites:
        for count, element in (
            ("failures", "failure"),
            ("errors", "error"),
            ("skipped", "skipped"),
        ):
            assert int(suite.get(count, "-1")) == len(suite.findall(f"testcase/{element}"))
        assert int(suite.get("tests", "-1")) == len(suite.findall("testcase"))
    failure = suites[0].find("testcase/failure")
    assert failure is not None
    assert failure.get("message", "") == SHOWN
    told = [each.get("value") for each in suites[0].findall("properties/property")]
    assert told == ["lower the learning rate by 2 to 10 times"]


def test_markdown_keeps_every_cell_and_starts_no_markup() -> None:
    from markdown_it import MarkdownIt

    text = render("gate", GATE, "markdown", Page())
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    assert sum(token.type == "table_open" for token in tokens) == 1
    rows = sum(token.type == "tr_open" for token in tokens)
    cells = [
        "".join(child.content for child in following.children or ())
        for token, following in pairwise(tokens)
        if token.type == "td_open"
    ]
    assert (rows, len(cells)) == (4, 15)
    assert SHOWN in cells[2]
    inline = [child.type for token in tokens for child in token.children or ()]
    assert not {"html_inline", "strong_open", "em_open", "link_open"} & set(inline)


def test_github_annotations_say_what_was_meant_once_unescaped() -> None:
    lines = render("gate", GATE, "github", Page()).splitlines()
    commands = [line.split(" ", 1)[0] for line in lines]
    assert commands == ["::error", "::error", "::warning", "::notice", "::notice"]
    assert lines[-1].endswith("::lower the learning rate by 2 to 10 times")
    properties, message = lines[1].split(" ", 1)[1].split("::", 1)
    values = dict(pair.split("=", 1) for pair in properties.split(","))
    unescaped = message.replace("%0A", "\n").replace("%25", "%")
    assert values["file"] == "runs/first.h5"
    assert unescaped == f"{SHOWN}\nstart again\\nwith another seed"


def test_json_follows_the_schema_and_holds_every_outcome() -> None:
    document = json.loads(render("gate", GATE, "json", Page()))
    jsonschema.validate(document, schema("analysis"))
    checks = [entry["check"] for entry in document["runs"]]
    assert [check["verdict"] for check in checks] == ["error", "pass"]
    assert [run["run"]["next"]["do"] for run in document["runs"]] == ["lower_lr", "none"]
    assert document["runs"][0]["run"]["next"]["finding"] == "stability"
    assert checks[0]["counts"] == {"error": 1, "warn": 1, "inconclusive": 1, "pass": 2}
    assert checks[0]["outcomes"][0]["message"] == NASTY
    assert document["failed"][0]["path"] == "runs/third.h5"


def test_the_table_fits_80_columns_and_puts_failures_first() -> None:
    lines = render("gate", GATE, "table", Page(width=80)).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[1] == "  do: lower the learning rate by 2 to 10 times"
    assert "KS301" in lines[2]
