"""Masks keep exactly what was asked for, where it was asked for."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import koopscope
from koopscope import KoopscopeError
from koopscope.pruning.basis import PruningSettings, pruning_basis
from koopscope.pruning.masks import MaskRequest
from koopscope.pruning.prune import Pruner
from koopscope.runs.detect.opening import open_run
from tests.recorded import MLP, PRUNABLE, recorded, settling

SIZES = {name: int(np.prod(MLP[name])) for name in PRUNABLE}
TOTAL = sum(SIZES.values())


@pytest.fixture(scope="module")
def trajectories():
    weights = settling(MLP)
    weights["head.weight"] *= 1e-3  # the first to go
    return weights


@pytest.fixture(scope="module")
def network(tmp_path_factory, trajectories):
    return recorded(tmp_path_factory.mktemp("masks") / "run.h5", trajectories)


def pruned(network, sparsity, **options):
    return koopscope.prune(network, sparsity, criterion="magnitude", **options)


def counts(found):
    return {tensor.name: tensor.kept for tensor in found.pruning.tensors}


@pytest.mark.parametrize("sparsity", [0.1, 0.5, 0.9, 0.98])
def test_a_global_threshold_keeps_the_largest_weights_of_the_network(
    network, trajectories, sparsity
):
    found = pruned(network, sparsity, allow_empty_layer=True)
    flat = np.concatenate([np.abs(trajectories[name][-1]).ravel() for name in PRUNABLE])
    mask = np.concatenate([found.masks[name].ravel() for name in PRUNABLE])
    assert mask.sum() == TOTAL - round(sparsity * TOTAL)
    assert flat[mask].min() > flat[~mask].max()


def test_a_layer_is_never_pruned_to_nothing_unless_allowed(network):
    found = pruned(network, 0.9)
    assert counts(found)["head.weight"] == 1
    assert found.pruning.kept == TOTAL - round(0.9 * TOTAL)
    assert counts(pruned(network, 0.9, allow_empty_layer=True))["head.weight"] == 0


def test_min_keep_holds_in_every_tensor_and_the_share_stays_exact(network, trajectories):
    found = pruned(network, 0.9, min_keep=6)
    assert counts(found)["head.weight"] == 6
    assert found.pruning.kept == TOTAL - round(0.9 * TOTAL)
    head = np.abs(trajectories["head.weight"][-1])
    assert set(head[found.masks["head.weight"]]) == set(np.sort(head.ravel())[-6:])


def test_floors_larger_than_the_share_win_over_it(network):
    assert counts(pruned(network, 0.9, min_keep=25)) == dict.fromkeys(PRUNABLE, 25)


def test_by_layer_every_tensor_loses_the_same_share(network):
    found = pruned(network, 0.8, scope="layer")
    assert counts(found) == {name: size - round(0.8 * size) for name, size in SIZES.items()}


def test_a_mask_has_the_shape_of_its_tensor_and_true_means_keep(network):
    found = pruned(network, 0.3)
    assert list(found.masks) == list(PRUNABLE)
    for tensor in found.pruning.tensors:
        mask = found.masks[tensor.name]
        assert mask.shape == MLP[tensor.name]
        assert mask.dtype == bool
        assert mask.sum() == tensor.kept
        assert tensor.shared == tensor.kept  # magnitude agrees with itself
    assert found.pruning.overlap == 1.0


def test_the_overlap_is_counted_against_the_masks_of_magnitude(network):
    found = koopscope.prune(network, 0.5, criterion="random", seed=1)
    usual = pruned(network, 0.5)
    shared = sum((found.masks[name] & usual.masks[name]).sum() for name in PRUNABLE)
    assert found.pruning.overlap == shared / found.pruning.kept
    assert 0.3 < found.pruning.overlap < 0.7


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.floats(0.0, 1.0, exclude_min=True, exclude_max=True),
    st.sampled_from(["global", "layer"]),
    st.integers(0, 30),
    st.booleans(),
)
def test_every_request_is_met_to_the_weight(opened, sparsity, scope, min_keep, empty):
    request = MaskRequest(sparsity, scope=scope, min_keep=min_keep, allow_empty_layer=empty)
    found = opened.prune(request)
    floors = {name: request.floor(size) for name, size in SIZES.items()}
    assert all(tensor.kept >= floors[tensor.name] for tensor in found.tensors)
    if scope == "global":
        assert found.kept == max(request.keeps(TOTAL), sum(floors.values()))
    else:
        for tensor in found.tensors:
            assert tensor.kept == max(request.keeps(tensor.total), floors[tensor.name])


@pytest.fixture(scope="module")
def opened(network):
    with open_run(network) as run:
        asked = PruningSettings(criterion="forecast-magnitude")
        with Pruner(run, pruning_basis(run, asked), asked) as pruner:
            yield pruner


@pytest.mark.parametrize("sparsity", [0.0, 1.0, -0.5, 1.5, float("nan")])
def test_a_sparsity_outside_its_range_is_named(sparsity):
    with pytest.raises(KoopscopeError, match=f"a sparsity of {sparsity:g} is not between 0 and 1"):
        MaskRequest(sparsity)


def test_fewer_than_no_weights_cannot_be_kept():
    with pytest.raises(KoopscopeError, match="-1 weights"):
        MaskRequest(0.5, min_keep=-1)
