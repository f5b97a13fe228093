"""The gate as JUnit XML: a suite per run, a test case per rule; CI systems show it as tests."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from koopscope.gate.judgement import Judgement, Outcome
from koopscope.inert import inert
from koopscope.report.gate.gate import Gate, interval_text
from koopscope.report.text.terminal_style import Page

#: What XML 1.0 cannot hold, even escaped.
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(gate: Gate, page: Page) -> str:
    """Return the XML document; errors are failures, inconclusive is skipped, warnings are output.

    A run that could not be read is a suite with one error. There are no times and no host, so the
    same run gives the same bytes.
    """
    root = ET.Element("testsuites", name="koopscope")
    for judgement in gate.judgements:
        root.append(_suite(judgement))
    for failure in gate.failures:
        suite = _new_suite(failure.path, tests=1, failures=0, errors=1, skipped=0)
        case = ET.SubElement(suite, "testcase", name="readable", classname="koopscope", time="0")
        error = ET.SubElement(
            case, "error", message=_text(failure.error.message), type="unreadable"
        )
        error.text = _text(failure.error.hint or failure.error.message)
        root.append(suite)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode")


def _suite(judgement: Judgement) -> ET.Element:
    suite = _new_suite(
        judgement.diagnosis.analysis.description.path,
        tests=len(judgement.outcomes),
        failures=judgement.count("error"),
        errors=0,
        skipped=judgement.count("inconclusive"),
    )
    line = _text(inert(judgement.diagnosis.next.line))
    if line:
        properties = ET.SubElement(suite, "properties")
        ET.SubElement(properties, "property", name="do", value=line)
    for outcome in judgement.outcomes:
        name = _text(inert(f"{outcome.code} {outcome.title}"))
        case = ET.SubElement(suite, "testcase", name=name, classname="koopscope", time="0")
        if outcome.verdict == "error":
            element = ET.SubElement(
                case, "failure", message=_text(inert(outcome.message)), type=outcome.id
            )
            element.text = _text(_details(outcome))
        elif outcome.verdict == "inconclusive":
            ET.SubElement(case, "skipped", message=_text(inert(outcome.message)))
        elif outcome.verdict == "warn":
            ET.SubElement(case, "system-out").text = _text(f"warning: {_details(outcome)}")
    return suite


def _new_suite(name: str, **counts: int) -> ET.Element:
    numbers = {key: str(value) for key, value in counts.items()}
    return ET.Element("testsuite", {"name": _text(inert(name)), **numbers, "time": "0"})


def _details(outcome: Outcome) -> str:
    lines = [inert(outcome.message)]
    if outcome.expected is not None and outcome.found is not None:
        lines.append(inert(f"expected {outcome.expected}, found {outcome.found}"))
    if outcome.interval is not None:
        lines.append(f"interval {interval_text(outcome)}")
    if outcome.do:
        lines.append(inert(f"do: {outcome.do}"))
    if outcome.hint:
        lines.append(inert(f"hint: {outcome.hint}"))
    return "\n".join(lines)


def _text(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", "\n".join(inert(line) for line in text.split("\n")))
