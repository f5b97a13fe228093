"""Which hidden units of a network may change places, told by names, shapes and order of tensors.

The units between two consecutive matrices are numbered by the rows of the first and the columns of
the second; permuting both, with biases and norms, leaves the function alone. Where something else
may read the same units (a residual stream, attention, a gate) they stay, and the reason is said.
Opens no file.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from koopscope.runs.names import leaf_of, words_of
from koopscope.runs.nodes import outputs_among
from koopscope.runs.roles import role
from koopscope.runs.run import TensorInfo

_ATTENTION = frozenset(["attn", "attention", "attentions", "mha", "selfattention", "qkv"])
_HEADS = frozenset(["q", "k", "v", "query", "key", "value", "proj"])
_RECURRENT = frozenset(["lstm", "gru", "rnn", "recurrent"])
_BESIDE = frozenset(["downsample", "shortcut", "skip", "residual", "identity"])
_GATED = frozenset(["gate", "gating", "glu", "swiglu", "geglu", "router", "experts"])
_RECURRENT_LEAF = re.compile(r"weight_(ih|hh)|recurrent_kernel")
_LETTERED = re.compile(r"[./](w3|w_3|linear_v|wi_1)[./]")

#: Why units stay where they are.
RESIDUAL = "between repeated blocks, where a residual stream may pass"
ATTENTION = "attention heads"
RECURRENT = "recurrent layers"
EMBEDDING = "an embedding or a norm with two axes"
GATED = "gated units, which two matrices make together"
SHAPES = "shapes that do not chain"
STRAY = "a norm or a scale of as many entries that no layer can be told for"


@dataclass(frozen=True)
class Slot:
    """An axis of a tensor with one index per unit.

    Attributes
    ----------
    tensor
        As the first run calls it.
    shape
        The tensor's, or with the axis split where every unit has several columns: the places of a
        feature map that was flattened.
    axis
        Of ``shape``.
    """

    tensor: TensorInfo
    shape: tuple[int, ...]
    axis: int


@dataclass(frozen=True)
class UnitGroup:
    """Hidden units that may change places.

    Attributes
    ----------
    name
        The layer that computes them.
    units
        How many there are.
    incoming, outgoing
        The matrix that computes them and the one that reads them.
    beside
        Biases, norms and running statistics, one entry for each unit.
    is_scalable
        Whether there is no norm between: a unit may then be scaled up and its readers down, which
        changes nothing where the activation is linear on either side of zero (ReLU).
    """

    name: str
    units: int
    incoming: Slot
    outgoing: Slot
    beside: tuple[Slot, ...]
    is_scalable: bool


@dataclass(frozen=True)
class Chains:
    """What can be aligned, in model order, and by layer why the others' units cannot."""

    groups: tuple[UnitGroup, ...]
    fixed: Mapping[str, str]


def chains(tensors: Sequence[TensorInfo]) -> Chains:
    """Find the hidden units of a network that may change places.

    Parameters
    ----------
    tensors
        In model order.
    """
    by_name = {tensor.name: tensor for tensor in tensors}
    matrices = [
        tensor
        for tensor in tensors
        if len(tensor.shape) > 1 and tensor.kind == "parameter" and not tensor.is_complex
    ]
    layers = [matrix.layer for matrix in matrices]
    if layers == sorted(layers):  # listed by the alphabet, where 10 comes before 2
        matrices.sort(key=lambda matrix: _by_number(matrix.layer))
    owners, strays = _owned_vectors(tensors, matrices, by_name)
    repeated = _repeated_blocks(matrices)
    split = _splits(matrices, by_name)
    groups, fixed = [], {}
    for one, other in itertools.pairwise(matrices):
        why = _reason(one, other, matrices, repeated, by_name)
        units = one.shape[outputs_among(one, by_name)[0]]
        if not why and any(stray.size == units for stray in strays):
            why = STRAY
        if why:
            fixed[one.layer] = why
            continue
        own = [vector for vector in owners[one.name] if vector.size == units]
        bias = outputs_among(one, by_name)[1]
        shape, axis = _shape_in(other, by_name, split.get(other.name))
        groups.append(
            UnitGroup(
                name=one.layer,
                units=units,
                incoming=Slot(one, *_shape_out(one, by_name, split.get(one.name))),
                outgoing=Slot(other, shape, axis),
                beside=tuple(Slot(vector, vector.shape, 0) for vector in own),
                is_scalable=all(vector == bias for vector in own),
            )
        )
    return Chains(tuple(groups), fixed)


def _owned_vectors(
    tensors: Sequence[TensorInfo],
    matrices: Sequence[TensorInfo],
    by_name: Mapping[str, TensorInfo],
) -> tuple[dict[str, list[TensorInfo]], list[TensorInfo]]:
    """Return the vectors that belong to each matrix's outputs, and those that cannot be placed.

    A bias belongs to its matrix; any other vector to the matrix before it, since that is where a
    norm stands. Where names are sorted, norms stand elsewhere: they cannot be placed.
    """
    owners: dict[str, list[TensorInfo]] = {matrix.name: [] for matrix in matrices}
    owner_of: dict[str, str] = {}
    for matrix in matrices:
        bias = outputs_among(matrix, by_name)[1]
        if bias is not None:
            owner_of[bias.name] = matrix.name
    listed_as_built = not _is_sorted([tensor.layer for tensor in tensors])
    of_layer: dict[str, str] = {}
    strays, last = [], None
    matrix_names = set(owners)
    for tensor in tensors:
        if tensor.name in matrix_names:
            last = tensor.name
            of_layer.setdefault(tensor.layer, last)
        elif len(tensor.shape) == 1 and not tensor.is_complex:
            owner = owner_of.get(tensor.name) or of_layer.get(tensor.layer)
            if owner is None and tensor.kind == "parameter" and listed_as_built:
                owner = last
            if owner is None:
                strays.append(tensor)
                continue
            of_layer.setdefault(tensor.layer, owner)
            owners[owner].append(tensor)
    return owners, strays


