"""Whole units: which axis of a tensor they lie on, what goes with them, and which of them stay.

A unit is what one output of a layer is computed by: a row of a PyTorch ``weight``, the last axis of
a Keras or Flax ``kernel``. It takes its own bias along, and what the next layer reads from it where
names and shapes leave no doubt which layer that is. Where they leave a doubt, the weights that read
the unit stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from koopscope.errors import KoopscopeError
from koopscope.pruning.masks import Mask, MaskRequest
from koopscope.pruning.score_file import CHUNK, ScoreSpool
from koopscope.runs.hdf5.slabs import positions
from koopscope.runs.nodes import outputs_of
from koopscope.runs.run import TensorInfo

_NUMBER = re.compile(r"\d+")

#: A tensor's mask as kept indices along some of its axes; all of them must agree.
AxisMasks = tuple[tuple[int, Mask], ...]


@dataclass(frozen=True)
class UnitLayer:
    """A tensor whose units compete, and what is lost with one of them.

    Attributes
    ----------
    tensor, axis
        The units are the indices of this axis.
    bias
        The layer's own bias, one value per unit.
    reader, reader_axis
        The tensor of the next layer that reads the units, and along which axis.
    """

    tensor: TensorInfo
    axis: int
    bias: TensorInfo | None = None
    reader: TensorInfo | None = None
    reader_axis: int = 0

    @property
    def units(self) -> int:
        """Number of units."""
        return self.tensor.shape[self.axis]


@dataclass(frozen=True)
class UnitPlan:
    """What pruning whole units touches.

    Attributes
    ----------
    layers
        Whose units compete, in model order.
    tensors
        Everything that can lose a weight, in model order: theirs, biases, and readers.
    notes
        What was left alone, and why.
    """

    layers: tuple[UnitLayer, ...]
    tensors: tuple[TensorInfo, ...]
    notes: tuple[str, ...]


def unit_plan(
    parameters: Sequence[TensorInfo], prunable: Sequence[TensorInfo], asked: bool
) -> UnitPlan:
    """Find the units of a network.

    Parameters
    ----------
    parameters
        All parameters of the network, in model order.
    prunable
        Those that may be pruned.
    asked
        Whether the user named them; else the last layer's units, the outputs, are kept.

    Raises
    ------
    KoopscopeError
        If no layer is left whose units could go.
    """
    matrices = [tensor for tensor in parameters if len(tensor.shape) >= 2]
    allowed = [tensor for tensor in prunable if len(tensor.shape) >= 2]
    notes = []
    competing = list(allowed)
    if not asked and competing and competing[-1] == matrices[-1]:
        outputs = competing.pop()
        notes.append(f"the units of {outputs.name} are the network's outputs and stay")
    if not competing:
        raise KoopscopeError(
            "no layer is left whose units could be pruned",
            "name layers with --include, or prune single weights with --structure weight",
        )
    layers = [_layer(tensor, parameters, matrices, allowed) for tensor in competing]
    alone = [layer.tensor.name for layer in layers if layer.reader is None]
    if alone:
        notes.append(
            f"rows only, what reads them is not certain from names and shapes: {', '.join(alone)}"
        )
    touched = {tensor.name for layer in layers for tensor in _touched(layer)}
    return UnitPlan(tuple(layers), tuple(t for t in parameters if t.name in touched), tuple(notes))


def unit_choices(
    spool: ScoreSpool, criterion: str, request: MaskRequest, plan: UnitPlan
) -> dict[str, AxisMasks]:
    """Return for every tensor of the plan which indices of which axes stay.

    Units compete by their mean score. With ``scope`` ``layer``, each layer loses the same share of
    its units; else they are taken best first until the weights that stay, columns and biases
    counted, reach the share asked for.
    """
    scores = {
        layer.tensor.name: spool.unit_scores(criterion, layer.tensor, layer.axis)
        for layer in plan.layers
    }
    if request.scope == "layer":
        kept = {}
        for layer in plan.layers:
            count = max(request.keeps(layer.units), request.floor(layer.units))
            best = np.argsort(-scores[layer.tensor.name], kind="stable")[:count]
            kept[layer.tensor.name] = np.isin(np.arange(layer.units), best)
        return _axis_masks(plan, kept)
    return _axis_masks(plan, _best_first(plan, scores, request))


def axis_mask_chunks(tensor: TensorInfo, masks: AxisMasks) -> Iterator[Mask]:
    """Yield a tensor's mask in flattened order, a chunk at a time."""
    for start in range(0, tensor.size, CHUNK):
        stop = min(start + CHUNK, tensor.size)
        mask = np.ones(stop - start, np.bool_)
        for axis, kept in masks:
            mask &= kept[positions(tensor.shape, axis, start, stop)]
        yield mask


