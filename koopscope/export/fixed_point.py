"""The predicted fixed point as arrays: one more pass over the iterates, written block by block."""

from __future__ import annotations

from os import PathLike

import numpy as np

from koopscope.analysis.analysis import Analysis
from koopscope.errors import KoopscopeError
from koopscope.runs.arrays.writing import ArraySpec, array_writer
from koopscope.runs.run import Run
from koopscope.spectra.iterates.contraction import Contraction


def write_fixed_point(
    run: Run,
    analysis: Analysis,
    found: Contraction,
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
    fixed = found.fixed
    if not np.isfinite(fixed.distances).all():
        raise KoopscopeError(
            f"the iterates of {analysis.description.path} drift: there is no fixed point to write",
            "leave --fixed-point out",
        )
    weights = np.zeros(analysis.description.snapshots)
    first, last = analysis.window.first, analysis.window.first + fixed.usable - 1
    weights[last] = 1.0
    weights[first + 1 : last + 1] += fixed.combination
    weights[first:last] -= fixed.combination
    states = [tensor for tensor in analysis.finite_tensors if tensor.kind == "state"]
    specs = {tensor.name: ArraySpec(tensor.shape, str(run.read_dtype(tensor))) for tensor in states}
    with array_writer(path, specs, force=force) as out:
        for block in run.blocks(states):
            values = np.nan_to_num(block.values.astype(np.float64)).T @ weights
            out.append(block.tensor.name, values.astype(specs[block.tensor.name].words))
