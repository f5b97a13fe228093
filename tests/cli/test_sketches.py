"""Runs of sketches on the command line: made by ``convert``, read, or refused with the reason."""

import json
from pathlib import Path

import pytest

from tests.calling import called

SAMPLE = Path(__file__).parents[2] / "sample_runs" / "diverging.h5"


@pytest.fixture
def sketched(tmp_path, capsys):
    path = tmp_path / "sketched.h5"
    code, _, told = called(capsys, "convert", SAMPLE, "--sketch", 8, "-o", path)
    assert code == 0
    assert "sketches of 11 weights, 8 numbers a tensor" in told
    return path


def test_inspect_says_that_there_are_sketches(sketched, capsys):
    code, shown, _ = called(capsys, "inspect", sketched)
    assert code == 0
    assert "holds a sketch of 8 numbers a tensor and no weights" in shown
    _, shown, _ = called(capsys, "inspect", sketched, "--format", "json")
    assert json.loads(shown)["run"]["sketch"] == {"numbers": 8, "seed": 0, "kept_steps": []}


def test_analyze_and_check_judge_it(sketched, capsys):
    code, shown, _ = called(capsys, "analyze", sketched, "--format", "json")
    assert code == 0
    document = json.loads(shown)
    assert document["settings"]["method"] == "sketch"
    status = {finding["id"]: finding["status"] for finding in document["findings"]}
    assert status["finiteness"] == "fail"
    assert status["stability"] == "fail"
    assert called(capsys, "check", sketched)[0] == 1


REFUSED = {
    "pruning needs weights": ("prune", "--sparsity", "0.5"),
    "a forecast needs weights": ("forecast", "--ahead", "2"),
    "restoring needs weights": ("restore", "--at", "90", "-o", "{}/out.npz"),
    "writing modes needs weights": ("modes", "-o", "{}/out.h5"),
    "no weights to read": ("analyze", "--method", "exact"),
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_needs_weights_refuses_with_the_reason(sketched, capsys, why):
    verb, *words = (word.format(sketched.parent) for word in REFUSED[why])
    code, _, told = called(capsys, verb, sketched, *words)
    assert code == 2
    assert why in told
    assert "hint:" in told
    assert not list(sketched.parent.glob("out.*"))


def test_a_growing_folder_is_not_sketched(tmp_path, capsys):
    code, _, told = called(
        capsys, "convert", tmp_path, "--sketch", 8, "--follow", "-o", tmp_path / "run.h5"
    )
    assert code == 2
    assert "Recorder(..., sketch=K)" in told
