"""The JSON follows its schema for every run, says what the analysis says, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from koopscope.diagnostics.diagnosis import analyze
from koopscope.errors import KoopscopeError
from koopscope.report.analysis_json import document
from koopscope.report.analysis_report import Report
from koopscope.report.envelope import Failure, dumped, schema
from koopscope.report.json_values import plain
from tests.report.known_runs import KINDS, diagnosed, snapshots_of

SAMPLE_RUNS = sorted((Path(__file__).parents[2] / "sample_runs").glob("*.h5"))
FAILURE = Failure("lost.h5", KoopscopeError("there is no file lost.h5", "look elsewhere"))


def checked(text: str) -> dict:
    """Parse strictly: no NaN, no Infinity; and validate."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    parsed = json.loads(text, parse_constant=refuse)
    jsonschema.Draft202012Validator(schema("analysis")).validate(parsed)
    return parsed


def undescribed(value, described: dict, where: str = "") -> list[str]:
    """List the keys of a document that its schema does not name."""
    definitions = schema("analysis")["$defs"]
    while ref := described.get("$ref"):
        described = definitions
        for part in ref.removeprefix("#/$defs/").split("/"):
            described = described[part]
    if isinstance(value, list):
        return [
            key for item in value for key in undescribed(item, described.get("items", {}), where)
        ]
    if not isinstance(value, dict) or "properties" not in described:
        return []
    found = []
    for key, item in value.items():
        if key not in described["properties"]:
            found.append(f"{where}.{key}")
        else:
            found += undescribed(item, described["properties"][key], f"{where}.{key}")
    return found


def test_the_schema_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(schema("analysis"))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "deep"])
def test_every_kind_of_run_follows_the_schema(kind):
    parsed = checked(dumped(document(Report((KINDS[kind](),)))))
    assert undescribed(parsed, schema("analysis")["$defs"]["analysis"]) == []


@pytest.mark.parametrize("path", SAMPLE_RUNS, ids=lambda path: path.stem)
def test_every_sample_run_follows_the_schema(path):
    diagnosis = analyze(path)
    parsed = checked(dumped(document(Report((diagnosis,)))))
    assert undescribed(parsed, schema("analysis")["$defs"]["analysis"]) == []
    assert len(parsed["spectra"]) == 2 + len(parsed["layers"])


def test_a_wrong_document_does_not_follow_the_schema():
    parsed = document(Report((KINDS["known"](),)))
    parsed["findings"][0]["status"] = "perhaps"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(parsed, schema("analysis"))


def test_numbers_are_those_of_the_analysis():
    diagnosis = KINDS["tensors"]()
    parsed = document(Report((diagnosis,)))
    assert [
        (entry["scope"], entry["name"], entry["observable"]) for entry in parsed["spectra"]
    ] == [
        ("network", "network", "increments"),
        ("network", "network", "weights"),
        ("layer", "body.0", "increments"),
        ("layer", "body.1", "increments"),
        ("layer", "head", "increments"),
        ("tensor", "body.0.weight", "increments"),
        ("tensor", "body.0.bias", "increments"),
        ("tensor", "body.1.weight", "increments"),
        ("tensor", "head.weight", "increments"),
    ]
    spectrum = diagnosis.spectrum("head")
    entries = parsed["spectra"][4]["eigenvalues"]
    assert [complex(entry["re"], entry["im"]) for entry in entries] == list(spectrum.eigenvalues)
    assert [entry["residual"] for entry in entries] == list(spectrum.residuals)
    amplitudes = [entry["amplitude"] for entry in entries]
    assert amplitudes == pytest.approx(sorted(amplitudes, reverse=True))
    motion = diagnosis.analysis.motion("head")
    assert parsed["layers"][2]["displacement"] == motion.displacement
    assert parsed["run"]["spacing"] == 10
    assert [finding["id"] for finding in parsed["findings"]] == [
        finding.id for finding in diagnosis.findings
    ]


def test_the_same_run_gives_the_same_bytes():
    first, second = (dumped(document(Report((KINDS["nan"](),)))) for _ in range(2))
    assert first == second


def test_several_runs_are_one_object_each_and_failures_are_listed():
    report = Report((KINDS["known"](), KINDS["one"]()), (FAILURE,))
    parsed = checked(dumped(document(report)))
    assert undescribed(parsed, schema("analysis")["$defs"]["analyses"]) == []
    assert parsed["runs"] == [document(Report((run,))) for run in report.diagnoses]
    assert parsed["failed"] == [
        {"path": "lost.h5", "error": "there is no file lost.h5", "hint": "look elsewhere"}
    ]
    assert parsed["sweep"] is None


def test_one_run_of_two_is_still_a_list():
    assert list(checked(dumped(document(Report((KINDS["one"](),), (FAILURE,))))))[2] == "runs"


def test_too_few_snapshots_have_no_spectra_and_no_spacing():
    parsed = document(Report((KINDS["one"](),)))
    assert parsed["spectra"] == []
    assert parsed["run"]["spacing"] is None


def test_what_json_cannot_hold_becomes_what_it_can():
    value = {1: (np.float64("nan"), np.int64(3)), "a": np.array([1.0, np.inf]), "b": np.bool_(True)}
    assert plain(value) == {"1": [None, 3], "a": [1.0, None], "b": True}


def test_the_text_is_ascii_whatever_the_names():
    diagnosis = KINDS["known"]()
    report = Report((diagnosis,), sweep={"größe": "λ"})
    assert dumped(document(report)).isascii()


def test_the_unfiltered_spectrum_has_its_own_intervals():
    filtered = diagnosed(snapshots_of(), rank=5, noise_filter="sobolev")
    plain_run = diagnosed(snapshots_of(), rank=5)
    before = document(Report((filtered,)))["spectra"][1]
    assert before["noise_filter"] == "none"
    assert before == document(Report((plain_run,)))["spectra"][0]
