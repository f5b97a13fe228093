"""``koopscope restore`` as users call it: a file and the reason for the step, or one refusal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

SAMPLES = Path(__file__).parents[2] / "sample_runs"


def test_the_best_weights_are_written_and_the_reason_is_told(call, tmp_path):
    target = tmp_path / "best.npz"
    code, out, err = call("restore", SAMPLES / "overfitting.h5", "--at", "best", "-o", target)
    assert (code, out) == (0, "")
    assert (
        "Step 220 has the lowest val_loss: 0.5086, and 0.6927 at the end. val_loss counts by" in err
    )
    assert f"Wrote the weights of step 220 to {target}." in err
    with np.load(target) as found:
        assert "head.weight" in found


def test_another_metric_can_be_said_to_count(call, tmp_path):
    words = ("restore", SAMPLES / "cnn_adam.h5", "--at", "best", "-o", tmp_path / "w.npz")
    code, _, err = call(*words, "--metric", "val_accuracy:max")
    assert code == 0
    assert "has the highest val_accuracy but for noise: 0.985" in err
    assert "by its name" not in err


def test_what_the_run_does_not_hold_is_named(call, tmp_path):
    _, _, err = call("restore", SAMPLES / "cnn_adam.h5", "--at", "1500", "-o", tmp_path / "w.pt")
    assert "so not in the file: norm1.num_batches_tracked, norm2.num_batches_tracked." in err


def test_a_log_of_losses_says_which_is_best(call, tmp_path):
    log = tmp_path / "log.csv"
    rows = [f"{step},{abs(step - 300)}" for step in range(0, 2221, 37)]
    log.write_text("\n".join(["step,val_loss", *rows]))
    words = ("restore", SAMPLES / "mlp_sgd.h5", "--at", "best", "--metrics", log)
    code, _, err = call(*words, "-o", tmp_path / "w.h5")
    assert code == 0
    assert "Step 296 has the lowest val_loss" in err


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--at", "100", "-o", "w.pt"), "error: step 100 was not recorded"),
        (("--at", "soon", "-o", "w.pt"), "'soon' is neither a step nor best nor healthy"),
        (("--at", "0", "-o", "w.bin"), "end it in one of .safetensors, .npz, .h5, .pt"),
        (("--at", "0", "-o", "w.pt", "--include", "nothing"), "no tensor of"),
        (("--at", "best", "-o", "w.pt", "--metric", "speed:max"), "no value of the metric 'speed'"),
        (("--at", "0"), "Missing option '--output'"),
    ],
)
def test_a_refusal_is_one_sentence_and_leaves_nothing(call, tmp_path, monkeypatch, words, problem):
    monkeypatch.chdir(tmp_path)
    code, out, err = call("restore", SAMPLES / "mlp_sgd.h5", *words)
    assert (code, out) == (2, "")
    assert problem.lower() in err.lower()
    assert list(tmp_path.iterdir()) == []
