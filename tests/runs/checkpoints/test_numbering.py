"""Steps are read from names where there is one reading, and never guessed."""

import pytest

from koopscope.errors import KoopscopeError
from koopscope.runs.checkpoints.numbering import (
    has_role_for_number,
    must_be_one_run,
    natural_key,
    steps_from_names,
)


@pytest.mark.parametrize(
    ("names", "steps", "unit"),
    [
        (["epoch_1.pt", "epoch_2.pt", "epoch_10.pt"], (1, 2, 10), "epoch"),
        (["epoch=0-step=120.ckpt", "epoch=1-step=240.ckpt"], (120, 240), "step"),
        (["run7/checkpoint-500", "run7/checkpoint-1000"], (500, 1000), "step"),
        (["model.05-0.32.weights.h5", "model.06-0.29.weights.h5"], (5, 6), "step"),
        (["resnet50_e3.safetensors", "resnet50_e4.safetensors"], (3, 4), "epoch"),
        (["resnet50_3.npz", "resnet50_4.npz"], (3, 4), "step"),
        (["out/epoch_3/model.pt", "out/epoch_4/model.pt"], (3, 4), "epoch"),
        (["global_step100.pt", "global_step200.pt"], (100, 200), "step"),
        (["weights.07.0.2718.pt", "weights.11.0.0196.pt"], (7, 11), "step"),
        (["epoch=3-val_loss=0.12.ckpt", "epoch=4-val_loss=0.11.ckpt"], (3, 4), "epoch"),
        (["epoch=3-val_loss=1.ckpt", "epoch=4-val_loss=0.ckpt"], (3, 4), "epoch"),
        (["lr1e-3_ep1.pt", "lr1e-3_ep2.pt"], (1, 2), "epoch"),
        (["lr=1e-3-7.pt", "lr=1e-4-8.pt"], (7, 8), "step"),
        (["step_20k.pt", "step_100k.pt", "step_1M.pt"], (20_000, 100_000, 1_000_000), "step"),
        (["model-20k.npz", "model-140k.npz"], (20_000, 140_000), "step"),
        (["step1e5.pt", "step2e5.pt"], (100_000, 200_000), "step"),
        (["epoch_1.0.pt", "epoch_2.0.pt"], (1, 2), "epoch"),
        (["10_epochs.pt", "20_epochs.pt"], (10, 20), "epoch"),
        (["model-v2-step=10-v1.ckpt", "model-v2-step=20.ckpt"], (10, 20), "step"),
        (["ckpt-2026-11-26-3.pt", "ckpt-2026-11-27-4.pt"], (3, 4), "step"),
        (["ckpt_db6e558_ep00003_loss0.4.pt", "ckpt_db6e558_ep00012_loss0.3.pt"], (3, 12), "epoch"),
        (["модель-3-эпоха.pt", "модель-4-эпоха.pt"], (3, 4), "step"),
        (["model-3-of-24.pt", "model-24-of-24.pt"], (3, 24), "step"),
        (["epoch=0-step=500.pt", "epoch=1-step=500.pt"], (0, 1), "epoch"),
    ],
)
def test_the_number_that_counts_is_found(names, steps, unit):
    assert steps_from_names(names) == (steps, unit)


#: How public training trajectories name their checkpoints: the branches or tags of their
#: repositories, as folders. Those of SmolLM3, FineWeb and BLOOM are quoted from their model cards.
PUBLIC = {
    "Pythia": (["step0", "step1", "step512", "step1000", "step143000"], (0, 1, 512, 1000, 143000)),
    "OLMo 1": (["step0-tokens0B", "step1000-tokens4B"], (0, 1000)),
    "OLMo 2": (["stage1-step150-tokens1B", "stage1-step1000-tokens3B"], (150, 1000)),
    "OLMo 2, second stage": (
        ["stage2-ingredient1-step1000-tokens5B", "stage2-ingredient1-step2000-tokens9B"],
        (1000, 2000),
    ),
    "Amber": (["ckpt_000", "ckpt_001", "ckpt_357"], (0, 1, 357)),
    "SmolLM3": (["stage1-step-40000", "stage1-step-3440000"], (40_000, 3_440_000)),
    "SmolLM3, long context": (
        ["lc-4k-to-32k-step-4000", "lc-4k-to-32k-step-20000"],
        (4_000, 20_000),
    ),
    "FineWeb ablations": (["step-001000-2BT", "step-167000-350BT"], (1000, 167_000)),
    "MultiBERTs": (
        ["multiberts-seed_0-step_0k", "multiberts-seed_0-step_20k", "multiberts-seed_0-step_2000k"],
        (0, 20_000, 2_000_000),
    ),
    "BLOOM": (["global_step1000", "global_step600000"], (1000, 600_000)),
    "model zoo": (["checkpoint_000000", "checkpoint_000050"], (0, 50)),
}


