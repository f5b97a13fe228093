"""``koopscope forecast`` writes what it says, and refuses in one sentence what it cannot know."""

import json

import h5py
import jsonschema
import numpy as np
import pytest

import koopscope
from koopscope.cli import forecast as verb
from koopscope.forecasting.choices import ACCEPTANCES, OPERATORS
from koopscope.report.envelope import schema
from tests.calling import called
from tests.frameworks import framework
from tests.recorded import MLP, recorded, settling

SAMPLE = "sample_runs/mlp_sgd.h5"


@pytest.fixture
def network(tmp_path):
    return recorded(tmp_path / "run.h5", settling(MLP, snapshots=30))


def forecast(capsys, *words):
    return called(capsys, "forecast", *words)


def refused(capsys, *words):
    code, out, err = forecast(capsys, *words)
    assert (code, out) == (2, "")
    error, hint = err.splitlines()
    assert error.startswith("error: ")
    assert hint.startswith("hint: ")
    return error


def test_the_command_knows_the_choices_there_are():
    choices = {option.name: option.type for option in verb.command.params}
    assert tuple(choices["operator"].choices) == OPERATORS
    assert tuple(choices["accept"].choices) == ACCEPTANCES


@pytest.mark.parametrize("suffix", ["npz", "h5"])
def test_predicted_weights_are_those_of_the_python_call(network, tmp_path, capsys, suffix):
    out = tmp_path / f"predicted.{suffix}"
    code, _, err = forecast(capsys, network, "--to", 32, "-o", out)
    assert code == 0
    assert err.startswith(f"Wrote the weights of step 32 to {out} in ")
    expected = koopscope.forecast(network, 32).weights
    opened = np.load(out) if suffix == "npz" else h5py.File(out)
    with opened as written:
        for name, weights in expected.items():
            assert written[name].dtype == weights.dtype == np.float32
            np.testing.assert_array_equal(written[name], weights)


def test_safetensors_and_bfloat16_keep_the_run_s_dtype(tmp_path, capsys):
    library = framework("safetensors")
    out = tmp_path / "predicted.safetensors"
    run = "sample_runs/bfloat16.h5"
    assert forecast(capsys, run, "--ahead", 5, "-o", out)[0] == 0
    header = json.loads(out.read_bytes()[8 : 8 + int.from_bytes(out.read_bytes()[:8], "little")])
    assert {entry["dtype"] for name, entry in header.items() if name != "__metadata__"} == {"BF16"}
    assert header["__metadata__"]["step"] == "85"
    with open(out, "rb") as file:
        assert set(dict(library.deserialize(file.read()))) == {
            tensor.name for tensor in koopscope.open_run(run).description.tensors
        }


def test_an_output_that_exists_is_kept_unless_forced(network, tmp_path, capsys):
    out = tmp_path / "predicted.npz"
    out.write_bytes(b"precious")
    assert "exists and is kept" in refused(capsys, network, "--ahead", 2, "-o", out)
    assert out.read_bytes() == b"precious"
    assert forecast(capsys, network, "--ahead", 2, "-o", out, "--force")[0] == 0
    assert out.read_bytes() != b"precious"


def test_the_run_itself_is_never_written_over(network, capsys):
    before = network.read_bytes()
    error = refused(capsys, network, "--ahead", 2, "-o", network, "--force")
    assert "is an input of this command" in error
    assert network.read_bytes() == before