def _best_first(
    plan: UnitPlan, scores: Mapping[str, npt.NDArray[np.float64]], request: MaskRequest
) -> dict[str, Mask]:
    owners = np.concatenate([np.full(layer.units, i) for i, layer in enumerate(plan.layers)])
    values = np.concatenate([scores[layer.tensor.name] for layer in plan.layers])
    place = np.empty(len(values), np.intp)  # a unit's place within its own layer, best first
    for i in range(len(plan.layers)):
        mine = np.flatnonzero(owners == i)
        place[mine[np.argsort(-values[mine], kind="stable")]] = np.arange(len(mine))
    floors = np.array([request.floor(layer.units) for layer in plan.layers])
    guaranteed = place < floors[owners]
    order = np.lexsort((-values, ~guaranteed))

    def first(count: int) -> dict[str, Mask]:
        keep = np.zeros(len(values), np.bool_)
        keep[order[:count]] = True
        return {layer.tensor.name: keep[owners == i] for i, layer in enumerate(plan.layers)}

    budget = request.keeps(sum(tensor.size for tensor in plan.tensors))
    low, high = int(guaranteed.sum()), len(values)
    while low < high:  # the most units whose weights fit; what is kept grows with their number
        middle = (low + high + 1) // 2
        if _kept_weights(plan, first(middle)) <= budget:
            low = middle
        else:
            high = middle - 1
    return first(low)


def _kept_weights(plan: UnitPlan, kept: Mapping[str, Mask]) -> int:
    masks = _axis_masks(plan, kept)
    count = 0
    for tensor in plan.tensors:
        left = list(tensor.shape)
        for axis, mask in masks[tensor.name]:
            left[axis] = int(mask.sum())
        count += int(np.prod(left))
    return count


def _axis_masks(plan: UnitPlan, kept: Mapping[str, Mask]) -> dict[str, AxisMasks]:
    masks: dict[str, AxisMasks] = {tensor.name: () for tensor in plan.tensors}
    for layer in plan.layers:
        mask = kept[layer.tensor.name]
        masks[layer.tensor.name] += ((layer.axis, mask),)
        if layer.bias is not None:
            masks[layer.bias.name] += ((0, mask),)
        if layer.reader is not None:
            masks[layer.reader.name] += ((layer.reader_axis, mask),)
    return masks


def _touched(layer: UnitLayer) -> Iterator[TensorInfo]:
    yield layer.tensor
    if layer.bias is not None:
        yield layer.bias
    if layer.reader is not None:
        yield layer.reader


def _layer(
    tensor: TensorInfo,
    parameters: Sequence[TensorInfo],
    matrices: Sequence[TensorInfo],
    allowed: Sequence[TensorInfo],
) -> UnitLayer:
    axis, bias = outputs_of(tensor, parameters)
    reader = _reader(tensor, axis, bias, parameters, matrices)
    if reader is None or reader[0] not in allowed:
        return UnitLayer(tensor, axis, bias)
    return UnitLayer(tensor, axis, bias, *reader)


def _reader(
    tensor: TensorInfo,
    axis: int,
    bias: TensorInfo | None,
    parameters: Sequence[TensorInfo],
    matrices: Sequence[TensorInfo],
) -> tuple[TensorInfo, int] | None:
    """Return the tensor that must be the one that reads these units, and its input axis.

    The next matrix in model order, if its inputs are as many as the units and that number occurs on
    no other axis of any parameter: then nothing else can take part in a sum or a skip connection
    with them without weights of the same length. Repetitions of the same pair in other blocks, told
    by names that differ in numbers alone, count as this pair.
    """
    following = matrices[matrices.index(tensor) + 1 :][:1]
    if not following:
        return None
    after = following[0]
    out, _ = outputs_of(after, parameters)
    inputs = len(after.shape) - 2 if out == len(after.shape) - 1 else 1 - min(out, 1)
    units = tensor.shape[axis]
    if after.shape[inputs] != units:
        return None
    own = {(tensor.name, axis), (after.name, inputs)} | ({(bias.name, 0)} if bias else set())
    alike = {(_pattern(name), index) for name, index in own}
    if len({name for name, _ in alike}) < len(own):
        alike = set()  # layers of one list: each may be added to what it reads
    alone = all(
        (other.name, index) in own or (_pattern(other.name), index) in alike
        for other in parameters
        for index, size in enumerate(other.shape)
        if size == units
    )
    return (after, inputs) if alone else None


def _pattern(name: str) -> str:
    """Return a name without its numbers: what repeated blocks have in common."""
    return _NUMBER.sub("#", name)
