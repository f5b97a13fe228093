"""Hidden units in another order or at another scale are no difference, where that can be seen."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import koopscope
from koopscope.comparison import chains as known_chains
from koopscope.comparison.chains import chains
from koopscope.runs.detect.opening import open_run
from koopscope.runs.run import TensorInfo
from koopscope.runs.views.realigned import AxisOrder, Realigned
from tests.calling import called
from tests.comparison.systems import trained
from tests.frameworks import framework
from tests.recorded import recorded

Weights = Mapping[str, np.ndarray]


def listed(shapes: Mapping[str, tuple[int, ...]]) -> list[TensorInfo]:
    kinds = {name: "buffer" if "running" in name else "parameter" for name in shapes}
    return [TensorInfo(name, shape, "float32", kinds[name]) for name, shape in shapes.items()]


def units_between(shapes: Mapping[str, tuple[int, ...]]) -> list[tuple[str, str]]:
    return [(g.name, g.outgoing.tensor.layer) for g in chains(listed(shapes)).groups]


def test_consecutive_matrices_are_chained_with_their_biases_and_norms() -> None:
    shapes = {
        "0.weight": (4, 1, 3, 3), "0.bias": (4,), "1.weight": (4,), "1.bias": (4,),
        "1.running_mean": (4,), "3.weight": (6, 4, 3, 3), "3.bias": (6,),
        "6.weight": (8, 54), "6.bias": (8,), "8.weight": (3, 8), "8.bias": (3,),
    }  # fmt: skip
    groups = chains(listed(shapes)).groups
    assert [g.name for g in groups] == ["0", "3", "6"]
    assert [s.tensor.name for s in groups[0].beside] == [
        "0.bias", "1.weight", "1.bias", "1.running_mean",
    ]  # fmt: skip
    assert [g.is_scalable for g in groups] == [False, True, True]
    # A flattened map has 9 neighbouring columns for each unit, in PyTorch's order.
    assert (groups[1].outgoing.shape, groups[1].outgoing.axis) == ((8, 6, 9), 1)
    assert (groups[2].incoming.shape, groups[2].incoming.axis) == ((8, 6, 9), 0)


def test_kernels_that_store_outputs_last_flatten_place_by_place() -> None:
    shapes = {
        "conv/kernel": (3, 3, 1, 4), "conv/bias": (4,),
        "dense/kernel": (36, 8), "dense/bias": (8,), "out/kernel": (8, 2), "out/bias": (2,),
    }  # fmt: skip
    groups = chains(listed(shapes)).groups
    assert [(g.incoming.axis, g.outgoing.shape, g.outgoing.axis) for g in groups] == [
        (3, (9, 4, 8), 1),
        (2, (8, 2), 0),
    ]


@pytest.mark.parametrize(
    ("shapes", "layer", "why"),
    [
        ({"blocks.0.a.weight": (5, 5), "blocks.0.b.weight": (5, 5),
          "blocks.1.a.weight": (5, 5), "blocks.1.b.weight": (5, 5)},
         "blocks.0.b", known_chains.RESIDUAL),
        ({"attn.query.weight": (5, 5), "attn.key.weight": (5, 5)},
         "attn.query", known_chains.ATTENTION),
        ({"mlp.0.gate_proj.weight": (6, 5), "mlp.0.up_proj.weight": (6, 5),
          "mlp.0.down_proj.weight": (5, 6)}, "mlp.0.up_proj", known_chains.GATED),
        ({"rnn.weight_ih_l0": (8, 2), "rnn.weight_hh_l0": (8, 8)}, "rnn", known_chains.RECURRENT),
        ({"tok_embed.weight": (9, 5), "fc.weight": (3, 5)}, "tok_embed", known_chains.EMBEDDING),
        ({"a.weight": (6, 5), "b.weight": (3, 5)}, "a", known_chains.SHAPES),
        ({"BatchNorm_0/scale": (4,), "Conv_0/kernel": (3, 3, 1, 4), "Dense_0/kernel": (4, 2)},
         "Conv_0", known_chains.STRAY),
    ],
)  # fmt: skip
def test_units_that_something_else_may_read_stay_and_the_reason_is_said(
    shapes: Mapping[str, tuple[int, ...]], layer: str, why: str
) -> None:
    found = chains(listed(shapes))
    assert found.fixed[layer] == why
    assert layer not in [group.name for group in found.groups]


def test_the_inside_of_a_residual_block_is_a_chain() -> None:
    shapes = {f"blocks.{k}.{name}.weight": (5, 5) for k in range(2) for name in "ab"}
    assert units_between(shapes) == [("blocks.0.a", "blocks.0.b"), ("blocks.1.a", "blocks.1.b")]


def test_layers_listed_by_the_alphabet_are_chained_by_their_numbers() -> None:
    names = sorted(f"Dense_{k}/kernel" for k in range(12))
    found = units_between(dict.fromkeys(names, (5, 5)))
    assert ("Dense_9", "Dense_10") in found
    assert ("Dense_1", "Dense_10") not in found


@pytest.mark.parametrize("width", [7, 500, 100_000])
def test_a_realigned_run_holds_the_same_numbers_in_another_place(
    tmp_path: Path, width: int
) -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal((4, 60, 40, 3)).astype(np.float32)
    path = recorded(tmp_path / "a.h5", {"w": values, "b": values[:, :, 0, 0]})
    orders = rng.permutation(60), rng.permutation(40)
    scale = 2.0 ** rng.integers(-2, 3, 60)
    expected = values[:, orders[0]][:, :, orders[1]] * scale[:, None, None].astype(np.float32)
    with open_run(path) as run:
        shape = (60, 40, 3)
        axes = [AxisOrder(shape, 0, orders[0], scale), AxisOrder(shape, 1, orders[1])]
        seen = Realigned(run, {"w": axes})
        tensor, other = seen.description.tensors
        for start in range(0, tensor.size, width):
            stop = min(tensor.size, start + width)
            out = np.empty((4, stop - start), np.float32)
            seen.read(tensor, start, stop, out)
            np.testing.assert_array_equal(out, expected.reshape(4, -1)[:, start:stop])
            seen.read_rows(tensor, start, stop, range(1, 4, 2), out[:2])
            np.testing.assert_array_equal(out[:2], expected.reshape(4, -1)[[1, 3], start:stop])
        out = np.empty((4, 60), np.float32)
        seen.read(other, 0, 60, out)
        np.testing.assert_array_equal(out, values[:, :, 0, 0])


def perceptron(torch: Any) -> Any:
    nn = torch.nn
    return nn.Sequential(
        nn.Linear(20, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 3)
    )


def convolutions(torch: Any) -> Any:
    nn = torch.nn
    return nn.Sequential(
        nn.Unflatten(1, (1, 4, 5)), nn.Conv2d(1, 6, 2), nn.ReLU(), nn.Conv2d(6, 8, 2), nn.ReLU(),
        nn.Flatten(), nn.Linear(48, 12), nn.ReLU(), nn.Linear(12, 3),
    )  # fmt: skip


def normed(torch: Any) -> Any:
    nn = torch.nn
    return nn.Sequential(
        nn.Linear(20, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Linear(24, 10), nn.ReLU(),
        nn.Linear(10, 3),
    )  # fmt: skip


def course(network: Callable[[Any], Any], seed: int, until: int = 60) -> tuple[Any, list[Weights]]:
    """Train a network; return it and its weights every fifth step."""
    torch = framework("torch")
    torch.manual_seed(seed)
    net = network(torch)
    x, y = torch.randn(128, 20), torch.randint(0, 3, (128,))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
    found = []
    for step in range(until):
        if step % 5 == 0:
            found.append(
                {k: v.numpy().copy() for k, v in net.state_dict().items() if v.is_floating_point()}
            )
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    return net, found


def moved(weights: Weights, *, scaled: bool, seed: int = 1) -> dict[str, np.ndarray]:
    """Permute the hidden units of a sequential network, and scale them by powers of two."""
    rng = np.random.default_rng(seed)
    found = {name: values.copy() for name, values in weights.items()}
    layers = list(dict.fromkeys(name.split(".")[0] for name in weights))
    matrices = [layer for layer in layers if found[f"{layer}.weight"].ndim > 1]
    for one, other in itertools.pairwise(matrices):
        units = len(found[f"{one}.weight"])
        order = rng.permutation(units)
        between = layers[layers.index(one) : layers.index(other)]
        factor = np.ones(units, np.float32)
        if scaled and len(between) == 1:  # a norm would take the scale off again
            factor = (2.0 ** rng.integers(-2, 3, units)).astype(np.float32)
        for name in found:
            if name.split(".")[0] in between:
                values = found[name][order]
                found[name] = values * factor.reshape(-1, *[1] * (values.ndim - 1))
        reader = found[f"{other}.weight"]
        columns = reader.reshape(len(reader), units, -1)[:, order] / factor[None, :, None]
        found[f"{other}.weight"] = columns.reshape(reader.shape)
    return found


def recorded_course(path: Path, snapshots: Sequence[Weights]) -> Path:
    stacked = {name: np.array([each[name] for each in snapshots]) for name in snapshots[0]}
    return recorded(path, stacked, list(range(0, 5 * len(snapshots), 5)))


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("network", [perceptron, convolutions, normed])
def test_a_trained_network_with_its_units_moved_is_the_same(
    tmp_path: Path, network: Callable[[Any], Any], scaled: bool
) -> None:
    torch = framework("torch")
    net, snapshots = course(network, 0)
    others = [moved(each, scaled=scaled) for each in snapshots]
    # They compute the same.
    probe = torch.randn(16, 20, generator=torch.Generator().manual_seed(3))
    net.eval()
    answers = []
    for weights in (snapshots[-1], others[-1]):
        net.load_state_dict({k: torch.from_numpy(v) for k, v in weights.items()}, strict=False)
        answers.append(net(probe).detach().numpy())
    np.testing.assert_allclose(*answers, atol=1e-4)
    a = recorded_course(tmp_path / "a.h5", snapshots)
    b = recorded_course(tmp_path / "b.h5", others)
    assert any((snapshots[0][name] != others[0][name]).any() for name in snapshots[0])
    found = koopscope.compare(a, b).foremost
    assert (found.verdict, found.rule, found.parts_at_step) == ("same", "weights", None)
    assert found.distance == pytest.approx(0.0, abs=1e-6)
    assert found.alignment is not None
    assert found.alignment.moved > 0.8 * found.alignment.units
    assert (found.alignment.rescaled > 0) == scaled
    assert found.alignment.are_copies
    assert "first run's order" in found.reason
    assert ("ReLU" in found.reason) == scaled


def test_a_copy_whose_units_moved_part_of_the_way_is_not_the_same(tmp_path: Path) -> None:
    """The order that fits the ends does not fit snapshots between them: nothing is hidden."""
    _, snapshots = course(perceptron, 0)
    others = [moved(each, scaled=False) for each in snapshots]
    others[5] = moved(snapshots[5], scaled=False, seed=2)
    a = recorded_course(tmp_path / "a.h5", snapshots)
    found = koopscope.compare(a, recorded_course(tmp_path / "b.h5", others)).foremost
    assert found.parts_at_step == 25
    assert found.rule != "weights"


def test_a_start_whose_units_moved_parts_where_the_training_does(tmp_path: Path) -> None:
    _, snapshots = course(perceptron, 0)
    rng = np.random.default_rng(0)
    others = [moved(each, scaled=False) for each in snapshots]
    for k in range(6, len(others)):
        others[k] = {
            name: values + (0.02 * rng.standard_normal(values.shape)).astype(np.float32)
            for name, values in others[k].items()
        }
    a = recorded_course(tmp_path / "a.h5", snapshots)
    found = koopscope.compare(a, recorded_course(tmp_path / "b.h5", others)).foremost
    assert found.parts_at_step == 30
    assert found.alignment is not None
    assert (found.alignment.start_together, found.alignment.are_copies) == (True, False)


def test_units_of_other_seeds_are_matched_and_nearer_than_as_stored(tmp_path: Path) -> None:
    a = recorded_course(tmp_path / "a.h5", course(perceptron, 0)[1])
    b = recorded_course(tmp_path / "b.h5", course(perceptron, 1)[1])
    found = koopscope.compare(a, b).foremost
    assert found.alignment is not None
    last = found.alignment.last
    assert last is not None
    assert last.aligned < last.as_stored
    assert last.at_one_scale is not None
    assert found.rule == "yardstick"
    assert any("a guess" in note for note in found.notes)
    # The verdict rests on what no order changes.
    swapped = recorded_course(
        tmp_path / "c.h5", [moved(each, scaled=False) for each in course(perceptron, 1)[1]]
    )
    again = koopscope.compare(a, swapped).foremost
    assert again.distance == pytest.approx(found.distance, rel=1e-6)
    assert again.alignment is not None
    assert again.alignment.last is not None
    assert again.alignment.last.aligned == pytest.approx(last.aligned, rel=1e-5)


def test_a_run_that_diverges_is_aligned_by_its_finite_snapshots(tmp_path: Path) -> None:
    a = trained(tmp_path / "a.h5")
    b = trained(tmp_path / "b.h5", seed=1, bad_from=20)
    found = koopscope.compare(a, b).foremost
    assert found.rule == "breaks"
    assert found.alignment is not None
    assert np.isfinite(found.alignment.last.aligned) if found.alignment.last else False


def test_the_page_and_the_document_say_what_was_aligned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, snapshots = course(perceptron, 0)
    a = recorded_course(tmp_path / "a.h5", snapshots)
    b = recorded_course(tmp_path / "b.h5", [moved(each, scaled=True) for each in snapshots])
    code, out, _ = called(capsys, "compare", a, b)
    words = " ".join(out.split())
    assert code == 0
    assert "hidden units were aligned before weights were held against weights" in words
    assert "of 48 units moved, in 0, 2" in words
    code, out, _ = called(capsys, "compare", a, b, "--format", "json")
    found = json.loads(out)["comparison"]
    assert found["verdict"] == "same"
    assert found["parts_at_step"] is None
    assert found["alignment"]["units"] == 48
    assert [layer["name"] for layer in found["alignment"]["layers"]] == ["0", "2"]
