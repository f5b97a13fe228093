"""What objects show of themselves in a console and a notebook: short, harmless and complete."""

from __future__ import annotations

import inspect
import json
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from matplotlib.figure import Figure

import koopscope
from koopscope import _views
from koopscope.comparison import results as comparing
from koopscope.diagnostics import diagnosis as diagnosing
from koopscope.errors import KoopscopeError
from koopscope.forecasting import results as forecasting
from koopscope.report.analysis_report import Report
from koopscope.report.figure_sizes import WIDTHS
from koopscope.report.json_values import plain
from koopscope.report.pictures import PICTURES
from koopscope.report.registry import render
from koopscope.report.text.terminal_style import Page
from tests.report.html.reading import read
from tests.report.known_runs import KINDS

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
        "comparison": koopscope.compare(SAMPLES / "mlp_sgd.h5", SAMPLES / "lr_too_high.h5"),
    }


#: The objects that can be drawn and made a table of.
SHOWN = ("diagnosis", "finding", "spectrum", "forecast", "comparison")


@pytest.mark.parametrize("name", [*SHOWN, "prediction"])
def test_a_console_shows_one_line(objects, name):
    text = repr(objects[name])
    assert len(text) < 400
    assert "\n" not in text
    assert text.startswith(type(objects[name]).__name__ + "(")


@pytest.mark.parametrize("name", SHOWN)
def test_a_notebook_shows_markup_that_is_harmless(objects, name):
    made = objects[name]._repr_html_()
    found = read(f"<!DOCTYPE html>\n<main>{made}</main>")
    assert not {"script", "style", "b"} & set(found.tags)
    assert len(made) < 20_000


def test_a_diagnosis_shows_every_finding(objects):
    found = read(f"<!DOCTYPE html>\n{objects['diagnosis']._repr_html_()}")
    for finding in objects["diagnosis"].findings:
        assert finding.message in found.text


@pytest.fixture
def axes():
    return Figure().subplots()


def written(report, data):
    return json.loads(render(report, data, "json", Page()))


def test_a_diagnosis_as_a_dictionary_is_its_json_report(diagnosis):
    content = diagnosis.to_dict()
    assert plain(content) == written("analysis", Report((diagnosis,)))
    singular = content["spectra"][0]["singular_values"]
    assert isinstance(singular, np.ndarray)
    assert singular.dtype == np.float64
    assert type(content["run"]["last_step"]) is int


@pytest.mark.parametrize("kind", ["one", "nan", "never_finite", "frozen", "tensors"])
def test_every_kind_of_run_is_a_dictionary_that_agrees_with_its_json(kind):
    found = KINDS[kind]()
    assert plain(found.to_dict()) == written("analysis", Report((found,)))


def test_a_finding_as_a_dictionary_is_the_one_in_the_json_report(diagnosis):
    reported = written("analysis", Report((diagnosis,)))["findings"]
    assert [plain(finding.to_dict()) for finding in diagnosis.findings] == reported


def test_a_spectrum_as_a_dictionary_is_part_of_the_json_report(diagnosis):
    reported = written("analysis", Report((diagnosis,)))["spectra"]
    for entry in reported:
        content = plain(diagnosis.spectrum(entry["name"], entry["observable"]).to_dict())
        for key in ("observable", "rank", "singular_values"):
            assert content[key] == entry[key]
        for mine, theirs in zip(content["eigenvalues"], entry["eigenvalues"], strict=True):
            assert mine.items() <= theirs.items()
            assert len(mine) == 7


@pytest.mark.parametrize("name", ["forecast", "comparison"])
def test_other_results_as_dictionaries_are_their_json_reports(objects, name):
    content = objects[name].to_dict()
    assert plain(content) == written(name, objects[name])


def test_a_comparison_keeps_its_arrays(objects):
    (pair,) = objects["comparison"].to_dict()["pairs"]
    assert isinstance(pair["steps"], np.ndarray)
    assert len(pair["steps"]) == len(objects["comparison"].foremost.timeline.steps)


@pytest.mark.parametrize("name", SHOWN)
def test_a_plot_goes_on_the_axes_that_are_given(objects, axes, name):
    assert objects[name].plot(ax=axes) is axes
    assert axes.get_title(loc="left")
    assert axes.lines or axes.patches or axes.collections


@pytest.mark.parametrize(
    ("name", "panel"),
    [
        *(("diagnosis", panel) for panel in get_args(diagnosing.Panel)),
        *(("forecast", panel) for panel in get_args(forecasting.Panel)),
        *(("comparison", panel) for panel in get_args(comparing.Panel)),
    ],
)
def test_every_panel_that_a_type_names_is_drawn(objects, axes, name, panel):
    assert objects[name].plot(panel, ax=axes) is axes
    assert axes.lines or axes.collections


