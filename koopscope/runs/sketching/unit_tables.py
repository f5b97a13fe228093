"""Where the sampled units of each matrix lie in the parts that this process holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from koopscope.runs.nodes import outputs_among
from koopscope.runs.run import TensorInfo
from koopscope.runs.sketching.boxes import Box
from koopscope.runs.sketching.unit_motion import UnitHistory, UnitSample


@dataclass(frozen=True)
class UnitTable:
    """The sampled units of a matrix: where they lie in each part, their bias, and their past."""

    name: str
    bias: str | None
    shapes: tuple[tuple[int, ...], ...]
    samples: tuple[UnitSample, ...]
    bias_samples: tuple[UnitSample, ...]
    history: UnitHistory

    def fits(self, boxes: Mapping[str, Sequence[Box]]) -> bool:
        """Return whether the tensors are still those that the table was made for."""
        bias = [] if self.bias is None else boxes.get(self.bias, [])
        shapes = [box.own_shape for box in (*boxes.get(self.name, []), *bias)]
        return shapes == list(self.shapes)

    def counts(self, boxes: Mapping[str, Sequence[Box]]) -> tuple[float, float, float]:
        """Return how many units are judged, dead, and always were."""
        weights = np.concatenate(
            [
                box.numbers(sample.places).reshape(sample.units, sample.inputs)
                for box, sample in zip(boxes[self.name], self.samples, strict=True)
            ]
        )
        if self.bias is None:
            return self.history.add(weights, None)
        bias = [
            box.numbers(sample.places)
            for box, sample in zip(boxes[self.bias], self.bias_samples, strict=True)
        ]
        return self.history.add(weights, np.concatenate(bias))


def unit_tables(
    boxes: Mapping[str, Sequence[Box]], signs: npt.NDArray[np.float32]
) -> dict[str, UnitTable]:
    """Return the tables of all matrices of real numbers, by name."""
    known = {name: TensorInfo(name, box[0].shape, box[0].dtype) for name, box in boxes.items()}
    tables = {}
    for name, info in known.items():
        if len(info.shape) < 2 or info.is_complex or not info.size:
            continue
        axis, bias = outputs_among(info, known)
        own = [box.own_shape for box in boxes[name]]
        samples = tuple(UnitSample.of(shape, axis) for shape in own)
        if len({sample.inputs for sample in samples}) != 1:
            continue
        beside = [] if bias is None else [box.own_shape for box in boxes[bias.name]]
        if [(shape[axis],) for shape in own] != beside or (bias and bias.is_complex):
            bias, beside = None, []
        tables[name] = UnitTable(
            name,
            None if bias is None else bias.name,
            (*own, *beside),
            samples,
            tuple(UnitSample.of(shape, 0) for shape in beside),
            UnitHistory(signs, samples[0].inputs),
        )
    return tables
