"""Whole units go with their biases, and with what reads them where that is certain."""

import numpy as np
import pytest

import koopscope
from koopscope import KoopscopeError
from koopscope.pruning.units import unit_plan
from koopscope.runs.run import TensorInfo
from tests.recorded import MLP, recorded, settling


def plan(shapes, asked=False):
    parameters = [TensorInfo(name, shape, "float32") for name, shape in shapes.items()]
    return unit_plan(parameters, [p for p in parameters if len(p.shape) >= 2], asked)


def found(shapes):
    """Return {tensor: (unit axis, bias, reader, its axis)}."""
    return {
        layer.tensor.name: (
            layer.axis,
            layer.bias and layer.bias.name,
            layer.reader and layer.reader.name,
            layer.reader_axis,
        )
        for layer in plan(shapes).layers
    }


def test_in_torch_names_units_are_rows_and_the_next_layer_reads_them_as_columns():
    assert found(
        {
            "0.weight": (12, 9),
            "0.bias": (12,),
            "2.weight": (7, 12),
            "2.bias": (7,),
            "4.weight": (4, 7),
        }
    ) == {"0.weight": (0, "0.bias", "2.weight", 1), "2.weight": (0, "2.bias", "4.weight", 1)}


@pytest.mark.parametrize("kernel", ["kernel", "kernel:0"])
def test_in_keras_and_flax_names_units_are_the_last_axis(kernel):
    bias = kernel.replace("kernel", "bias")
    assert found(
        {
            f"conv/{kernel}": (3, 3, 1, 6),
            f"conv/{bias}": (6,),
            f"conv_1/{kernel}": (5, 5, 6, 11),
            f"conv_1/{bias}": (11,),
            f"dense/{kernel}": (11, 10),
        }
    ) == {
        f"conv/{kernel}": (3, f"conv/{bias}", f"conv_1/{kernel}", 2),
        f"conv_1/{kernel}": (3, f"conv_1/{bias}", f"dense/{kernel}", 0),
    }


def test_in_keras_3_files_variables_are_numbers():
    assert found(
        {"dense/0": (9, 12), "dense/1": (12,), "dense_1/0": (12, 4), "dense_1/1": (4,)}
    ) == {"dense/0": (1, "dense/1", "dense_1/0", 0)}


def test_the_bias_tells_the_axis_where_the_name_misleads():
    assert found({"c_fc.weight": (9, 12), "c_fc.bias": (12,), "c_proj.weight": (12, 9)})[
        "c_fc.weight"
    ] == (1, "c_fc.bias", None, 0)  # c_proj without a bias is taken for (out, in)


def test_convolutions_are_read_through_their_input_channels():
    shapes = {"c1.weight": (6, 1, 3, 3), "c2.weight": (8, 6, 5, 5), "head.weight": (10, 32)}
    assert found(shapes) == {
        "c1.weight": (0, None, "c2.weight", 1),
        "c2.weight": (0, None, None, 0),  # flattened: 32 inputs for 8 channels
    }


def test_what_a_skip_connection_could_add_to_is_not_certain():
    shapes = {"l.0.weight": (8, 9), "l.1.weight": (8, 8), "l.2.weight": (4, 8)}
    assert found(shapes) == {"l.0.weight": (0, None, None, 0), "l.1.weight": (0, None, None, 0)}
    assert any("l.0.weight, l.1.weight" in note for note in plan(shapes).notes)


def test_a_norm_between_two_layers_leaves_its_units_uncertain():
    shapes = {"0.weight": (8, 9), "1.weight": (8,), "1.bias": (8,), "3.weight": (4, 8)}
    assert found(shapes)["0.weight"] == (0, None, None, 0)