@pytest.mark.parametrize("family", PUBLIC)
@pytest.mark.parametrize("path", ["{}", "models/{}/model.safetensors", "{}/checkpoints"])
def test_the_folders_of_public_trajectories_are_numbered(family, path):
    names, steps = PUBLIC[family]
    found = [path.format(name) for name in names]
    assert steps_from_names(found) == (steps, "step")
    must_be_one_run(found)


@pytest.mark.parametrize(
    ("names", "listed"),
    [
        (
            ["stage1-step1000-tokens3B", "stage1-step2000-tokens5B", "stage2-step1000-tokens2B"],
            r"stage1 \(2\), stage2 \(1\)",
        ),
        (
            ["stage2-ingredient1-step1", "stage2-ingredient2-step1"],
            r"stage2-ingredient1 \(1\), stage2-ingredient2 \(1\)",
        ),
        (["seed_0-step_20k", "seed_1-step_20k"], r"seed0 \(1\), seed1 \(1\)"),
        (["main/model.npz", "stage1-step5/model.npz"], r"the others \(1\), stage1 \(1\)"),
    ],
)
def test_stages_and_seeds_are_kept_apart(names, listed):
    with pytest.raises(KoopscopeError, match=listed) as caught:
        must_be_one_run(names)
    assert "name the checkpoints of one" in caught.value.hint


def test_two_numbers_that_change_are_ambiguous():
    with pytest.raises(KoopscopeError, match="ambiguous: its name holds 3, 10") as caught:
        steps_from_names(["a3_b10.pt", "a4_b20.pt"])
    assert "--step-pattern" in caught.value.hint


def test_a_pattern_settles_it():
    names = ["a3_b10.pt", "a4_b20.pt"]
    assert steps_from_names(names, r"b(\d+)") == ((10, 20), "step")


@pytest.mark.parametrize("pattern", ["(", r"x(\d+)", r"a\d"])
def test_a_pattern_that_finds_nothing_is_an_error(pattern):
    with pytest.raises(KoopscopeError):
        steps_from_names(["a3_b10.pt"], pattern)


@pytest.mark.parametrize(
    "name", ["best", "0.100", "ckpt-v1", "model-1e-3", "loss_12", "8f3a1bc29d", "10B", "seed3"]
)
def test_a_name_without_a_number_that_counts_is_an_error_that_names_it(name):
    with pytest.raises(KoopscopeError, match=rf"{name}\.pt is not known"):
        steps_from_names(["epoch_1.pt", f"{name}.pt"])


@pytest.mark.parametrize("names", [["0.100.pt", "0.200.pt"], ["m-v1.pt", "m-v2.pt"]])
def test_measurements_and_versions_alone_are_no_steps(names):
    with pytest.raises(KoopscopeError, match="no number that counts steps"):
        steps_from_names(names)


def test_last_and_best_stand_in_place_of_a_number():
    assert has_role_for_number("a/last.ckpt")
    assert has_role_for_number("model_best.pth")
    assert has_role_for_number("best-v1.ckpt")
    assert not has_role_for_number("best-epoch=3.ckpt")
    assert not has_role_for_number("lasting.pt")


def test_natural_order_counts():
    names = ["dense_10", "dense", "dense_2", "dense_1"]
    assert sorted(names, key=natural_key) == ["dense", "dense_1", "dense_2", "dense_10"]
