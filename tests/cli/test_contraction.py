import json

import jsonschema
import numpy as np
import pytest

from koopscope.report.envelope import schema
from koopscope.runs.native.recorder import Recorder
from tests import iterated_maps as maps


def record(path, operator, start, count, states=("*",)):
    with Recorder(path, states=states) as recorder:
        for step, x in enumerate(maps.iterate(operator, start, count)):
            recorder.snapshot(step, {"hidden.a": x[: len(x) // 2], "hidden.b": x[len(x) // 2 :]})
    return str(path)


OPERATORS = {
    "contraction": lambda: maps.affine(maps.symmetric(0.9)),
    "rotation": lambda: maps.affine(maps.rotation(0.7)),
    "expansion": lambda: maps.affine(np.diag([1.1, 0.5, 0.2, 0.1])),
    "drift": lambda: (lambda x: x + 1.0, np.zeros(4)),
}


@pytest.mark.parametrize("kind", OPERATORS)
def test_json_follows_its_schema_and_is_the_same_twice(call, tmp_path, kind):
    path = record(tmp_path / "run.h5", *OPERATORS[kind](), 40)
    code, out, _ = call("contraction", path, "--format", "json")
    assert code == 0
    document = json.loads(out)
    jsonschema.Draft202012Validator.check_schema(schema("contraction"))
    jsonschema.validate(document, schema("contraction"))
    assert call("contraction", path, "--format", "json")[1] == out


def test_json_names_the_factor_and_its_interval(call, tmp_path):
    path = record(tmp_path / "run.h5", *OPERATORS["contraction"](), 40)
    found = json.loads(call("contraction", path, "-f", "json")[1])["contraction"]
    assert found["state"] == "contracting"
    assert found["interval"][0] <= 0.9 <= found["interval"][1]
    assert found["factor"] == pytest.approx(0.9, abs=1e-6)
    last = found["fixed_point"]["last_distance"]
    assert last <= found["bounds"]["a_posteriori"] <= found["bounds"]["a_priori"]


def test_the_bounds_hold_and_the_guaranteed_iterations_suffice(call, tmp_path):
    operator, start = OPERATORS["contraction"]()
    path = record(tmp_path / "run.h5", operator, start, 40)
    found = json.loads(call("contraction", path, "-f", "json")[1])["contraction"]
    exact = maps.iterate(operator, start, 1000)
    distance = np.linalg.norm(exact[40] - exact[-1])
    assert distance <= found["bounds"]["a_posteriori"]
    for needed in found["iterations"]:
        true = maps.iterations_to(operator, start, needed["tolerance"])
        assert needed["interval"][0] <= true + 1
        assert true <= needed["guaranteed"]
        assert abs(needed["iterations"] - true) <= max(1, 0.2 * true)


def test_the_table_says_what_the_operator_is(call, tmp_path):
    path = record(tmp_path / "run.h5", *OPERATORS["contraction"](), 40)
    code, out, err = call("contraction", path, "--tolerance", "0.01")
    assert (code, err) == (0, "")
    assert "Operator: contracting" in out
    assert "0.01" in out
    assert "1e-06" not in out


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_the_fixed_point_is_written_by_tensor_name(call, tmp_path, suffix):
    operator, start = OPERATORS["contraction"]()
    path = record(tmp_path / "run.h5", operator, start, 40)
    output = tmp_path / f"fixed{suffix}"
    assert call("contraction", path, "--fixed-point", output)[0] == 0
    if suffix == ".npz":
        with np.load(output) as arrays:
            written = np.concatenate([arrays["hidden.a"], arrays["hidden.b"]])
        assert np.linalg.norm(operator(written) - written) < 1e-5 * np.linalg.norm(written)
    code, _, err = call("contraction", path, "--fixed-point", output)
    assert code == 2
    assert "exists and is kept" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "holds weights, not iterates"),
        (("--format", "junit=x"), "there is no format 'junit'"),
        (("--tolerance", "2"), "2.0 is not in the range"),
        (("--fixed-point", "point.txt"), "point.txt does not say how"),
    ],
)
def test_what_cannot_be_done_is_said(call, tmp_path, words, message):
    path = record(tmp_path / "run.h5", *OPERATORS["contraction"](), 10, states=())
    code, out, err = call("contraction", path, *words)
    assert (code, out) == (2, "")
    assert message in err
    assert "hint: " in err


def test_a_drift_has_no_fixed_point_to_write(call, tmp_path):
    path = record(tmp_path / "run.h5", *OPERATORS["drift"](), 20)
    code, _, err = call("contraction", path, "--fixed-point", tmp_path / "x.npz")
    assert code == 2
    assert "drift" in err


@pytest.mark.parametrize("kind", OPERATORS)
def test_iterates_of_every_kind_are_drawn(call, tmp_path, kind):
    path = record(tmp_path / "run.h5", *OPERATORS[kind](), 20)
    words = ("--plots", tmp_path, "--plot-format", "svg", "--figure-size", "one-column")
    assert call("contraction", path, *words)[0] == 0
    drawn = (tmp_path / "contraction.svg").read_text()
    assert "Distance to the fixed point" in drawn
    assert "ratio of successive increments" in drawn
    factor = json.loads(call("contraction", path, "--format", "json")[1])["contraction"]["factor"]
    assert f"factor {factor:.4g}" in drawn