def test_repeated_blocks_do_not_hide_which_layer_reads_which():
    shapes = {}
    for block in range(2):
        shapes |= {f"h.{block}.up.weight": (32, 16), f"h.{block}.up.bias": (32,)}
        shapes |= {f"h.{block}.down.weight": (16, 32), f"h.{block}.down.bias": (16,)}
    shapes |= {"head.weight": (10, 16)}
    layers = found(shapes)
    assert layers["h.0.up.weight"] == (0, "h.0.up.bias", "h.0.down.weight", 1)
    assert layers["h.1.up.weight"] == (0, "h.1.up.bias", "h.1.down.weight", 1)
    assert layers["h.0.down.weight"][2] is None  # added to the stream that every block reads


def test_outputs_stay_unless_asked_for():
    shapes = {"0.weight": (12, 9), "2.weight": (4, 12)}
    assert [layer.tensor.name for layer in plan(shapes).layers] == ["0.weight"]
    assert "outputs" in plan(shapes).notes[0]
    assert len(plan(shapes, asked=True).layers) == 2
    with pytest.raises(KoopscopeError, match="no layer is left"):
        plan({"head.weight": (4, 12)})


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    weights = settling({name: MLP[name] for name in MLP if name != "norm.weight"})
    return recorded(tmp_path_factory.mktemp("units") / "run.h5", weights), weights


def test_units_go_whole_with_bias_and_columns(network):
    path, _ = network
    masks = koopscope.prune(path, 0.6, structure="unit").masks
    first, second = masks["hidden.0.weight"], masks["hidden.1.weight"]
    units = first.any(axis=1)
    np.testing.assert_array_equal(first, np.repeat(units[:, None], 9, axis=1))
    np.testing.assert_array_equal(masks["hidden.0.bias"], units)
    np.testing.assert_array_equal(second.any(axis=0), units)
    after = second.any(axis=1)
    np.testing.assert_array_equal(second, np.outer(after, units))
    np.testing.assert_array_equal(masks["head.weight"], np.tile(after, (4, 1)))
    assert "head.bias" not in masks
    assert 0 < units.sum() < 12


@pytest.mark.parametrize("sparsity", [0.2, 0.5, 0.7])
def test_the_share_counts_all_that_goes_and_one_unit_more_would_be_too_many(network, sparsity):
    path, weights = network
    found = koopscope.prune(path, sparsity, structure="unit", criterion="magnitude")
    total = found.pruning.total
    assert found.pruning.kept == sum(mask.sum() for mask in found.masks.values())
    assert found.pruning.kept <= total - round(sparsity * total)
    scores = [np.abs(weights[f"hidden.{k}.weight"][-1]).mean(axis=1) for k in (0, 1)]
    order = np.argsort(-np.concatenate(scores))
    best = [order < 12, order >= 12]  # which layer each unit is of, best first
    sizes = []
    for count in range(2, 20):
        first, second = (of[:count].sum() for of in best)
        sizes.append(first * (9 + 1) + second * (first + 1) + 4 * second)
    assert found.pruning.kept == max(s for s in sizes if s <= total - round(sparsity * total))


def test_every_layer_keeps_units_even_at_the_highest_sparsity(network):
    path, _ = network
    masks = koopscope.prune(path, 0.99, structure="unit").masks
    assert masks["hidden.0.weight"].any(axis=1).sum() == 1
    assert masks["hidden.1.weight"].any(axis=1).sum() == 1
    three = koopscope.prune(path, 0.99, structure="unit", min_keep=3).masks
    assert three["hidden.0.weight"].any(axis=1).sum() == 3
    nothing = koopscope.prune(path, 0.99, structure="unit", allow_empty_layer=True).masks
    assert not nothing["hidden.0.weight"].any()


def test_by_layer_each_loses_the_same_share_of_its_units(network):
    path, _ = network
    masks = koopscope.prune(path, 0.5, structure="unit", scope="layer").masks
    assert masks["hidden.0.weight"].any(axis=1).sum() == 6
    assert masks["hidden.1.weight"].any(axis=1).sum() == 7 - round(3.5)


def test_what_is_excluded_is_not_touched_by_its_neighbour(network):
    path, _ = network
    found = koopscope.prune(path, 0.5, structure="unit", exclude=["hidden.1.weight"])
    assert "hidden.1.weight" not in found.masks
    assert any("rows only" in note for note in found.pruning.notes)
