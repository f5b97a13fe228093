"""The Python of docs/guide/pruning.md, run as it stands, where its framework is installed."""

from __future__ import annotations

import os
import re
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import koopscope
from koopscope.pruning.basis import PruningSettings
from studies.pruning import summary
from tests.frameworks import framework

REPOSITORY = Path(__file__).parents[2]
PAGE = REPOSITORY / "docs" / "guide" / "pruning.md"
EVIDENCE = REPOSITORY / "docs" / "evidence" / "pruning.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def block(mark: str) -> str:
    """Return the one block of the page that holds a mark."""
    (found,) = (text for text in BLOCKS if mark in text)
    return found


def recorded(path: Path, names_and_values) -> None:
    """Record a run whose weights are those of a model, after a little motion."""
    rng = np.random.default_rng(0)
    with koopscope.Recorder(path) as recorder:
        for step in range(5):
            recorder.snapshot(
                step,
                {n: v + 0.5**step * rng.standard_normal(v.shape) for n, v in names_and_values},
            )


@pytest.fixture
def torch_model(tmp_path, monkeypatch):
    torch = framework("torch")
    framework("safetensors")
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    weights = [(n, p.detach().numpy().astype("float32")) for n, p in model.named_parameters()]
    recorded(Path("run.h5"), weights)
    found = koopscope.prune("run.h5", 0.75)
    found.save("masks.safetensors")
    return model, found.masks


def test_pytorch_for_good(torch_model):
    import torch

    model, masks = torch_model
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    exec(block("get_parameter"), {"model": model})
    for name, parameter in model.named_parameters():
        kept = torch.from_numpy(masks[name]) if name in masks else torch.ones_like(before[name])
        assert torch.equal(parameter, before[name] * kept)
        assert parameter.requires_grad


def test_pytorch_with_masks_that_hold_while_training(torch_model):
    import torch

    model, masks = torch_model
    exec(block("custom_from_mask"), {"model": model})
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(3):
        model(torch.randn(4, 6)).pow(2).sum().backward()
        optimizer.step()
    assert not model[0].weight.detach().numpy()[~masks["0.weight"]].any()
    assert np.count_nonzero(model[2].weight.detach().numpy()) == masks["2.weight"].sum()


def test_keras(tmp_path, monkeypatch):
    if "KERAS_BACKEND" not in os.environ:
        monkeypatch.setenv("KERAS_BACKEND", "jax" if find_spec("jax") else "torch")
    keras = framework("keras")
    monkeypatch.chdir(tmp_path)
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(8), keras.layers.Dense(3)])
    before = {w.path: keras.ops.convert_to_numpy(w).copy() for w in model.weights}
    recorded(Path("run.h5"), before.items())
    found = koopscope.prune("run.h5", 0.75)
    found.save("masks.npz")
    assert all(name.endswith("kernel") for name in found.masks)
    exec(block("model.weights"), {"model": model})
    for weight in model.weights:
        wanted = before[weight.path] * found.masks.get(weight.path, True)
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(weight), wanted)


def test_jax(tmp_path, monkeypatch):
    jax = framework("jax")
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(1)
    params = {
        "dense": {"kernel": rng.standard_normal((6, 8)), "bias": np.ones(8)},
        "head": {"kernel": rng.standard_normal((8, 3))},
    }
    flat = {"dense/kernel": params["dense"]["kernel"], "dense/bias": params["dense"]["bias"]}
    flat["head/kernel"] = params["head"]["kernel"]
    recorded(Path("run.h5"), flat.items())
    found = koopscope.prune("run.h5", 0.75)
    found.save("masks.npz")
    space = {"params": jax.tree_util.tree_map(jax.numpy.asarray, params)}
    exec(block("tree_map_with_path"), space)
    after = space["params"]
    for name, before in flat.items():
        layer, leaf = name.split("/")
        wanted = before.astype(after[layer][leaf].dtype) * found.masks.get(name, True)
        np.testing.assert_array_equal(after[layer][leaf], wanted)


def test_the_call_from_python(monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    space: dict[str, dict[str, np.ndarray]] = {}
    exec(block("koopscope.prune"), space)
    assert sum(mask.sum() for mask in space["masks"].values()) == 493


def test_the_tables_are_made_of_the_studys_rows():
    cells = summary.read()
    assert len(cells) == 3 * 5 * 8
    assert {len(networks) for networks in cells.values()} == {18}
    page = EVIDENCE.read_text(encoding="utf-8")
    records = summary.summarised(cells)
    for line in summary.tables(records).partition("**The same mask")[0].splitlines():
        assert line in page
    assert summary.overlaps(cells, "koopman-magnitude", "overlap_now") in page


def test_nothing_is_good_enough_to_take_the_place_of_magnitude():
    """The rule: never worse by more than one standard error, and better where masks are early."""
    records = summary.summarised(summary.read())
    for name in summary.ORDER[1:]:
        found = [r[measure] for r in records if r["criterion"] == name for measure in summary.RULE]
        assert any(cell["against_magnitude"] < -cell["standard_error"] for cell in found), name
    assert PruningSettings().criterion == "magnitude"
