"""Checkpoints and logs as the libraries write them that do so, where these are installed."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

import koopscope
from koopscope.runs.checkpoints.metrics_log import metrics_from
from tests.frameworks import framework


def by_step(folder: Path) -> dict[int, dict[str, np.ndarray]]:
    """Return every tensor of every snapshot, flattened."""
    with koopscope.open_run(folder) as run:
        made: dict[int, dict[str, np.ndarray]] = {int(s): {} for s in run.description.steps}
        for block in run.blocks(block_bytes=2**24):
            for step, row in zip(made, block.values, strict=True):
                made[step][block.tensor.name] = row.copy()
    return made


def test_policies_of_stable_baselines3(tmp_path):
    library, gymnasium = framework("stable_baselines3"), framework("gymnasium")
    made = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = library.PPO(
            "MlpPolicy", gymnasium.make("CartPole-v1"), n_steps=64, batch_size=64, device="cpu"
        )
        for step in (64, 128, 192):
            model.learn(64, reset_num_timesteps=False)
            model.save(tmp_path / f"ppo_{step}")
            state = model.policy.state_dict()
            made[step] = {name: value.numpy().reshape(-1).copy() for name, value in state.items()}
    found = by_step(tmp_path)
    assert list(found) == [64, 128, 192]
    for step, weights in found.items():
        assert all(np.array_equal(made[step][name], weights[name]) for name in weights)
        assert set(weights) == set(made[step])


def test_networks_of_diffusers(tmp_path):
    torch, library = framework("torch"), framework("diffusers")
    torch.manual_seed(0)
    network = library.UNet2DModel(
        sample_size=8, in_channels=1, out_channels=1, layers_per_block=1, norm_num_groups=2,
        block_out_channels=(4, 8), down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    made = {}
    for step in (100, 200, 300):
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.mul_(0.9)
        network.save_pretrained(tmp_path / f"checkpoint-{step}" / "unet")
        state = network.state_dict()
        made[step] = {name: value.numpy().reshape(-1).copy() for name, value in state.items()}
    found = by_step(tmp_path)
    assert list(found) == [100, 200, 300]
    for step, weights in found.items():
        assert set(weights) == set(made[step])
        assert all(np.array_equal(made[step][name], weights[name]) for name in weights)


@pytest.mark.parametrize("place", ["run", "metrics"])
def test_metrics_of_mlflow(tmp_path, monkeypatch, place):
    mlflow = framework("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "1")
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri((tmp_path / "mlruns").as_uri())
    with mlflow.start_run() as run:
        for step in range(0, 50, 5):
            mlflow.log_metrics({"loss": 0.9**step, "val/acc": step / 50}, step=step)
    (folder,) = (tmp_path / "mlruns").glob(f"*/{run.info.run_id}")
    logged = metrics_from(folder if place == "run" else folder / "metrics", [10, 20, 45], "step")
    assert logged.columns["loss"].tolist() == [0.9**step for step in (10, 20, 45)]
    assert logged.columns["val_acc"].tolist() == [step / 50 for step in (10, 20, 45)]
