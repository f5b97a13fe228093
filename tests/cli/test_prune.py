"""``koopscope prune`` writes what it says, says what it wrote, and refuses in one sentence."""

import json
import os
import subprocess
import sys

import jsonschema
import numpy as np
import pytest

import koopscope
from koopscope.pruning.choices import CRITERION_NAMES
from koopscope.pruning.criteria import CRITERIA
from koopscope.report.envelope import schema
from tests.calling import called
from tests.recorded import MLP, PRUNABLE, recorded, settling


@pytest.fixture
def network(tmp_path):
    return recorded(tmp_path / "run.h5", settling(MLP))


def prune(capsys, *words):
    return called(capsys, "prune", *words)


def refused(capsys, *words):
    code, out, err = prune(capsys, *words)
    assert (code, out) == (2, "")
    error, hint = err.splitlines()
    assert error.startswith("error: ")
    assert hint.startswith("hint: ")
    return error


def test_the_command_knows_the_criteria_there_are():
    assert tuple(CRITERIA) == CRITERION_NAMES


def test_masks_are_those_of_the_python_call(network, tmp_path, capsys):
    out = tmp_path / "masks.npz"
    code, _, err = prune(
        capsys, network, "--sparsity", 0.8, "--criterion", "forecast-magnitude", "-o", out
    )
    assert code == 0
    assert err.startswith(f"Wrote masks of 220 weights to {out} in ")
    expected = koopscope.prune(network, 0.8, criterion="forecast-magnitude").masks
    with np.load(out) as written:
        for name, mask in expected.items():
            np.testing.assert_array_equal(written[name], mask)


def test_the_table_shows_what_stays_of_each_layer_and_the_mode_it_rests_on(network, capsys):
    code, out, err = prune(capsys, network, "--sparsity", 0.5, "--criterion", "koopman-magnitude")
    assert code == 0
    assert "no masks written" in err
    found = koopscope.prune(network, 0.5, criterion="koopman-magnitude").pruning
    mode = found.criterion.mode
    said = f"koopman-magnitude: mode {mode.index + 1} of {mode.rank}, λ = 1, the fixed point"
    assert f"{said}, residual" in out
    assert "judged at step 11 from the 12 snapshots since step 0" in out
    assert f"110 of 220 weights stay, {found.overlap:.1%} of them by magnitude as well" in out
    assert "220 weights in 3 tensors; 48 others are kept whole" in out
    rows = [line.split() for line in out.splitlines()]
    for tensor in found.tensors:
        (row,) = (row for row in rows if row[:1] == [tensor.layer])
        assert row[1:4] == [
            str(tensor.total),
            str(tensor.kept),
            f"{tensor.kept / tensor.total:.1%}",
        ]
        assert row[4] == f"{tensor.shared / tensor.kept:.1%}"
        assert set(row[5]) == {"█"}


def test_several_sparsities_share_one_reading_and_get_a_file_each(network, tmp_path, capsys):
    code, out, _ = prune(
        capsys, network, "--sparsity", 0.5, "--sparsity", 0.95, "-o", tmp_path / "m.npz"
    )
    assert code == 0
    assert out.index("Sparsity 50%") < out.index("Sparsity 95%")
    for sparsity in (0.5, 0.95):
        with np.load(tmp_path / f"m-{sparsity}.npz") as written:
            kept = sum(int(written[name].sum()) for name in PRUNABLE)
        assert kept == 220 - round(sparsity * 220)


def test_a_place_for_the_sparsity_in_the_name_is_filled(network, tmp_path, capsys):
    out = tmp_path / "m{sparsity}.h5"
    assert prune(capsys, network, "--sparsity", 0.25, "-o", out)[0] == 0
    assert (tmp_path / "m0.25.h5").exists()


def test_json_follows_its_schema_and_adds_up(network, capsys):
    code, out, _ = prune(
        capsys, network, "--sparsity", 0.5, "--sparsity", 0.9, "--format", "json",
        "--criterion", "koopman-magnitude", "--at", 9,
    )  # fmt: skip
    document = json.loads(out)
    jsonschema.validate(document, schema("pruning"))
    assert code == 0
    assert document["run"]["step"] == 9
    assert abs(document["mode"]["abs"] - 1.0) < 1e-3
    for pruning, kept in zip(document["prunings"], (110, 22), strict=True):
        assert pruning["kept"] == kept
        assert sum(layer["kept"] for layer in pruning["layers"]) == kept
        assert sum(tensor["total"] for tensor in pruning["tensors"]) == pruning["total"] == 220


def test_the_same_run_gives_the_same_bytes(network, capsys):
    words = (network, "--sparsity", 0.5, "--format", "json", "--criterion", "random")
    assert prune(capsys, *words)[1] == prune(capsys, *words)[1]


def test_units_are_announced_with_what_was_left_alone(network, capsys):
    code, out, _ = prune(capsys, network, "--sparsity", 0.5, "--structure", "unit")
    assert code == 0
    assert "whole units, one threshold for all layers" in out
    assert "note: the units of head.weight are the network's outputs and stay" in out


def test_report_and_figure_go_to_files(network, tmp_path, capsys):
    code, out, _ = prune(
        capsys, network, "--sparsity", 0.5, "--format", f"json={tmp_path / 'p.json'}",
        "--format", "table", "--plots", tmp_path / "plots", "--plot-format", "svg",
        "--criterion", "destination",
    )  # fmt: skip
    assert code == 0
    assert "Sparsity 50%" in out
    assert json.loads((tmp_path / "p.json").read_text())["prunings"][0]["kept"] == 110
    drawing = (tmp_path / "plots" / "pruning.svg").read_text()
    assert "hidden.0" in drawing
    assert "Norm that goes" in drawing
    assert "kept (110 shown)" in drawing


