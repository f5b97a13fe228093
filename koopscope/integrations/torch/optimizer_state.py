"""What becomes of an optimizer's state at a jump, and how it is put back."""

from __future__ import annotations

import copy
from typing import Any, Literal

from koopscope.integrations.torch.flat_rows import torch

OptimizerState = Literal["keep", "rescale", "clear"]

OPTIMIZER_STATES: tuple[OptimizerState, ...] = ("keep", "rescale", "clear")

#: Names of what points in the direction of training, in PyTorch's optimizers.
MOMENTA = ("momentum_buffer", "exp_avg")


class SavedState:
    """A copy of an optimizer's state by parameter, in memory that is used again.

    Parameters
    ----------
    optimizer
        A ``torch.optim.Optimizer``.
    """

    def __init__(self, optimizer: Any) -> None:
        self._optimizer = optimizer
        self._saved: dict[Any, Any] | None = None
        self._spare: dict[Any, Any] = {}

    def take(self, rule: OptimizerState) -> None:
        """Copy the state; what is to be cleared need not be copied."""
        state = self._optimizer.state
        if rule == "clear":
            self._saved = dict(state)
            return
        self._saved = {
            parameter: {
                name: _copied(value, self._spare.get(parameter, {}).get(name))
                for name, value in values.items()
            }
            for parameter, values in state.items()
        }

    def apply(self, rule: OptimizerState, slowdown: float) -> None:
        """Change the state as the rule says, after a jump to where training is slower."""
        if rule == "clear":
            self._optimizer.state.clear()
        elif rule == "rescale":
            found = [
                values[name]
                for values in self._optimizer.state.values()
                for name in MOMENTA
                if torch.is_tensor(values.get(name))
            ]
            if found:
                with torch.no_grad():
                    torch._foreach_mul_(found, slowdown)

    def put_back(self) -> None:
        """Give the optimizer the state that was taken."""
        if self._saved is not None:
            self._optimizer.state.clear()
            self._optimizer.state.update(self._saved)
            self._saved, self._spare = None, {}

    def forget(self) -> None:
        """Let the state stand; the memory is kept for the next copy."""
        self._spare, self._saved = self._saved or {}, None


def _copied(value: Any, spare: Any) -> Any:
    if not torch.is_tensor(value):
        return copy.deepcopy(value)
    if torch.is_tensor(spare) and _alike(value, spare):
        return spare.copy_(value)
    return value.detach().clone()


def _alike(value: Any, spare: Any) -> bool:
    return all(
        getattr(value, name) == getattr(spare, name) for name in ("shape", "dtype", "device")
    ) and bool(value.stride() == spare.stride())
