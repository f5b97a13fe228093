"""``koopscope depth`` as users call it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.calling import called


@pytest.fixture
def signal(tmp_path):
    x = np.linspace(0.0, 1.0, 200, endpoint=False)
    file = tmp_path / "y.npy"
    np.save(file, np.stack([x, np.sin(2 * np.pi * 2 * x) + np.sin(2 * np.pi * 40 * x)], axis=1))
    return str(file)


def test_two_separate_frequencies_need_two_layers(capsys, signal):
    code, out, _ = called(capsys, "depth", "--signal", signal, "--format", "json")
    assert code == 0
    found = json.loads(out)
    assert [entry["layers"] for entry in found["depth"]] == [2, 2]
    assert found["depth"][0]["scales"] == pytest.approx([1 / 12, 1 / 240])


def test_the_table_names_method_and_layers(capsys, signal):
    code, out, _ = called(capsys, "depth", "--signal", signal, "--method", "fft")
    assert code == 0
    assert "Fourier transform" in out
    assert "Hankel" not in out


def test_a_missing_file_is_one_sentence_and_a_hint(capsys, tmp_path):
    code, out, err = called(capsys, "depth", "--signal", str(tmp_path / "no.csv"))
    assert code == 2
    assert not out
    assert err.startswith("error: there is no file")
    assert "hint:" in err