def test_nothing_is_left_of_a_forecast_that_is_refused(network, tmp_path, capsys):
    out = tmp_path / "predicted.npz"
    assert "farther than can be trusted" in refused(capsys, network, "--to", 500, "-o", out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.h5"]
    code, _, err = forecast(capsys, network, "--to", 500, "-o", out, "--beyond-trust")
    assert code == 0
    assert out.exists()
    assert "warning: " in err
    assert "--beyond-trust" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--to", 5), "does not lie after step 29"),
        (("--to", 50, "--ahead", 2), "both given"),
        (("--ahead", 2, "--until", -4), "no snapshot lies at or before step -4"),
        (("--ahead", 2, "--include", "nothing*"), "no tensor"),
        (("-o", "x.npz"), "nothing says which step's weights"),
        (("--ahead", 2, "-o", "x.csv"), "does not say how to write arrays"),
        (("--ahead", 2, "--every", 4), "pooled by 4"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_sentence(network, capsys, words, message):
    assert message in refused(capsys, network, *words)


def test_too_few_and_uneven_snapshots_are_refused(tmp_path, capsys):
    weights = settling(MLP, snapshots=3)
    few = recorded(tmp_path / "few.h5", weights)
    assert "3 snapshots are too few" in refused(capsys, few, "--ahead", 1)
    weights = settling(MLP, snapshots=6)
    uneven = recorded(tmp_path / "uneven.h5", weights, steps=[0, 1, 3, 7, 15, 31])
    assert "evenly spaced" in refused(capsys, uneven, "--ahead", 1)


def test_a_growing_run_is_refused_until_growth_is_allowed(tmp_path, capsys):
    t = np.arange(45)
    growing = {"w": np.multiply.outer(1.15**t, np.ones(20))}
    run = recorded(tmp_path / "run.h5", growing)
    assert "the motion grows" in refused(capsys, run, "--ahead", 10)
    assert forecast(capsys, run, "--ahead", 10, "--allow-growth")[0] == 0


def test_the_table_shows_the_test_the_verdict_and_the_layers(capsys):
    code, out, err = forecast(capsys, SAMPLE, "--ahead", 10)
    assert code == 0
    assert "nothing written" in err
    found = koopscope.forecast(SAMPLE, ahead=10).forecast
    assert "forecast of step 2,590, 10 snapshots after step 2,220" in out
    assert found.verdict in out
    assert f"can be trusted up to step {found.trusted_step:,}" in out
    rows = [line.split() for line in out.splitlines()]
    for k, horizon in enumerate(found.backtest.horizons):
        (row,) = (row for row in rows if row[:2] == [str(horizon), f"{37 * horizon:,}"])
        assert row[3] == f"{found.backtest.score('forecast', k).median:.2f}"
        assert row[7:] == [
            f"{found.backtest.score(name, k).median:.2f}"
            for name in ("last step", "straight line", "exponential average")
        ]
    for layer in found.layers:
        (row,) = (row for row in rows if row[:1] == [layer.name])
        assert row[1:3] == [f"{layer.parameters:,}", f"{layer.displacement:.3g}"]


def test_without_a_target_there_is_only_the_test(capsys):
    code, out, _ = forecast(capsys, SAMPLE)
    assert code == 0
    assert "Forecasts can be trusted up to step" in out
    assert "Layers" not in out


def test_what_came_is_shown_where_the_run_went_on(capsys):
    code, out, _ = forecast(capsys, SAMPLE, "--ahead", 10, "--until", 1500)
    assert code == 0
    actual = koopscope.forecast(SAMPLE, ahead=10, until=1500).forecast.actual
    assert (
        f"the error of the forecast is {actual:.2f} times that of assuming no change"
        in " ".join(out.split())
    )


@pytest.mark.parametrize(
    "words",
    [("--ahead", 10), (), ("--ahead", 4, "--operator", "node"), ("--to", 2000, "--until", 1500)],
)
def test_json_follows_its_schema(capsys, words):
    code, out, _ = forecast(capsys, SAMPLE, *words, "--format", "json")
    assert code == 0
    document = json.loads(out)
    jsonschema.validate(document, schema("forecast"))
    assert (document["target"] is None) == (not words)
    assert document["settings"]["operator"] == ("node" if "node" in words else "network")
    assert forecast(capsys, SAMPLE, *words, "--format", "json")[1] == out


def test_json_says_no_number_that_json_cannot_hold(tmp_path, capsys):
    still = recorded(tmp_path / "still.h5", {"w": np.ones((30, 4))})
    code, out, _ = forecast(capsys, still, "--ahead", 3, "--beyond-trust", "--format", "json")
    assert code == 0
    document = json.loads(out)
    jsonschema.validate(document, schema("forecast"))
    assert document["trust"]["step"] is None
    assert not document["target"]["trusted"]


@pytest.mark.parametrize("words", [(), ("--ahead", 10), ("--ahead", 10, "--until", 1500)])
def test_a_picture_is_drawn(tmp_path, capsys, words):
    folder = tmp_path / "plots"
    code, _, _ = forecast(capsys, SAMPLE, *words, "--plots", folder, "--plot-format", "svg")
    assert code == 0
    drawn = (folder / "forecast.svg").read_text()
    assert "Error of past forecasts" in drawn
    assert ("what came" in drawn) == ("--until" in words)


@pytest.mark.parametrize("snapshots", [5, 30])
def test_degenerate_runs_are_drawn_too(tmp_path, capsys, snapshots):
    still = recorded(tmp_path / "still.h5", {"w": np.ones((snapshots, 4))})
    words = ("--ahead", 1, "--beyond-trust", "--plots", tmp_path / "plots")
    assert forecast(capsys, still, *words)[0] == 0
    assert (tmp_path / "plots" / "forecast.png").stat().st_size > 5000
