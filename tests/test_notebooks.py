"""What objects show of themselves, in a console and in a notebook: short, and harmless."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import koopscope
from tests.report.html.reading import read

SAMPLES = Path(__file__).parents[1] / "sample_runs"


@pytest.fixture(scope="module")
def diagnosis(tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "<b>bold.h5"
    shutil.copy(SAMPLES / "mlp_sgd.h5", path)
    return koopscope.analyze(path)


@pytest.fixture(scope="module")
def objects(diagnosis):
    predicted = koopscope.forecast(SAMPLES / "mlp_sgd.h5", ahead=5)
    return {
        "diagnosis": diagnosis,
        "finding": diagnosis.findings[0],
        "spectrum": diagnosis.spectrum(),
        "forecast": predicted.forecast,
        "prediction": predicted,
    }


@pytest.mark.parametrize("name", ["diagnosis", "finding", "spectrum", "forecast", "prediction"])
def test_a_console_shows_one_line(objects, name):
    text = repr(objects[name])
    assert len(text) < 400
    assert "\n" not in text
    assert text.startswith(type(objects[name]).__name__ + "(")


@pytest.mark.parametrize("name", ["diagnosis", "finding", "spectrum", "forecast"])
def test_a_notebook_shows_markup_that_is_harmless(objects, name):
    made = objects[name]._repr_html_()
    found = read(f"<!DOCTYPE html>\n<main>{made}</main>")
    assert not {"script", "style", "b"} & set(found.tags)
    assert len(made) < 20_000


def test_a_diagnosis_shows_every_finding(objects):
    found = read(f"<!DOCTYPE html>\n{objects['diagnosis']._repr_html_()}")
    for finding in objects["diagnosis"].findings:
        assert finding.message in found.text