def test_a_score_that_is_the_magnitude_is_not_drawn_against_it(network, tmp_path, capsys):
    words = ("--sparsity", 0.5, "--plots", tmp_path, "--plot-format", "svg")
    assert prune(capsys, network, *words)[0] == 0
    drawing = (tmp_path / "pruning.svg").read_text()
    assert "Norm that goes" in drawing
    assert "Score and magnitude" not in drawing


def test_outputs_that_exist_are_kept_unless_forced(network, tmp_path, capsys):
    masks = tmp_path / "m.npz"
    masks.write_bytes(b"older")
    words = (network, "--sparsity", 0.5, "-o", masks)
    assert "exists and is kept" in refused(capsys, *words)
    assert masks.read_bytes() == b"older"
    assert prune(capsys, *words, "--force")[0] == 0
    with np.load(masks) as written:
        assert written["head.weight"].dtype == bool


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--sparsity", 0), "sparsity of 0 is not between 0 and 1"),
        (("--sparsity", 1), "sparsity of 1 is not between 0 and 1"),
        (("--sparsity", "nan"), "sparsity of nan is not between 0 and 1"),
        (("--sparsity", "half"), "half"),
        ((), "missing option '--sparsity'"),
        (("--sparsity", 0.5, "--sparsity", 0.5), "given twice"),
        (("--sparsity", 0.5, "--criterion", "l1"), "l1"),
        (("--sparsity", 0.5, "--include", "conv*"), "no tensor left to prune"),
        (("--sparsity", 0.5, "--at", -3), "no snapshot lies at or before step -3"),
        (("--sparsity", 0.5, "--at", 1, "--criterion", "koopman-magnitude"), "2 usable snapshots"),
        (("--sparsity", 0.5, "-o", "masks.bin"), "masks.bin does not say how to write arrays"),
        (("--sparsity", 0.5, "-o", "nowhere/masks.npz"), "there is no folder nowhere"),
        (("--sparsity", 0.5, "--format", "xml"), "no format 'xml'"),
        (("--sparsity", 0.5, "--rank", "many"), "many"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_sentence(
    network, capsys, monkeypatch, tmp_path, words, problem
):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    assert problem in refused(capsys, network, *words)
    assert sorted(tmp_path.iterdir()) == before


def test_the_run_itself_is_never_replaced(network, capsys):
    before = network.read_bytes()
    assert "is an input of this command" in refused(
        capsys, network, "--sparsity", 0.5, "-o", network, "--force"
    )
    assert network.read_bytes() == before


def test_a_run_that_is_not_there_is_named(tmp_path, capsys):
    assert "missing.h5" in refused(capsys, tmp_path / "missing.h5", "--sparsity", 0.5)


def test_in_ascii_and_eighty_columns_the_report_is_readable(network):
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "COLUMNS": "80", "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "koopscope", "prune", str(network), "--sparsity", "0.5"],
        capture_output=True,
        env=environment,
        check=True,
    )
    text = done.stdout.decode("ascii")
    assert "########" in text
    assert "\\u" not in text


def test_a_pruned_copy_of_a_checkpoint_is_written_in_place_of_masks(network, tmp_path, capsys):
    weights = {name: array[-1] for name, array in settling(MLP).items()}
    np.savez(tmp_path / "ckpt.npz", **weights, extra=np.ones(2))
    out = tmp_path / "pruned-{sparsity}.npz"
    words = (network, "--sparsity", 0.5, "--sparsity", 0.9, "--apply", tmp_path / "ckpt.npz")
    code, _, err = prune(capsys, *words, "-o", out)
    assert code == 0
    assert "copied unchanged, not in the run: extra" in err
    for sparsity in (0.5, 0.9):
        with np.load(tmp_path / f"pruned-{sparsity}.npz") as found:
            left = sum(np.count_nonzero(found[name]) for name in PRUNABLE)
            assert left == 220 - round(sparsity * 220)
            np.testing.assert_array_equal(found["head.bias"], weights["head.bias"])
    assert "needs a place to write to" in refused(capsys, *words)


@pytest.mark.parametrize("suffix", [".h5", ".npz", ".safetensors", ".pt"])
def test_a_disk_that_fills_up_ends_the_command_with_one_error(tmp_path, suffix):
    out = tmp_path / "results" / f"masks{suffix}"
    out.parent.mkdir()
    names = [f"layers.{k}.weight" for k in range(60)]
    network = recorded(tmp_path / "wide.h5", settling(dict.fromkeys(names, (2, 2))))
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, 2_000));"
        "from koopscope.cli.main import main; main()"
    )
    words = ["prune", str(network), "--sparsity", "0.5", "--criterion", "magnitude", "-o", str(out)]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"error: {out} cannot be written: File too large",
        "hint: check free space and permissions",
    ]
    assert list(out.parent.iterdir()) == []


def test_a_full_temporary_folder_is_named(network):
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, 1_000));"
        "from koopscope.cli.main import main; main()"
    )
    words = ["prune", str(network), "--sparsity", "0.5"]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    error, hint = done.stderr.splitlines()
    assert error.startswith("error: the scores of 220 weights do not fit the temporary folder ")
    assert "TMPDIR" in hint
