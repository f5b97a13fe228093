"""A finding on a sketched run says what the sketch costs, and is withheld where that is much."""

import json
from pathlib import Path

import numpy as np
import pytest

import koopscope
from koopscope.analysis.analysis import Analysis
from koopscope.analysis.settings import Settings
from koopscope.diagnostics import convergence
from koopscope.diagnostics.finding import Finding
from koopscope.diagnostics.sketched import on_sketch
from koopscope.diagnostics.statistics.rest_of_way import rest_of_way
from koopscope.diagnostics.statistics.trajectory import course_of
from koopscope.report.analysis_json import run_document
from koopscope.report.envelope import schema
from koopscope.runs.detect.opening import open_run
from koopscope.runs.detect.sketching_runs import convert_to_sketch
from koopscope.runs.sketches import SketchInfo

SAMPLES = Path(__file__).parents[2] / "sample_runs"


@pytest.fixture(scope="module")
def sketched(tmp_path_factory):
    path = tmp_path_factory.mktemp("sketched") / "run.h5"
    with open_run(SAMPLES / "stopped_early.h5") as run:
        tensors = run.description.tensors
        convert_to_sketch(run, path, SketchInfo(64, 0), tensors=tensors, metrics={})
    return koopscope.analyze(path)


def test_verdicts_are_those_from_the_weights_and_say_what_they_rest_on(sketched):
    full = koopscope.analyze(SAMPLES / "stopped_early.h5")
    for found, other in zip(full.findings, sketched.findings, strict=True):
        assert other.status == found.status, found.id
        assert found.basis is None
        assert other.basis.numbers == 64
        assert other.basis.parts == 8
        assert "64 numbers a tensor" in other.message
    error = sketched.finding("convergence").basis.standard_error
    assert 0.0 < error < 0.1
    assert sketched.finding("sampling").basis.standard_error == 0.0


def test_the_rest_of_the_way_is_less_sure_on_a_sketch(sketched):
    full = koopscope.analyze(SAMPLES / "stopped_early.h5").finding("convergence").evidence
    coarse = sketched.finding("convergence").evidence
    low, high = full["remaining_interval"]
    lower, higher = coarse["remaining_interval"]
    assert lower < coarse["remaining"] < higher
    assert np.log(higher / lower) > np.log(high / low)
    assert lower < full["remaining"] < higher


def test_the_rest_of_the_way_from_the_weights_lies_in_the_interval_of_the_sketch(tmp_path):
    inside = []
    for name in ("bfloat16", "cnn_adam", "dead_units", "frozen", "overfitting", "plateau", "spike"):
        path = tmp_path / f"{name}.h5"
        with open_run(SAMPLES / f"{name}.h5") as run:
            known = rest_of_way(Analysis.of(run, Settings()))
            tensors = run.description.tensors
            convert_to_sketch(run, path, SketchInfo(16, 0), tensors=tensors, metrics={})
        with open_run(path) as run:
            found = rest_of_way(Analysis.of(run, Settings()))
        assert np.log(found.high / found.low) > 0.0
        inside.append(found.low <= known.part <= found.high)
    assert sum(inside) >= 0.8 * len(inside)


@pytest.mark.parametrize("name", ["dead_units", "mlp_sgd", "cnn_adam", "plateau"])
def test_units_are_counted_as_from_the_weights(tmp_path, name):
    path = tmp_path / "run.h5"
    with open_run(SAMPLES / f"{name}.h5") as run:
        tensors = run.description.tensors
        convert_to_sketch(run, path, SketchInfo(64, 0), tensors=tensors, metrics={})
    found, full = (koopscope.analyze(each).finding("dead-units") for each in (path, run.path))
    assert found.status == full.status
    assert found.value == full.value
    for layer, other in zip(found.evidence["layers"], full.evidence["layers"], strict=True):
        for key in ("tensor", "units", "dead", "never_moved"):
            assert layer[key] == other[key]
        assert layer["indices"] == []


def test_intervals_are_widened_by_what_the_sketch_costs(sketched):
    course = course_of(sketched.analysis)
    rule = convergence.stop_rule(course)
    wider = convergence.stop_rule(course, np.full(len(rule.score), 0.5))
    assert (wider.low <= rule.low).all()
    assert (wider.high >= rule.high).all()
    assert wider.low.sum() < 0.95 * rule.low.sum()
    shown = sketched.finding("convergence").evidence["stop_history"]
    exact = rule.low[convergence.EARLIEST_STOP :]
    assert sum(point["interval"][0] for point in shown) < exact.sum()
    assert (sketched.analysis.confidence().compression_errors > 0.0).all()


def test_the_report_fits_its_schema(sketched):
    jsonschema = pytest.importorskip("jsonschema")
    document = json.loads(json.dumps(run_document(sketched), default=str))
    jsonschema.validate(document, schema("analysis"))
    assert document["settings"]["method"] == "sketch"
    assert all("basis" in finding for finding in document["findings"])


def found(status, value):
    return Finding("depth", "KS401", status, "Said.", value=value)


def test_a_status_that_parts_of_the_sketch_do_not_give_is_not_known():
    parts = [found("pass", 1.0 + 0.1 * k) for k in range(5)] + [found("info", 2.0)] * 3
    judged = on_sketch(found("pass", 1.2), parts, SketchInfo(16, 0))
    assert (judged.status, judged.basis.agreeing) == ("inconclusive", 5)
    assert "sketch=1024" in judged.hint
    judged = on_sketch(found("pass", 1.2), [found("pass", 1.2)] * 8, SketchInfo(16, 0))
    assert (judged.status, judged.basis.standard_error) == ("pass", 0.0)
    assert judged.message == "Said. It rests on facts beside the sketch (16 numbers a tensor)."
