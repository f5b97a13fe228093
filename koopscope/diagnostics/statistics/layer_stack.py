"""Which layers of a network are stacked, and how alike they move. Decides nothing."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from koopscope._types import Float64
from koopscope.analysis.analysis import Analysis
from koopscope.analysis.scope import Scope
from koopscope.diagnostics.statistics.trajectory import layer_grams
from koopscope.spectra.gram import SnapshotGram

#: A place in a stack; the 2 of ``conv2d`` is none.
_NUMBER = re.compile(r"\d+(?!\d*d(?![a-z]))")


#: Bytes of cosines of all layers together; where there are more, they are held in float32, which
#: changes a likeness by less than 1e-7.
LIKENESS_BYTES = 32 * 2**20

#: Layers that are compared with all before them at once, and bytes of their cosines.
_ROWS = 128
_PRODUCT_BYTES = 16 * 2**20

#: Part of a measured layer's squared length that is taken for signal at least.
LEAST_SIGNAL = 0.05


@dataclass(frozen=True)
class Stack:
    """The layers with weight matrices, in model order.

    Attributes
    ----------
    names
        Of the layers.
    depth
        Hidden layers, or repeated blocks: how deep the network was built.
    travels
        Of each layer, the distance from its first weights over their norm.
    grams
        Inner products of each layer's trained tensors, by name; added up when asked for.
    noises
        Of each layer's matrix of cosines, the squared length that comes from having measured and
        not read the weights; zeros where all were read.
    """

    names: tuple[str, ...]
    depth: int
    travels: tuple[float, ...]
    grams: Mapping[str, SnapshotGram]
    noises: tuple[float, ...]


def stack_of(analysis: Analysis) -> Stack | None:
    """Return the stack, or ``None`` where fewer than two layers have weight matrices that moved."""
    grams = layer_grams(analysis)
    travels: dict[str, float] = {}
    for layer in grams:
        has_matrix = any(
            len(tensor.shape) >= 2 and tensor.kind == "parameter"
            for tensor in analysis.members(Scope("layer", layer))
        )
        gram = grams[layer] if has_matrix else None
        if gram is not None and gram.path_length() > 0.0:
            norm = max(float(np.sqrt(max(gram.anchor_square, 0.0))), 1e-12)
            travels[layer] = gram.displacement() / norm
    names = list(travels)
    if len(names) < 2:
        return None
    noises = tuple(_noise(analysis, name) for name in names)
    return Stack(tuple(names), _depth(names), tuple(travels.values()), grams, noises)


def _noise(analysis: Analysis, layer: str) -> float:
    """Return the squared standard error of a layer's centred cosines, summed over all of them."""
    if analysis.is_exact:
        return 0.0
    errors = analysis.measured_spread(
        f"cosines of {layer}", lambda part: _centred(layer_grams(part)[layer])
    )
    return float(np.square(errors).sum())


def _centred(gram: SnapshotGram) -> Float64:
    """Return the cosines of a layer's increments, centred, without those with themselves."""
    lengths = gram.speeds()
    lengths[lengths == 0.0] = np.inf
    cosines: Float64 = np.real(gram.increments) / lengths[:, None]
    cosines /= lengths
    cosines -= cosines.mean(axis=0)
    cosines -= cosines.mean(axis=1)[:, None]
    np.fill_diagonal(cosines, 0.0)
    return cosines


def _depth(names: list[str]) -> int:
    """Count the members of the longest numbered series of names, the output layer not counted.

    ``blocks.0.up`` and ``blocks.1.up`` are members 0 and 1 of ``blocks.``; ``0``, ``2``, ``4`` of a
    sequence are three, and so are Keras' ``dense``, ``dense_1``, ``dense_2``. Where nothing is
    numbered, every layer but the last is a hidden layer.
    """
    series: dict[str, dict[str, None]] = {}
    for name in names:
        number = _NUMBER.search(name)
        if number:
            series.setdefault(name[: number.start()], {})[number.group()] = None
        elif f"{name}_1" in names:
            series.setdefault(f"{name}_", {})["0"] = None
    if not series:
        return len(names) - 1
    prefix, members = max(series.items(), key=lambda item: len(item[1]))
    ends_in_output = names[-1] == prefix + list(members)[-1]
    return max(1, len(members) - (1 if ends_in_output else 0))


