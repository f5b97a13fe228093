"""The Python of the README and of the page on analysis runs as it is printed."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

import koopscope

REPOSITORY = Path(__file__).parents[2]


def python_block(page: str, word: str) -> str:
    """Return the one Python block of a page that holds a word."""
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    (found,) = (block for block in blocks if word in block)
    return found


def test_the_recording_of_the_readme_gives_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    class Model:
        """Least squares by gradient descent, with the one method that the README calls."""

        weight = np.zeros(3)

        def state_dict(self) -> dict[str, np.ndarray]:
            return {"weight": self.weight}

    model, rng = Model(), np.random.default_rng(0)
    inputs = rng.standard_normal((401, 8, 3))

    def train(batch: np.ndarray) -> float:
        error = batch @ model.weight - batch @ [1.0, -2.0, 0.5]
        model.weight = model.weight - 0.01 * batch.T @ error / len(batch)
        return float(np.mean(error**2))

    exec(
        python_block("README.md", "koopscope.Recorder("),
        {
            "model": model,
            "batches": inputs,
            "train": train,
        },
    )
    with koopscope.open_run("run.h5") as run:
        assert run.description.steps.tolist() == [0, 100, 200, 300, 400]
        assert run.description.metadata["lr"] == 1e-3
        loss = run.description.metrics["loss"]
    assert loss[-1] < 0.01 * loss[0]


def test_the_questions_of_the_readme_are_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(REPOSITORY / "sample_runs" / "mlp_sgd.h5", "run.h5")
    space = {"koopscope": koopscope}
    exec(python_block("README.md", "koopscope.analyze("), space)
    assert space["diagnosis"].finding("convergence").status == "pass"
    assert len(space["diagnosis"].spectrum("network").eigenvalues) > 1
    prediction = space["prediction"]
    assert prediction.weights["head.weight"].shape == (10, 32)
    assert prediction.forecast.verdict


def test_the_modes_of_the_page_on_analysis_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(REPOSITORY / "sample_runs" / "mlp_sgd.h5", "run.h5")
    space: dict[str, object] = {}
    exec(python_block("docs/guide/analyze.md", "write_modes"), space)
    spectrum = space["analysis"].spectrum()
    with h5py.File("modes.h5") as file:
        assert file["head.weight"].shape == (10, 32, 2)
        assert np.iscomplexobj(file["head.weight"][()])
        written = [complex(*pair) for pair in json.loads(file.attrs["eigenvalues"])]
    assert written == list(spectrum.eigenvalues[:2])
