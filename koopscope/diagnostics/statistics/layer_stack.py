"""Which layers of a network are stacked, and how alike they move. Decides nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from koopscope._types import Float64
from koopscope.analysis.analysis import Analysis
from koopscope.analysis.scope import Scope
from koopscope.diagnostics.statistics.trajectory import layer_grams
from koopscope.spectra.geometry import Geometry
from koopscope.spectra.gram import SnapshotGram

#: A place in a stack; the 2 of ``conv2d`` is none.
_NUMBER = re.compile(r"\d+(?!\d*d(?![a-z]))")


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
    grams
        Inner products of each layer's trained tensors.
    noises
        Of each layer's matrix of cosines, the squared length that comes from having measured and
        not read the weights; zeros where all were read.
    """

    names: tuple[str, ...]
    depth: int
    grams: tuple[SnapshotGram, ...]
    noises: tuple[float, ...] = ()


def stack_of(analysis: Analysis) -> Stack | None:
    """Return the stack, or ``None`` where fewer than two layers have weight matrices that moved."""
    grams = layer_grams(analysis)
    names = [
        layer
        for layer, gram in grams.items()
        if gram.path_length() > 0.0
        and any(
            len(tensor.shape) >= 2 and tensor.kind == "parameter"
            for tensor in analysis.members(Scope("layer", layer))
        )
    ]
    if len(names) < 2:
        return None
    noises = tuple(_noise(analysis, name) for name in names)
    return Stack(tuple(names), _depth(names), tuple(grams[name] for name in names), noises)


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
    cosines: Float64 = Geometry(gram).cosines
    cosines = cosines - cosines.mean(axis=0)
    cosines = cosines - cosines.mean(axis=1)[:, None]
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


def likeness(stack: Stack) -> Float64:
    """Return [L, L] similarities of the layers' motion in time, 1 for the same.

    Each layer's increments, scaled to unit length, have T-1 x T-1 cosines that say when it turned
    and when it came back, whatever its width; two layers are compared by the cosine between their
    centred matrices (centred kernel alignment, Kornblith et al., ICML 2019; of increments, and
    without their products with themselves: ours).
    """
    centred = []
    for gram, noise in zip(stack.grams, stack.noises or (0.0,) * len(stack.grams), strict=True):
        cosines = _centred(gram)
        square = float(np.square(cosines).sum())
        # Noise makes every layer longer and no two of them alike: its part is taken off.
        square = max(square - noise, LEAST_SIGNAL * square)
        centred.append(cosines.ravel() / max(float(np.sqrt(square)), 1e-300))
    flat = np.array(centred)
    similar: Float64 = np.clip(flat @ flat.T, -1.0, 1.0)
    return similar


def distinct(similar: Float64) -> float:
    """Return the effective number of different motions (participation ratio of the matrix).

    Layers that all move straight ahead have cosines without a pattern, a matrix of zeros, and are
    one motion.
    """
    eigenvalues = np.maximum(np.linalg.eigvalsh(similar), 0.0)
    if not eigenvalues.any():
        return 1.0
    return float(eigenvalues.sum() ** 2 / (eigenvalues**2).sum())
