"""Masks on disk are the masks in memory, under every name, with where they came from."""

import json

import h5py
import numpy as np
import pytest

import koopscope
from koopscope import KoopscopeError
from koopscope.pruning.basis import PruningSettings, pruning_basis
from koopscope.pruning.masks import MaskRequest
from koopscope.pruning.prune import Pruner
from koopscope.runs.detect.opening import open_run
from tests.frameworks import framework
from tests.recorded import MLP, PRUNABLE, recorded, settling

REQUEST = MaskRequest(0.75)
METADATA = {
    "run": "run.h5",
    "step": "11",
    "criterion": "forecast-magnitude",
    "sparsity": "0.75",
    "scope": "global",
    "structure": "weight",
    "koopscope": koopscope.__version__,
}


@pytest.fixture
def network(tmp_path):
    weights = settling(MLP)
    weights["decoder.weight"] = weights["head.weight"]
    return recorded(tmp_path / "run.h5", weights)


def read_back(path):
    if path.suffix == ".h5":
        with h5py.File(path) as file:
            arrays = {name: file[name][()] for name in (*PRUNABLE, "decoder.weight")}
            return arrays, dict(file.attrs)
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as file:
            metadata = json.loads(str(file["__metadata__"]))
            return {n: file[n] for n in file.files if n != "__metadata__"}, metadata
    library = framework("safetensors")
    with library.safe_open(path, "numpy") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


@pytest.mark.parametrize("suffix", [".h5", ".npz", ".safetensors"])
def test_written_masks_read_back_as_they_were(tmp_path, network, suffix):
    if suffix == ".safetensors":
        framework("safetensors")
    out = tmp_path / f"masks{suffix}"
    settings = PruningSettings(criterion="forecast-magnitude")
    with open_run(network) as run, Pruner(run, pruning_basis(run, settings), settings) as pruner:
        pruner.write(out, REQUEST)
    found, metadata = read_back(out)
    expected = koopscope.prune(network, 0.75, criterion="forecast-magnitude")
    assert found.keys() == expected.masks.keys()
    for name, mask in expected.masks.items():
        assert found[name].dtype == bool
        np.testing.assert_array_equal(found[name], mask)
    assert metadata == METADATA == expected.metadata
    np.testing.assert_array_equal(found["head.weight"], found["decoder.weight"])
    expected.save(tmp_path / f"again{suffix}")
    again, metadata = read_back(tmp_path / f"again{suffix}")
    np.testing.assert_array_equal(again["hidden.0.weight"], found["hidden.0.weight"])
    assert metadata == METADATA


def test_a_sample_is_spread_over_all_prunable_weights(network):
    settings = PruningSettings(criterion="magnitude")
    with open_run(network) as run, Pruner(run, pruning_basis(run, settings), settings) as pruner:
        everything = pruner.sample(REQUEST, 10**6)
        some = pruner.sample(REQUEST, 60)
        pruning = pruner.prune(REQUEST)
    assert len(everything.scores) == pruning.total
    assert everything.kept.sum() == pruning.kept
    assert everything.scores[everything.kept].min() > everything.scores[~everything.kept].max()
    np.testing.assert_array_equal(everything.scores, everything.magnitudes)
    assert set(some.scores) <= set(everything.scores)
    assert 60 <= len(some.scores) < 80


def test_an_early_judgement_finds_the_final_ranking_that_magnitude_does_not(tmp_path):
    rng = np.random.default_rng(0)
    limit, slow = rng.standard_normal((2, 60, 50))
    weights = limit + np.multiply.outer(0.97 ** np.arange(80), 2.0 * slow)
    path = recorded(tmp_path / "run.h5", {"w": weights})
    final = np.abs(limit) >= np.sort(np.abs(limit).ravel())[-375]
    shares = {
        name: (koopscope.prune(path, 0.875, criterion=name, at=12).masks["w"] & final).sum() / 375
        for name in ("koopman-magnitude", "forecast-magnitude", "magnitude")
    }
    assert shares["koopman-magnitude"] == shares["forecast-magnitude"] == 1.0
    assert shares["magnitude"] < 0.8


def test_an_unknown_option_is_answered_with_the_known_ones(network):
    with pytest.raises(KoopscopeError, match="no option 'sparsness' of prune") as error:
        koopscope.prune(network, 0.5, sparsness=1)
    assert "criterion" in error.value.hint
    assert "min_keep" in error.value.hint
