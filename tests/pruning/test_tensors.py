"""What may be pruned, and what is one tensor under several names."""

import numpy as np
import pytest

from koopscope import KoopscopeError
from koopscope.analysis.analysis import Analysis
from koopscope.pruning.tensors import chosen_tensors
from koopscope.runs.detect.opening import open_run
from koopscope.runs.native.recorder import Recorder
from tests.recorded import MLP, PRUNABLE, recorded, settling


def prunable(path, **globs):
    with open_run(path) as run:
        return [p.names for p in chosen_tensors(Analysis.of(run), **globs)[0]]


def kept(path):
    with open_run(path) as run:
        return {k.tensor.name: k.reason for k in chosen_tensors(Analysis.of(run))[1]}


@pytest.fixture
def network(tmp_path):
    return recorded(tmp_path / "run.h5", settling(MLP))


def test_matrices_may_go_while_biases_and_norms_stay(network):
    assert prunable(network) == [(name,) for name in PRUNABLE]


def test_globs_choose_among_all_parameters(network):
    assert prunable(network, include=("*.bias",)) == [
        ("hidden.0.bias",),
        ("hidden.1.bias",),
        ("head.bias",),
    ]
    assert prunable(network, include=("h*",), exclude=("*.bias", "head*")) == [
        ("hidden.0.weight",),
        ("hidden.1.weight",),
    ]


def test_globs_that_leave_nothing_are_named(network):
    with pytest.raises(KoopscopeError, match="no tensor left to prune by --include conv"):
        prunable(network, include=("conv*",))


@pytest.mark.parametrize(
    "name",
    [
        "model.embed_tokens.weight",
        "wte.weight",
        "transformer.wte.weight",
        "transformer.wpe.weight",
        "tok_emb.weight",
        "params/TokenEmbed_0/embedding",
        "pos_embed.weight",
        "layer.norm1.weight",
        "features.bn2.weight",
        "decoder.LayerNorm.weight",
        "model.token",
    ],
)
def test_embeddings_and_norms_stay_unless_asked_for(tmp_path, name):
    path = recorded(tmp_path / "run.h5", settling({name: (8, 4), "up.weight": (9, 4)}))
    assert prunable(path) == [("up.weight",)]
    assert prunable(path, include=("*",)) == [(name,), ("up.weight",)]


@pytest.mark.parametrize(
    "name",
    ["token_mixer.fc1.weight", "normalizer_head.weight", "posterior.weight"],
)
def test_a_word_that_only_looks_like_an_embedding_is_none(tmp_path, name):
    path = recorded(tmp_path / "run.h5", settling({"up.weight": (9, 4), name: (8, 4)}))
    assert prunable(path) == [("up.weight",), (name,)]


def test_an_embedding_is_told_by_its_rows_where_its_name_does_not_say_it(tmp_path):
    shapes = {"encoder.weight": (20, 4), "rnn.weight": (4, 4), "decoder.weight": (20, 4)}
    path = recorded(tmp_path / "run.h5", settling(shapes | {"decoder.bias": (20,)}))
    assert prunable(path) == [("rnn.weight",), ("decoder.weight",)]
    assert "one for each output" in kept(path)["encoder.weight"]
    assert kept(path)["decoder.bias"] == "a bias or a scale"


def test_an_embedding_is_told_by_being_tied_to_the_outputs(tmp_path):
    weights = settling({"first.weight": (20, 4), "rnn.weight": (4, 4)})
    weights["last.weight"] = weights["first.weight"]
    path = recorded(tmp_path / "run.h5", weights)
    assert prunable(path) == [("rnn.weight",)]
    assert kept(path) == {"first.weight": "an embedding tied to the outputs"}


def test_the_layers_of_an_autoencoder_are_no_embeddings(tmp_path):
    shapes = {"enc.weight": (4, 20), "enc.bias": (4,), "dec.weight": (20, 4), "dec.bias": (20,)}
    path = recorded(tmp_path / "run.h5", settling(shapes))
    assert prunable(path) == [("enc.weight",), ("dec.weight",)]


def test_buffers_stay_even_when_asked_for(tmp_path):
    path = recorded(
        tmp_path / "run.h5", settling({"up.weight": (9, 4), "norm.running_var": (4, 4)})
    )
    assert prunable(path, include=("*",)) == [("up.weight",)]


def test_a_tensor_recorded_twice_is_one_with_two_names(tmp_path):
    weights = settling({"decoder.weight": (6, 5), "other.weight": (6, 5)})
    weights["encoder.weight"] = weights["decoder.weight"]
    path = recorded(tmp_path / "run.h5", weights)
    assert prunable(path) == [("decoder.weight", "encoder.weight"), ("other.weight",)]


def test_a_head_tied_to_an_embedding_stays_with_it_unless_asked_for(tmp_path):
    weights = settling({"wte.weight": (6, 5), "up.weight": (7, 5)})
    weights["lm_head.weight"] = weights["wte.weight"]
    path = recorded(tmp_path / "run.h5", weights)
    assert prunable(path) == [("up.weight",)]
    assert prunable(path, include=("lm_head*",)) == [("wte.weight", "lm_head.weight")]


def test_weights_that_were_never_finite_are_left_out(tmp_path):
    with Recorder(tmp_path / "run.h5") as recorder:
        for step in range(4):
            recorder.snapshot(
                step, {"a": np.full((2, 3), np.nan), "b": np.full((2, 3), 1.0 + step)}
            )
    assert prunable(tmp_path / "run.h5") == [("b",)]
