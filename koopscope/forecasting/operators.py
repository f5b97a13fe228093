"""The laws of a network's parts, from every moment that is forecast from.

What shares a law is a group of tensors, or, for node operators, the weights and the bias into one
unit. Knows how coefficients reach a block of weights; reads weights only for the Gram matrices of
nodes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from koopscope._types import Float64
from koopscope.forecasting.plan import ForecastSettings, Outlook
from koopscope.runs.hdf5.slabs import positions
from koopscope.runs.nodes import outputs_of
from koopscope.runs.run import Run, TensorInfo
from koopscope.spectra.forecast import Law, law_of_motion
from koopscope.spectra.gram import SnapshotGram, total
from koopscope.spectra.heldout import held_out_damping
from koopscope.spectra.rank import AUTO
from koopscope.spectra.series import Series

#: Row intervals asked of each origin: where a forecast starts, and how far it goes.
Horizons = Mapping[int, Sequence[float]]

#: A mode that grows by more than this within the horizon is growth, not the scatter of a fit ...
GROWTH = 2.0

#: ... where it makes up at least this part of what is forecast.
_GROWTH_SHARE = 0.01

#: Bytes of the Gram matrices of nodes that are held at once.
_NODE_BYTES = 64 * 2**20


class BlockForecast(Protocol):
    """Carries the weights of one tensor on."""

    def displacement(self, increments: Float64, start: int, origin: int) -> Float64:
        """Return float64 [h, n] for the weights ``[start, start + n)``.

        ``increments`` are those of the window that ends at ``origin``, float64 [m, n].
        """


@dataclass
class Growth:
    """How much of a forecast rests on modes that grow."""

    growing: float = 0.0
    everything: float = 0.0
    factor: float = 1.0
    modes: int = 0

    def count(self, law: Law, horizon: float) -> None:
        """Add a law that is to be carried so far."""
        squares = law.contributions(horizon) ** 2
        factors = law.growth(horizon)
        growing = factors > GROWTH
        self.everything += float(squares.sum())
        self.growing += float(squares[growing].sum())
        self.modes += int(np.count_nonzero(np.abs(law.eigenvalues) > 1.0))
        self.factor = max(self.factor, float(factors[growing].max(initial=1.0)))

    @property
    def matters(self) -> bool:
        """Whether what is forecast rests on growth."""
        return self.growing > _GROWTH_SHARE * self.everything > 0.0


@dataclass(frozen=True)
class SharedLaw:
    """One law for all weights of some tensors; coefficients float64 [m, h] by origin."""

    coefficients: Mapping[int, Float64]

    def displacement(self, increments: Float64, start: int, origin: int) -> Float64:
        """See ``BlockForecast``."""
        moved: Float64 = self.coefficients[origin].T @ increments
        return moved


@dataclass(frozen=True)
class NodeLaws:
    """A law per node of one tensor; coefficients float64 [nodes, m, h] by origin."""

    shape: tuple[int, ...]
    axis: int
    coefficients: Mapping[int, Float64]

    def displacement(self, increments: Float64, start: int, origin: int) -> Float64:
        """See ``BlockForecast``."""
        coefficients = self.coefficients[origin]
        width = increments.shape[1]
        moved = np.empty((coefficients.shape[2], width))
        for node, columns in by_node(self.shape, self.axis, start, start + width):
            moved[:, columns] = coefficients[node].T @ increments[:, columns]
        return moved


@dataclass
class Laws:
    """Every law of a forecast, made as it is needed; see ``fit_laws``.

    Attributes
    ----------
    growth
        Of the laws made so far, from the last row on.
    """

    run: Run
    seen: Outlook
    settings: ForecastSettings
    horizons: Horizons
    grams: Mapping[str, SnapshotGram]
    growth: Growth = field(default_factory=Growth)

    def of_group(self, tensors: Sequence[TensorInfo]) -> SharedLaw:
        """Return the one law of some tensors, at every origin."""
        gram = total(self.grams[tensor.name] for tensor in tensors)
        return SharedLaw({origin: self._carried(gram, origin) for origin in self.horizons})

    def of_nodes(self, tensor: TensorInfo, axis: int, bias: TensorInfo | None) -> list[NodeLaws]:
        """Return the laws of a layer's nodes, for its tensor and for its bias."""
        members = [(tensor, axis), *([(bias, 0)] if bias is not None else [])]
        layer = total(self.grams[member.name] for member, _ in members)
        dampings = {origin: self._damping(layer, origin) for origin in self.horizons}
        increments = len(self.seen.steps) - 1
        nodes = tensor.shape[axis]
        found = {
            origin: np.empty((nodes, self.seen.fitted - 1, len(reaches)))
            for origin, reaches in self.horizons.items()
        }
        at_once = max(1, _NODE_BYTES // (8 * increments**2))
        for first in range(0, nodes, at_once):
            chosen = range(first, min(first + at_once, nodes))
            products = np.zeros((len(chosen), increments, increments))
            for member, its_axis in members:
                self._add_node_products(products, member, its_axis, chosen)
            for node, matrix in zip(chosen, products, strict=True):
                gram = SnapshotGram.of_increments(matrix, layer.size // nodes)
                for origin, damping in dampings.items():
                    found[origin][node] = self._carried(gram, origin, damping)
        return [NodeLaws(member.shape, its_axis, found) for member, its_axis in members]

    def _carried(self, gram: SnapshotGram, origin: int, damping: float | None = None) -> Float64:
        law = self._law(gram, origin, damping)
        if origin == self.seen.last and self.seen.target is not None:
            self.growth.count(law, self.seen.horizon)
        return law.coefficients(self.horizons[origin])

    def _law(self, gram: SnapshotGram, origin: int, damping: float | None) -> Law:
        window = self.seen.window(origin)
        return law_of_motion(
            gram.window(window.start, window.stop),
            self.settings.observable,
            rank=self.settings.rank,
            delay=self.seen.delay,
            damping=damping,
            # The past is forecast as carefully as the future.
            allow_growth=self.settings.allow_growth,
        )

    def _damping(self, gram: SnapshotGram, origin: int) -> float | None:
        """Return what suits a layer as a whole: its nodes have too little to tell by themselves."""
        if self.settings.rank != AUTO or self.settings.observable != "increments":
            return None
        window = self.seen.window(origin)
        recent = gram.window(window.start, window.stop)
        return held_out_damping(Series.of(recent, "increments", self.seen.delay))

    def _add_node_products(
        self, products: Float64, tensor: TensorInfo, axis: int, chosen: range
    ) -> None:
        rows = slice(self.seen.first, self.seen.stop)
        for block in self.run.blocks([tensor]):
            increments = np.diff(block.values[rows].astype(np.float64), axis=0)
            for node, columns in by_node(tensor.shape, axis, block.start, block.stop):
                if node in chosen:
                    part = increments[:, columns]
                    products[node - chosen.start] += part @ part.T


def by_node(
    shape: tuple[int, ...], axis: int, start: int, stop: int
) -> Iterator[tuple[int, npt.NDArray[np.intp]]]:
    """Yield each node with weights in the flattened range, and their places in that range."""
    owners = positions(shape, axis, start, stop)
    order = np.argsort(owners, kind="stable")
    cuts = np.flatnonzero(np.diff(owners[order])) + 1
    for columns in np.split(order, cuts):
        yield int(owners[columns[0]]), columns


def fit_laws(
    laws: Laws, tensors: Sequence[TensorInfo]
) -> Iterator[tuple[TensorInfo, BlockForecast]]:
    """Return every tensor with what carries it on, in model order.

    The laws of nodes are fitted one layer at a time, as they are asked for; those of larger groups
    at once.
    """
    operator = laws.settings.operator
    if operator == "node":
        return _node_by_node(laws, tensors)
    groups: dict[str, list[TensorInfo]] = {}
    for tensor in tensors:
        groups.setdefault(_group(tensor, operator), []).append(tensor)
    shared = {key: laws.of_group(members) for key, members in groups.items()}
    return ((tensor, shared[_group(tensor, operator)]) for tensor in tensors)


def _group(tensor: TensorInfo, operator: str) -> str:
    return {"network": "", "layer": tensor.layer, "tensor": tensor.name}[operator]


def _node_by_node(
    laws: Laws, tensors: Sequence[TensorInfo]
) -> Iterator[tuple[TensorInfo, BlockForecast]]:
    """A bias shares the laws of its layer's nodes; what has no nodes has a law of its own."""
    layers: dict[str, tuple[TensorInfo, int, TensorInfo | None]] = {}
    for tensor in tensors:
        if len(tensor.shape) >= 2:
            axis, bias = outputs_of(tensor, tensors)
            if bias is not None and bias.name in layers:
                bias = None
            layers[tensor.name] = (tensor, axis, bias)
            if bias is not None:
                layers[bias.name] = layers[tensor.name]
    fitted: dict[str, NodeLaws] = {}
    for tensor in tensors:
        if tensor.name not in layers:
            yield tensor, laws.of_group([tensor])
            continue
        if tensor.name not in fitted:
            matrix, axis, bias = layers[tensor.name]
            found = laws.of_nodes(matrix, axis, bias)
            fitted |= zip([matrix.name, *([bias.name] if bias else [])], found, strict=True)
        yield tensor, fitted.pop(tensor.name)
