"""One vocabulary decides what a name in a file stands for, whatever kind of file it is."""

from pathlib import Path

import pytest

from koopscope.runs.checkpoints.contents import Contents
from koopscope.runs.checkpoints.torch.description import described
from koopscope.runs.checkpoints.torch.reading import Files
from koopscope.runs.checkpoints.torch.tensors import Storage, StoredTensor
from koopscope.runs.names import (
    COUNTERS,
    how_far,
    is_beside_weights,
    is_metric,
    is_training_state,
    words_of,
)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("RMSNorm_2.outWeight", ["rms", "norm", "out", "weight"]),
        ("model.layers.0.self_attn.q_proj", ["model", "layers", "self", "attn", "q", "proj"]),
        ("BN1", ["bn"]),
        ("42", []),
    ],
)
def test_names_are_cut_into_words(name, words):
    assert words_of(name) == words


@pytest.mark.parametrize(
    "name",
    ["optimizer", "grad_scaler", "lr_schedulers", "hyper_parameters", "rngState", "args", "opt"],
)
def test_parts_that_belong_to_training_are_known(name):
    assert is_training_state(name)


@pytest.mark.parametrize("name", ["upscaler", "hypernet", "semantic_decoder", "parameters", "net"])
def test_networks_are_not_taken_for_state_of_training(name):
    assert not is_training_state(name)


def test_tensors_beside_the_weights_are_told_from_those_of_layers():
    assert is_beside_weights("fixed_noise")
    assert is_beside_weights("latent_avg")
    assert not is_beside_weights("noise.weight")
    assert not is_beside_weights("encoder.lossless.bias")


def test_how_far_training_was_is_said_best_first_and_never_by_a_total():
    assert how_far(["epoch", "Global_Step", "epochs", "updates", "lr"]) == ["Global_Step", "epoch"]


@pytest.mark.parametrize("name", ["best_acc1", "best_val_loss", "best_fitness", "val_accuracy"])
def test_measures_of_the_best_are_metrics(name):
    assert is_metric(name)


@pytest.mark.parametrize("name", [name for name in COUNTERS if how_far([name])])
def test_files_of_arrays_and_of_pytorch_read_the_same_counters(name):
    contents = Contents("file")
    contents.add(name, (), "int64", lambda: 7.0)
    contents.add("fc.weight", (2, 2), "float32", None)
    tensor = StoredTensor(Storage("0", "float32", 4), "float32", 0, (2, 2), (2, 1))
    found = described(
        Path("file"), {name: 7, "model": {"fc.weight": tensor}}, lambda _: (), Files()
    )
    assert (contents.step, contents.unit) == (found.step, found.unit) == (7, COUNTERS[name])