def test_the_loss_that_is_drawn_is_the_recorded_one(diagnosis, axes):
    diagnosis.plot("loss", ax=axes)
    recorded = diagnosis.analysis.description.metrics
    for line in axes.lines[:2]:
        assert line.get_ydata() == pytest.approx(recorded[line.get_label()])


@pytest.mark.parametrize("name", ["diagnosis", "forecast", "comparison"])
def test_an_unknown_panel_is_one_sentence(objects, name):
    with pytest.raises(KoopscopeError, match="there is no panel 'pie'"):
        objects[name].plot("pie")


@pytest.mark.parametrize("kind", ["one", "three", "frozen", "never_finite"])
@pytest.mark.parametrize("panel", get_args(diagnosing.Panel))
def test_a_panel_with_nothing_to_show_says_so(kind, panel, axes):
    KINDS[kind]().plot(panel, ax=axes)
    assert axes.texts or axes.lines or axes.collections


def test_without_axes_new_ones_are_made_where_a_notebook_looks_for_them():
    program = (
        "import matplotlib; matplotlib.use('agg')\n"
        "import koopscope\n"
        f"drawn = koopscope.analyze({str(SAMPLES / 'per_step.h5')!r}).plot()\n"
        "from matplotlib import pyplot\n"
        "assert pyplot.gca() is drawn\n"
        "assert matplotlib.rcParams['text.parse_math']\n"  # no setting stays behind
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_figure_is_made_by_name_and_written_by_suffix(diagnosis, tmp_path):
    place = tmp_path / "run.pdf"
    made = diagnosis.figure(size="one-column", file=place)
    assert made.get_figwidth() == WIDTHS["one-column"]
    content = place.read_bytes()
    assert content.startswith(b"%PDF")
    assert b"/FontFile2" in content  # TrueType, embedded
    assert b"/Type3" not in content


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ({"name": "pie"}, "there is no figure 'pie'"),
        ({"size": "poster"}, "there is no size 'poster'"),
        ({"file": "run.bmp"}, "run.bmp does not end as a figure does"),
    ],
)
def test_a_figure_that_cannot_be_made_is_one_sentence(diagnosis, words, problem):
    with pytest.raises(KoopscopeError, match=problem):
        diagnosis.figure(**words)


def test_the_docstring_of_figure_names_every_figure():
    said = inspect.getdoc(koopscope.Diagnosis.figure)
    assert all(f"``{name}``" in said for name in PICTURES)


@pytest.mark.parametrize("name", SHOWN)
def test_a_table_has_the_columns_that_its_docstring_names(objects, name):
    pytest.importorskip("pandas")
    rows = objects[name].to_frame()
    assert len(rows) > 0
    said = inspect.getdoc(type(objects[name]).to_frame)
    named = [column for column in rows.columns if column in said]
    assert len(named) >= 7


def test_rows_of_tables_are_the_numbers_of_their_objects(objects, diagnosis):
    pytest.importorskip("pandas")
    rows = diagnosis.to_frame()
    assert list(rows["finding"]) == [finding.id for finding in diagnosis.findings]
    assert rows.loc[0, "value"] == diagnosis.findings[0].value
    spectrum = diagnosis.spectrum()
    assert np.array_equal(spectrum.to_frame()["eigenvalue"], spectrum.eigenvalues)
    layers = objects["comparison"].to_frame()
    found = objects["comparison"].layers
    assert list(layers["distance"]) == [layer.distance.value for layer in found]
    errors = objects["forecast"].to_frame()
    score = objects["forecast"].backtest.score("forecast", 0)
    assert errors[errors["kind"] == "forecast"].iloc[0]["median"] == score.median


def test_without_pandas_one_sentence_says_what_to_do(diagnosis, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(KoopscopeError, match="needs pandas, which is not installed") as caught:
        diagnosis.to_frame()
    assert "pip install pandas" in str(caught.value.hint)


def test_every_class_that_is_shown_has_a_module_with_its_ways():
    for home in _views.SHOWN_BY.values():
        module = import_module(home)
        assert all(callable(getattr(module, way)) for way in ("to_dict", "plot", "to_frame"))


@pytest.mark.parametrize("name", SHOWN)
def test_the_ways_are_found_by_help_and_dir_and_typed(objects, name):
    for way in ("to_dict", "plot", "to_frame"):
        assert way in dir(objects[name])
        method = getattr(type(objects[name]), way)
        assert inspect.getdoc(method)
        assert inspect.signature(method).return_annotation is not inspect.Signature.empty