def _by_number(layer: str) -> list[tuple[str, int]]:
    found = re.findall(r"(\D*)(\d*)", layer)
    return [(words, int(number or 0)) for words, number in found]


def _is_sorted(layers: Sequence[str]) -> bool:
    """Whether layers stand in the order of the alphabet, which is not that of the network."""
    distinct = list(dict.fromkeys(layers))
    kinds = {re.sub(r"\d+", "", layer) for layer in distinct}
    return len(kinds) > 2 and distinct == sorted(distinct)


def _reason(
    one: TensorInfo,
    other: TensorInfo,
    matrices: Sequence[TensorInfo],
    repeated: frozenset[str],
    by_name: Mapping[str, TensorInfo],
) -> str:
    """Return why the units between two matrices stay; nothing where they may change places."""
    told = _told_by_name(one, matrices)
    if told:
        return told
    blocks = _block_of(one.layer), _block_of(other.layer)
    if blocks[0] != blocks[1] and not repeated.isdisjoint(blocks):
        return RESIDUAL
    if _BESIDE & {*words_of(one.layer), *words_of(other.layer)}:
        return RESIDUAL
    told = _told_by_name(other, matrices)
    if told:
        return told
    inside = [matrix for matrix in matrices if _block_of(matrix.layer) == blocks[0]]
    if blocks[0] and any(
        _GATED & set(words_of(each.name)) or _LETTERED.search(each.name) for each in inside
    ):
        return GATED
    units, inputs = one.shape[_axes(one, by_name)[0]], other.shape[_axes(other, by_name)[1]]
    flattened = len(one.shape) > 2 and len(other.shape) == 2 and inputs % max(1, units) == 0
    if units < 2 or not (inputs == units or flattened):
        return SHAPES
    return ""


def _told_by_name(tensor: TensorInfo, matrices: Sequence[TensorInfo]) -> str:
    words = words_of(tensor.layer)
    last = set(words_of(leaf_of(tensor.layer)))
    if _ATTENTION & set(words) or (last and last <= _HEADS):
        return ATTENTION
    if _RECURRENT & set(words) or _RECURRENT_LEAF.search(tensor.name):
        return RECURRENT
    kept = role([tensor.name], tensor, matrices)
    # A first matrix with many rows is a wide layer here unless its name says that it looks up.
    return EMBEDDING if kept is not None and not kept.startswith("an embedding,") else ""


def _axes(tensor: TensorInfo, by_name: Mapping[str, TensorInfo]) -> tuple[int, int]:
    """Return the axes of a matrix or kernel with one index per output, and per input."""
    axis = outputs_among(tensor, by_name)[0]
    last = len(tensor.shape) - 1
    if axis == last and last > 0:
        return axis, last - 1
    return axis, 1 if axis == 0 else 0


def _splits(
    matrices: Sequence[TensorInfo], by_name: Mapping[str, TensorInfo]
) -> dict[str, tuple[int, int]]:
    """Return (units, places) for the columns of matrices that read a flattened feature map."""
    found = {}
    for one, other in itertools.pairwise(matrices):
        units = one.shape[_axes(one, by_name)[0]]
        inputs = other.shape[_axes(other, by_name)[1]]
        if len(one.shape) > 2 and len(other.shape) == 2 and units and inputs % units == 0:
            found[other.name] = (units, inputs // units)
    return found


def _shape_in(
    tensor: TensorInfo, by_name: Mapping[str, TensorInfo], split: tuple[int, int] | None
) -> tuple[tuple[int, ...], int]:
    """Return the shape of a matrix and its axis of inputs; the axis split where it reads a map.

    Frameworks that store outputs first (PyTorch) flatten a map unit by unit; those that store them
    last (Keras, Flax) place by place.
    """
    out, into = _axes(tensor, by_name)
    if split is None or split[1] == 1:
        return tensor.shape, into
    units, places = split
    if out == 0:
        return (tensor.shape[0], units, places), 1
    return (places, units, tensor.shape[1]), 1


def _shape_out(
    tensor: TensorInfo, by_name: Mapping[str, TensorInfo], split: tuple[int, int] | None
) -> tuple[tuple[int, ...], int]:
    """Return the same shape, and the axis of outputs in it."""
    shape, _ = _shape_in(tensor, by_name, split)
    out, _ = _axes(tensor, by_name)
    return shape, out + len(shape) - len(tensor.shape) if out else 0


def _block_of(layer: str) -> str:
    """Return the numbered part of a network that a layer is in, such as ``blocks.3``; or nothing.

    A number at the end of a name is the layer's own: ``features.3`` is in no block.
    """
    parts = re.split(r"([./])", layer)
    found = ""
    for k in range(0, len(parts) - 1, 2):
        if re.search(r"\d", parts[k]):
            found = "".join(parts[: k + 1])
    if not found:
        named = re.match(r"(.*?block_?\d+)_", parts[-1])
        found = named.group(1) if named else ""
    return found


def _repeated_blocks(matrices: Sequence[TensorInfo]) -> frozenset[str]:
    """Return the blocks of two matrices or more: what leads from one to the next may be added."""
    counts: dict[str, int] = {}
    for matrix in matrices:
        block = _block_of(matrix.layer)
        if block:
            counts[block] = counts.get(block, 0) + 1
    return frozenset(block for block, count in counts.items() if count > 1)
