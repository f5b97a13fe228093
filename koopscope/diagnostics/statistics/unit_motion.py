"""Which units of a network no longer move although their layer does, and which adapters do not.

From the moments of each unit's weights over the first and the last quarter of a run. A unit moves
where its incoming weights turn, or its bias changes, other than by a shrinking that weight decay
alone would do. Names and counts; decides nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from koopscope._types import Float64
from koopscope.analysis.analysis import Analysis
from koopscope.analysis.scope import Scope
from koopscope.runs.nodes import outputs_among
from koopscope.runs.roles import role
from koopscope.runs.run import TensorInfo
from koopscope.runs.sketches import MOVES, STILL
from koopscope.spectra.units import UnitCounts, UnitMoments

#: Rounding of the stored weights, as part of an increment, from which on stillness may be rounding.
ROUNDING = 0.01

#: Dead units of a tensor that are named by their index.
_MOST_INDICES = 64

#: The two halves of a low-rank adapter, in the spellings of the usual libraries.
_LORA_A = re.compile(r"lora_(?:embedding_)?a(?![a-z0-9])", re.IGNORECASE)


@dataclass(frozen=True)
class LayerUnits:
    """One tensor whose units were looked at.

    Attributes
    ----------
    tensor
        Its name.
    units
        How many were looked at: all of them, or the sample that a sketch counts.
    dead
        How many do not move in the last quarter although others of them do.
    never_moved
        How many of those did not in the first quarter either.
    indices
        Of the dead ones, the first 64; empty where they were only counted.
    sampled
        Whether only a sample of the tensor's units was looked at.
    """

    tensor: str
    units: int
    dead: int
    never_moved: int
    indices: tuple[int, ...] = ()
    sampled: bool = False


@dataclass(frozen=True)
class Adapter:
    """A low-rank pair B A, judged as the product that it adds to a weight.

    Attributes
    ----------
    first, second
        Names of A and B.
    zero
        The half that is exactly zero throughout, so that the pair adds nothing; else ``None``.
    trains
        Whether the product changes: one half moves while the other is not zero.
    """

    first: str
    second: str
    zero: str | None
    trains: bool


def unit_layers(analysis: Analysis) -> list[LayerUnits]:
    """Return the tensors whose units can be told apart, in model order; see ``looked_at``."""
    by_name = {tensor.name: tensor for tensor in analysis.finite_tensors}
    found = []
    for tensor in looked_at(analysis):
        bias = outputs_among(tensor, by_name)[1]
        layer = _units(analysis, tensor, bias)
        if layer is not None:
            found.append(layer)
    return found


def looked_at(analysis: Analysis) -> Iterator[TensorInfo]:
    """Yield the matrices whose rows are units: no lookup tables, no norms, no adapters' halves."""
    parameters = [tensor for tensor in analysis.finite_tensors if tensor.kind == "parameter"]
    matrices = [tensor for tensor in parameters if len(tensor.shape) >= 2]
    halves = {name for pair in _pairs(parameters) for name in pair}
    for tensor in matrices:
        if tensor.name not in halves and role([tensor.name], tensor, matrices) is None:
            yield tensor


def _units(analysis: Analysis, tensor: TensorInfo, bias: TensorInfo | None) -> LayerUnits | None:
    """Return a matrix's units; ``None`` where it does not move, or rounding hides how."""
    scope = Scope("tensor", tensor.name)
    gram = analysis.gram(scope)
    if gram.units is None or analysis.motion(scope).rounding > ROUNDING:
        return None
    if isinstance(gram.units, UnitCounts):
        return _counted(tensor, gram.units)
    if gram.units.units < 2:
        return None
    own = None if bias is None else analysis.gram(Scope("tensor", bias.name)).units
    moves_late = _moving(gram.units, own, 1)
    if moves_late is None:
        return None
    moves_early = _moving(gram.units, own, 0)
    still = ~moves_late
    never = still & ~moves_early if moves_early is not None else np.zeros_like(still)
    return LayerUnits(
        tensor.name,
        len(still),
        int(still.sum()),
        int(never.sum()),
        tuple(int(unit) for unit in still.nonzero()[0][:_MOST_INDICES]),
    )


def _counted(tensor: TensorInfo, counts: UnitCounts) -> LayerUnits | None:
    """Return what a recorder counted; ``None`` where the layer as a whole stood still."""
    if counts.judged < 2:
        return None
    sampled = counts.judged not in tensor.shape
    return LayerUnits(tensor.name, counts.judged, counts.dead, counts.never, sampled=sampled)


def _moving(
    weights: UnitMoments, bias: UnitMoments | UnitCounts | None, span: int
) -> npt.NDArray[np.bool_] | None:
    """Return bool [units], which units move in a span; ``None`` where the whole layer does not."""
    turned = weights.turned(span)
    typical = _rms(turned)
    length = _rms(np.sqrt(weights.values[span, 2]))
    if not typical > MOVES * length:
        return None
    moving: npt.NDArray[np.bool_] = turned > STILL * typical
    if isinstance(bias, UnitMoments) and bias.units == weights.units:
        # By how much a bias changed beside what the same decay as of its weights would do.
        moved, along, square = bias.values[span]
        decay = weights.stretched(span)
        own = np.sqrt(np.maximum(moved - 2.0 * decay * along + decay**2 * square, 0.0))
        moving |= own > STILL * _rms(own)
    return moving


def _rms(values: Float64) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def adapters(analysis: Analysis) -> list[Adapter]:
    """Return the low-rank pairs of the network, in model order."""
    parameters = [tensor for tensor in analysis.finite_tensors if tensor.kind == "parameter"]
    found = []
    for first, second in _pairs(parameters):
        zero = {name: _always_zero(analysis, name) for name in (first, second)}
        moves = {
            name: analysis.gram(Scope("tensor", name)).path_length() > 0.0
            for name in (first, second)
        }
        named = next((name for name in (second, first) if zero[name]), None)
        trains = (moves[first] and not zero[second]) or (moves[second] and not zero[first])
        found.append(Adapter(first, second, named, trains))
    return found


def _always_zero(analysis: Analysis, name: str) -> bool:
    gram = analysis.gram(Scope("tensor", name))
    return gram.anchor_square == 0.0 and gram.path_length() == 0.0


def _pairs(parameters: Sequence[TensorInfo]) -> list[tuple[str, str]]:
    """Return the names of A and B of each adapter whose halves were both recorded."""
    names: Mapping[str, TensorInfo] = {tensor.name: tensor for tensor in parameters}
    found = []
    for name in names:
        for match in _LORA_A.finditer(name):
            letter = "B" if name[match.end() - 1] == "A" else "b"
            partner = name[: match.end() - 1] + letter + name[match.end() :]
            if partner in names:
                found.append((name, partner))
    return found
