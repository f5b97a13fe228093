"""Which tensors a pass looks at unit by unit, and along which of their axes."""

from __future__ import annotations

from koopscope.runs.nodes import outputs_among
from koopscope.runs.run import RunDescription, TensorInfo
from koopscope.spectra.units import MOST_UNITS, UnitAxis


class UnitAxes:
    """Tells of every tensor of a run which of its axes numbers the units, the same everywhere.

    Parameters
    ----------
    description
        Of the whole run: whether a matrix is stored by rows or by columns shows in its bias.
    """

    def __init__(self, description: RunDescription) -> None:
        self._by_name = {tensor.name: tensor for tensor in description.tensors}

    def __call__(self, tensor: TensorInfo) -> UnitAxis | None:
        """Return the axis; ``None`` where the tensor is no real parameter or has too many units."""
        if tensor.kind != "parameter" or tensor.is_complex or not tensor.shape or not tensor.size:
            return None
        axis = outputs_among(tensor, self._by_name)[0] if len(tensor.shape) > 1 else 0
        return UnitAxis(tensor.shape, axis) if tensor.shape[axis] <= MOST_UNITS else None