@dataclass(frozen=True)
class Likeness:
    """How alike the layers of a stack move in time.

    Attributes
    ----------
    to_earlier, most_like
        float64 and int [L]: of each layer the largest similarity to one before it, 1 for the same,
        and which that is; -1 of the first layer.
    distinct
        Effective number of different motions: the participation ratio of the similarities. Layers
        that all move straight ahead have cosines without a pattern, and are one motion.
    """

    to_earlier: Float64
    most_like: npt.NDArray[np.intp]
    distinct: float


def likeness(stack: Stack) -> Likeness:
    """Compare all layers with one another.

    Each layer's increments, scaled to unit length, have T-1 x T-1 cosines that say when it turned
    and when it came back, whatever its width; two layers are compared by the cosine between their
    centred matrices (centred kernel alignment, Kornblith et al., ICML 2019; of increments, and
    without their products with themselves: ours).
    """
    count = len(stack.names)
    moves = stack.grams[stack.names[0]].snapshots - 1
    pairs = moves * (moves - 1) // 2
    words = 8 if 8 * pairs * count <= LIKENESS_BYTES else 4
    flat = np.empty((count, pairs), f"f{words}")
    for row, name, noise in zip(flat, stack.names, stack.noises, strict=True):
        _turns(_centred(stack.grams[name]), noise, row)
    # What was measured is no sum of squares any more: its eigenvalues may be negative.
    whole = np.zeros((count, count)) if any(stack.noises) else None
    to_earlier, most_like = np.full(count, -1.0), np.full(count, -1, np.intp)
    trace = squares = 0.0
    for first in range(0, count, _ROWS):
        similar = _products(flat[first : first + _ROWS], flat[: first + _ROWS])
        np.clip(similar, -1.0, 1.0, out=similar)
        if whole is not None:
            whole[first : first + len(similar), : similar.shape[1]] = similar
        for k, row in enumerate(similar, first):
            trace += float(row[k])
            squares += 2.0 * float(row[:k] @ row[:k]) + float(row[k]) ** 2
            if k:
                most_like[k] = row[:k].argmax()
                to_earlier[k] = row[most_like[k]]
    if whole is not None:
        eigenvalues = np.maximum(np.linalg.eigvalsh(whole, "L"), 0.0)
        trace, squares = float(eigenvalues.sum()), float(np.square(eigenvalues).sum())
    # Both sums are those over the eigenvalues of all similarities.
    return Likeness(to_earlier, most_like, trace**2 / squares if squares > 0.0 else 1.0)


def _products(rows: npt.NDArray[Any], others: npt.NDArray[Any]) -> Float64:
    products: Float64 = np.zeros((len(rows), len(others)))
    columns = max(1, _PRODUCT_BYTES // (8 * len(others)))
    for start in range(0, rows.shape[1], columns):
        part = slice(start, start + columns)
        wide = others[:, part].astype(np.float64, copy=False)
        products += wide[-len(rows) :] @ wide.T
    return products


def _turns(cosines: Float64, noise: float, row: npt.NDArray[np.floating[Any]]) -> None:
    """Write a layer's centred cosines of two different increments, as a unit vector."""
    # A symmetric matrix: each pair of increments is in it twice.
    written = 0
    for t in range(len(cosines) - 1):
        later = cosines[t, t + 1 :]
        row[written : written + len(later)] = later
        written += len(later)
    square = float(np.linalg.norm(cosines)) ** 2
    # Noise makes every layer longer and no two of them alike: its part is taken off.
    square = max(square - noise, LEAST_SIGNAL * square)
    row /= max(math.sqrt(square), 1e-300) / math.sqrt(2.0)
