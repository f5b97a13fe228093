"""What a mask takes of the squared norm, and the warning where that is too much to work with."""

import numpy as np
import pytest

import koopscope
from koopscope.report.pruning import MUCH, layers_of, warning_of
from tests.recorded import MLP, recorded, settling


@pytest.fixture
def network(tmp_path):
    return recorded(tmp_path / "run.h5", settling(MLP))


@pytest.mark.parametrize("structure", ["weight", "unit"])
def test_the_share_is_that_of_the_last_weights(network, structure):
    found = koopscope.prune(network, 0.5, structure=structure)
    last = {name: values[-1].astype(float) for name, values in settling(MLP).items()}
    for row in found.pruning.tensors:
        weights, mask = last[row.name], found.masks[row.name]
        if weights.ndim >= 2:  # a unit's own bias is not scored
            assert row.squares == pytest.approx((weights**2).sum(), rel=1e-6)
            assert row.squares_kept == pytest.approx((weights[mask] ** 2).sum(), rel=1e-6)


def test_a_mask_that_takes_much_of_a_layer_is_warned_about(network):
    much, little = (koopscope.prune(network, sparsity).pruning for sparsity in (0.95, 0.1))
    worst = max(layers_of(much), key=lambda layer: layer.removed)
    assert worst.removed >= MUCH
    said = warning_of(much)
    assert said is not None
    assert said.startswith(f"{worst.name} loses {worst.removed:.0%} of its squared norm")
    assert "train on with the mask held, or choose a lower sparsity" in said
    assert max(layer.removed for layer in layers_of(little)) < MUCH
    assert warning_of(little) is None


def test_weights_that_are_all_zero_lose_nothing(tmp_path):
    still = {"a.weight": np.zeros((5, 4, 3)), "b.weight": np.ones((5, 2, 3))}
    found = koopscope.prune(recorded(tmp_path / "run.h5", still), 0.5).pruning
    assert layers_of(found)[0].removed == 0.0
