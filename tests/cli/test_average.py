"""``koopscope average`` as users call it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

SAMPLES = Path(__file__).parents[2] / "sample_runs"


def test_the_average_is_written_and_told(call, tmp_path):
    target = tmp_path / "mean.npz"
    code, out, err = call("average", SAMPLES / "cnn_adam.h5", "--last", "5", "-o", target)
    assert (code, out) == (0, "")
    assert "Averaging the last" in err
    assert "Running statistics were averaged too: norm1.running_mean" in err
    assert "Wrote the average of 5 snapshots, steps " in err
    with np.load(target) as found:
        assert "norm1.running_mean" in found


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--last", "3", "--auto", "-o", "a.npz"), "both say how many"),
        (("--last", "1", "-o", "a.npz"), "1 is not in the range"),
        (("--last", "3"), "Missing option '--output'"),
        (("--last", "3", "-o", "a.bin"), "does not say how to write arrays"),
        (("--last", "3000", "-o", "a.npz"), "has 61 snapshots to average"),
    ],
)
def test_a_refusal_is_one_sentence_and_leaves_nothing(call, tmp_path, monkeypatch, words, problem):
    monkeypatch.chdir(tmp_path)
    code, out, err = call("average", SAMPLES / "mlp_sgd.h5", *words)
    assert (code, out) == (2, "")
    assert problem.lower() in err.lower()
    assert list(tmp_path.iterdir()) == []
