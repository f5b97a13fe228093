"""The Python of the page on logging runs as it is printed."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import koopscope
from tests.frameworks import framework

REPOSITORY = Path(__file__).parents[2]


def blocks() -> list[str]:
    text = (REPOSITORY / "docs/guide/logging.md").read_text("utf-8")
    return re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def block(word: str) -> str:
    (found,) = (each for each in blocks() if word in each)
    return found


def test_the_log_of_tensorboard_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    framework("torch")
    framework("tensorboard")
    monkeypatch.chdir(tmp_path)
    shutil.copy(REPOSITORY / "sample_runs" / "mlp_sgd.h5", "run.h5")
    exec(block('"logs/run"'), {})
    assert list((tmp_path / "logs" / "run").glob("events.out.tfevents.*"))


@pytest.mark.parametrize("tracker", ["wandb", "mlflow", "trackio"])
def test_every_other_call_asks_for_a_run(tracker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    framework(tracker)
    if tracker == "trackio":
        import trackio

        monkeypatch.setattr(trackio.context_vars, "current_run", NoRun())
    diagnosis = koopscope.analyze(REPOSITORY / "sample_runs" / "mlp_sgd.h5")
    with pytest.raises(koopscope.KoopscopeError, match=r"no .* run is active"):
        exec(block(f"log_to_{tracker}(diagnosis)"), {"diagnosis": diagnosis})


class NoRun:
    """A context in which no run was begun, whatever tests before this one did."""

    def get(self) -> None:
        return None


def test_findings_are_logged_while_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    framework("torch")
    framework("tensorboard")
    from torch.utils.tensorboard import SummaryWriter

    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    model = {"w": rng.standard_normal(20).astype(np.float32)}

    def train_one_epoch() -> float:
        model["w"] = 0.9 * model["w"] + 0.01 * rng.standard_normal(20).astype(np.float32)
        return float((model["w"] ** 2).mean())

    with SummaryWriter("logs") as writer:
        space: dict[str, Any] = {
            "koopscope": koopscope,
            "model": model,
            "train_one_epoch": train_one_epoch,
            "writer": writer,
            "epochs": 40,
            "steps_per_epoch": 5,
        }
        exec(block("koopscope.Tracker("), space)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator("logs")
    events.Reload()
    points = events.Scalars("koopscope/status/finiteness")
    assert [point.step for point in points] == [20, 40]
