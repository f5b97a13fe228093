"""Steps are read from names where there is one reading, and never guessed."""

import pytest

from koopscope.errors import KoopscopeError
from koopscope.runs.checkpoints.numbering import natural_key, steps_from_names


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
    ],
)
def test_the_number_that_counts_is_found(names, steps, unit):
    assert steps_from_names(names) == (steps, unit)


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


def test_a_name_without_a_number_is_an_error_that_names_it():
    with pytest.raises(KoopscopeError, match=r"best\.pt is not known"):
        steps_from_names(["epoch_1.pt", "best.pt"])


def test_natural_order_counts():
    names = ["dense_10", "dense", "dense_2", "dense_1"]
    assert sorted(names, key=natural_key) == ["dense", "dense_1", "dense_2", "dense_10"]
