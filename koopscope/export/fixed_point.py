"""The predicted fixed point as arrays: a second pass over the iterates, written block by block."""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike

import numpy as np

from koopscope._types import Float64
from koopscope.analysis.analysis import Analysis
from koopscope.errors import KoopscopeError
from koopscope.export.arrays import Part, RunArrays
from koopscope.runs.arrays.spec import ArraySpec
from koopscope.runs.run import Run
from koopscope.spectra.iterates.contraction import Contraction


def write_fixed_point(
    run: Run,
    analysis: Analysis,
    contraction: Contraction,
    path: str | PathLike[str],
    *,
    force: bool = False,
) -> None:
    """Write x* = x_last + sum_t c_t (x_{t+1} - x_t), keyed by the tensors' names.

    Raises
    ------
    KoopscopeError
        If there is no fixed point ahead, or the file cannot be written.
    """
    fixed = contraction.fixed
    description = analysis.description
    if not np.isfinite(fixed.distances).all():
        raise KoopscopeError(
            f"the iterates of {description.path} drift: there is no fixed point to write",
            "leave --fixed-point out",
        )
    weights = np.zeros(description.snapshots)
    first, last = analysis.window.first, analysis.window.first + fixed.usable - 1
    weights[last] = 1.0
    weights[first + 1 : last + 1] += fixed.combination
    weights[first:last] -= fixed.combination
    states = [tensor for tensor in analysis.finite_tensors if tensor.kind == "state"]
    specs = {tensor.name: ArraySpec(tensor.shape, str(run.read_dtype(tensor))) for tensor in states}
    facts = {"predicted_from_step": str(int(description.steps[last]))}

    def parts() -> Iterator[Part]:
        for block in run.blocks(states):
            name = block.tensor.name
            wide = np.result_type(block.values.dtype, np.float64)
            values: Float64 = np.nan_to_num(block.values.astype(wide)).T @ weights
            yield name, values.astype(specs[name].words)

    RunArrays(description, specs, facts).write(path, parts(), force=force)
