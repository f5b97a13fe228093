"""Fit the laws of a network's parts, from every moment that is forecast from.

A group of tensors shares a law, or, for node operators, the weights and the bias into one unit do.
Turns laws into coefficients of the increments in a block of weights; reads weights only for the
Gram matrices of nodes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from koopscope._types import Float64
from koopscope.forecasting.choices import Operator
from koopscope.forecasting.plan import ForecastPlan, ForecastSettings
from koopscope.runs.hdf5.slabs import positions
from koopscope.runs.nodes import outputs_of
from koopscope.runs.run import Run, TensorInfo
from koopscope.spectra.gram import SnapshotGram, total
from koopscope.spectra.heldout import held_out_damping
from koopscope.spectra.law_of_motion import Law, law_of_motion, laws_of_motion
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

#: Nodes whose laws are fitted in one stack.
_LAWS_AT_ONCE = 256


class BlockForecast(Protocol):
    """Carries the weights of one tensor on."""

    def displacement(self, increments: Float64, start: int, origin: int) -> Float64:
        """Return float64 [h, n] for the weights ``[start, start + n)``.

        ``increments`` are those of the window that ends at ``origin``, float64 [m, n].
        """


@dataclass(frozen=True)
class Growth:
    """How much of a forecast rests on modes that grow.

    Attributes
    ----------
    growing, everything
        Squared distances that growing modes, and all modes, carry the weights.
    factor
        The largest growth of one of them until the target.
    modes
        How many modes grow, however little.
    """

    growing: float = 0.0
    everything: float = 0.0
    factor: float = 1.0
    modes: int = 0

    @classmethod
    def of(cls, law: Law, horizon: float) -> Growth:
        """Return the growth of a law that is to be carried so far."""
        squares = law.contributions(horizon) ** 2
        factors = law.growth(horizon)
        growing = factors > GROWTH
        return cls(
            growing=float(squares[growing].sum()),
            everything=float(squares.sum()),
            factor=float(factors[growing].max(initial=1.0)),
            modes=int(np.count_nonzero(np.abs(law.eigenvalues) > 1.0)),
        )

    def __add__(self, other: Growth) -> Growth:
        """Return the growth of two forecasts of different weights together."""
        return Growth(
            self.growing + other.growing,
            self.everything + other.everything,
            max(self.factor, other.factor),
            self.modes + other.modes,
        )

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


@dataclass(frozen=True)
class LawGroup:
    """Tensors whose laws are fitted together.

    Attributes
    ----------
    tensors
        They share one law; with nodes, a layer's matrix and, where it has one, its bias.
    axis
        Of the nodes in the matrix; ``None`` where the group has one law.
    """

    tensors: tuple[TensorInfo, ...]
    axis: int | None = None


@dataclass(frozen=True)
class FittedGroup:
    """What carries the tensors of a group on, by name, and how much of that is growth."""

    carriers: Mapping[str, BlockForecast]
    growth: Growth


@dataclass(frozen=True)
class Laws:
    """Fits the laws of groups of tensors, from every moment that is forecast from."""

    run: Run
    plan: ForecastPlan
    settings: ForecastSettings
    horizons: Horizons
    grams: Mapping[str, SnapshotGram]

    def fitted(self, group: LawGroup) -> FittedGroup:
        """Fit a group; reads its weights only where it has nodes."""
        if group.axis is not None:
            return self._nodes(group.tensors, group.axis)
        gram = total(self.grams[tensor.name] for tensor in group.tensors)
        laws = {origin: self._law(gram, origin) for origin in self.horizons}
        shared = SharedLaw(
            {origin: law.coefficients(self.horizons[origin]) for origin, law in laws.items()}
        )
        carriers = {tensor.name: shared for tensor in group.tensors}
        return FittedGroup(carriers, self._growth(laws))

    def _nodes(self, tensors: Sequence[TensorInfo], axis: int) -> FittedGroup:
        """Fit the laws of a layer's nodes, for its matrix and for its bias."""
        matrix = tensors[0]
        axes = {tensor.name: 0 for tensor in tensors} | {matrix.name: axis}
        layer = total(self.grams[tensor.name] for tensor in tensors)
        dampings = {origin: self._damping(layer, origin) for origin in self.horizons}
        increments = len(self.plan.steps) - 1
        nodes = matrix.shape[axis]
        coefficients = {
            origin: np.empty((nodes, self.plan.fitted - 1, len(reaches)))
            for origin, reaches in self.horizons.items()
        }
        growth = Growth()
        at_once = max(1, _NODE_BYTES // (8 * increments**2))
        for first in range(0, nodes, at_once):
            chosen = range(first, min(first + at_once, nodes))
            products = np.zeros((len(chosen), increments, increments))
            for tensor in tensors:
                self._add_node_products(products, tensor, axes[tensor.name], chosen)
            grams = [SnapshotGram.of_increments(each, layer.size // nodes) for each in products]
            for begin in range(0, len(grams), _LAWS_AT_ONCE):
                some = grams[begin : begin + _LAWS_AT_ONCE]
                for origin, damping in dampings.items():
                    for indices, law in self._laws(some, origin, damping):
                        places = first + begin + np.array(indices)
                        coefficients[origin][places] = law.coefficients(self.horizons[origin])
                        growth += self._growth({origin: law})
        carriers = {
            tensor.name: NodeLaws(tensor.shape, axes[tensor.name], coefficients)
            for tensor in tensors
        }
        return FittedGroup(carriers, growth)

    def _growth(self, laws: Mapping[int, Law]) -> Growth:
        """Return the growth up to the target, from the last row on; none without a target."""
        if self.plan.target is None or self.plan.last not in laws:
            return Growth()
        return Growth.of(laws[self.plan.last], self.plan.horizon)

    def _law(self, gram: SnapshotGram, origin: int) -> Law:
        window = self.plan.window(origin)
        return law_of_motion(
            gram.window(window.start, window.stop),
            self.settings.observable,
            rank=self.settings.rank,
            delay=self.plan.delay,
            # The past is forecast as carefully as the future.
            allow_growth=self.settings.allow_growth,
        )

    def _laws(
        self, grams: Sequence[SnapshotGram], origin: int, damping: float | None
    ) -> Iterator[tuple[list[int], Law]]:
        """Fit the laws of nodes, together; see ``laws_of_motion``."""
        window = self.plan.window(origin)
        return laws_of_motion(
            [gram.window(window.start, window.stop) for gram in grams],
            self.settings.observable,
            rank=self.settings.rank,
            delay=self.plan.delay,
            damping=damping,
            # The past is forecast as carefully as the future.
            allow_growth=self.settings.allow_growth,
        )

    def _damping(self, gram: SnapshotGram, origin: int) -> float | None:
        """Return what suits a layer as a whole: its nodes have too little to tell by themselves."""
        if self.settings.rank != AUTO or self.settings.observable != "increments":
            return None
        window = self.plan.window(origin)
        recent = gram.window(window.start, window.stop)
        return held_out_damping(Series.of(recent, "increments", self.plan.delay))

    def _add_node_products(
        self, products: Float64, tensor: TensorInfo, axis: int, chosen: range
    ) -> None:
        rows = slice(self.plan.first, self.plan.stop)
        for block in self.run.blocks([tensor]):
            increments = np.diff(block.values[rows].astype(np.float64), axis=0)
            for node, columns in by_node(tensor.shape, axis, block.start, block.stop):
                if node in chosen:
                    part = increments[:, columns]
                    products[node - chosen.start] += part @ part.T


def by_node(
    shape: tuple[int, ...], axis: int, start: int, stop: int
) -> Iterator[tuple[int, npt.NDArray[np.intp]]]:
    """Yield each node of a flattened range, and intp [its weights]: their places in the range."""
    owners = positions(shape, axis, start, stop)
    order = np.argsort(owners, kind="stable")
    cuts = np.flatnonzero(np.diff(owners[order])) + 1
    for columns in np.split(order, cuts):
        yield int(owners[columns[0]]), columns


def law_groups(tensors: Sequence[TensorInfo], operator: Operator) -> tuple[LawGroup, ...]:
    """Return which tensors are fitted together, in the order of their first tensors."""
    if operator == "node":
        return _node_groups(tensors)
    groups: dict[str, list[TensorInfo]] = {}
    for tensor in tensors:
        key = {"network": "", "layer": tensor.layer, "tensor": tensor.name}[operator]
        groups.setdefault(key, []).append(tensor)
    return tuple(LawGroup(tuple(members)) for members in groups.values())


def _node_groups(tensors: Sequence[TensorInfo]) -> tuple[LawGroup, ...]:
    """A bias shares the laws of its layer's nodes; what has no nodes has a law of its own."""
    layers: dict[str, LawGroup] = {}
    for tensor in tensors:
        if len(tensor.shape) >= 2:
            axis, bias = outputs_of(tensor, tensors)
            if bias is None or bias.name in layers:
                layers[tensor.name] = LawGroup((tensor,), axis)
            else:
                layers[tensor.name] = layers[bias.name] = LawGroup((tensor, bias), axis)
    groups = (layers.get(tensor.name, LawGroup((tensor,))) for tensor in tensors)
    return tuple(dict.fromkeys(groups))
