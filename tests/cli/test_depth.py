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


@pytest.mark.parametrize("size", ["two-column", "one-column"])
def test_a_picture_shows_the_scale_of_each_layer(capsys, signal, tmp_path, size):
    words = ("--plots", tmp_path / "plots", "--plot-format", "svg", "--figure-size", size)
    assert called(capsys, "depth", "--signal", signal, *words)[0] == 0
    drawn = (tmp_path / "plots" / "depth.svg").read_text()
    assert "Fourier transform: 2 layers" in drawn
    assert "y.npy asks for 2 layers" in drawn
    code, _, err = called(capsys, "depth", "--signal", signal, *words)
    assert code == 2
    assert "exists and is kept" in err


def test_a_signal_without_a_frequency_is_drawn_as_one(capsys, tmp_path):
    np.save(tmp_path / "flat.npy", np.ones(50))
    words = ("--signal", tmp_path / "flat.npy", "--plots", tmp_path, "--plot-format", "svg")
    assert called(capsys, "depth", *words)[0] == 0
    assert "no frequency above zero was found" in (tmp_path / "depth.svg").read_text()
