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


@pytest.mark.parametrize(("suffix", "dtype"), [("safetensors", "bfloat16"), ("npz", "float32")])
def test_weights_of_mlx(tmp_path, suffix, dtype):
    mx, nn = framework("mlx.core"), framework("mlx.nn")
    network = nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 2))
    for step in (10, 20):
        network.apply(lambda values: (0.9 * values).astype(getattr(mx, dtype)))
        network.save_weights(str(tmp_path / f"weights_{step}.{suffix}"))
    found = by_step(tmp_path)
    assert list(found) == [10, 20]
    last = {
        "layers.0.weight": network.layers[0].weight,
        "layers.0.bias": network.layers[0].bias,
        "layers.1.weight": network.layers[1].weight,
        "layers.1.bias": network.layers[1].bias,
    }
    assert set(found[20]) == set(last)
    for name, values in last.items():
        expected = np.array(values.astype(mx.float32)).reshape(-1)
        assert np.array_equal(found[20][name], expected)


def test_a_trial_of_ray_tune(tmp_path):
    ray, tune = framework("ray"), framework("ray.tune")
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
    kept = tmp_path / "kept"

    def train(_):
        for number in range(1, 6):
            folder = tmp_path / f"made_{number}"
            folder.mkdir()
            np.savez(folder / "model.npz", w=np.full((4, 4), 0.9**number))
            tune.report({"loss": 0.5**number}, checkpoint=tune.Checkpoint.from_directory(folder))

    try:
        settings = tune.RunConfig(storage_path=str(kept), name="trials", verbose=0)
        (trial,) = tune.Tuner(train, run_config=settings).fit()
    finally:
        ray.shutdown()
    with koopscope.open_run(trial.path) as run:
        assert run.description.steps.tolist() == [1, 2, 3, 4, 5]
        assert run.description.metrics["loss"].tolist() == [0.5**k for k in range(1, 6)]
    assert by_step(trial.path)[3]["w"].tolist() == [0.9**3] * 16
