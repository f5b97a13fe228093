"""Asks the user's function how good the weights are, and leaves everything else as it was.

Random numbers, buffers such as running means, modes and gradients are put back after each question,
so that every candidate is judged by the same draw. Ranks of one training hear the same answer.
"""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from koopscope.errors import KoopscopeError
from koopscope.integrations.torch.flat_rows import torch

#: A loss that differs by more than this, relative to itself, when it is asked for twice in a row
#: cannot tell candidates apart.
REPEATABLE = 1e-3


class Judge:
    """Returns the loss of a model's weights as they are.

    Parameters
    ----------
    model
        The module.
    evaluate
        Returns the loss on one or a few minibatches; called without arguments.

    Attributes
    ----------
    questions
        How often it was asked.
    """

    def __init__(self, model: Any, evaluate: Callable[[], Any]) -> None:
        self._model, self._evaluate = model, evaluate
        self.questions = 0
        self.error: Exception | None = None
        self._known_repeatable = False

    def first_loss(self, possible: bool = True) -> float:
        """Return the loss of the weights as they are; NaN where it cannot be had twice the same.

        Raises
        ------
        KoopscopeError
            If the function answers differently when it is asked again: every rank raises it.
        """
        found = self.loss(possible)
        if self._known_repeatable or not math.isfinite(found):
            return found
        again = self.loss(possible)
        if not abs(again - found) <= REPEATABLE * abs(found):
            raise KoopscopeError(
                f"evaluate returned {found:.6g} and then {again:.6g} for the same weights",
                "let it use the same minibatches for every call within one after_epoch",
            )
        self._known_repeatable = True
        return found

    def loss(self, possible: bool = True) -> float:
        """Return the loss, the mean over ranks; NaN where the function fails on any of them.

        Parameters
        ----------
        possible
            Whether there is anything to judge here; otherwise the answer is NaN, on all ranks.
        """
        if not possible:
            return agreed_mean(math.nan, self._model)
        self.questions += 1
        try:
            with torch.no_grad(), undisturbed(self._model):
                found = number(self._evaluate())
        except Exception as error:  # the other ranks wait for this one's answer
            self.error = error
            found = math.nan
        return agreed_mean(math.nan if found is None else found, self._model)


@contextmanager
def undisturbed(model: Any) -> Iterator[None]:
    """Put back random numbers, buffers and modes at the end."""
    modes = [(module, module.training) for module in model.modules()]
    buffers = [(buffer, buffer.detach().clone()) for buffer in model.buffers()]
    torch_state, numpy_state, python_state = (
        torch.get_rng_state(),
        np.random.get_state(),
        random.getstate(),
    )
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else None
    try:
        yield
    finally:
        torch.set_rng_state(torch_state)
        np.random.set_state(numpy_state)
        random.setstate(python_state)
        if devices is not None:
            torch.cuda.set_rng_state_all(devices)
        with torch.no_grad():
            for buffer, values in buffers:
                buffer.copy_(values)
        for module, training in modes:
            module.training = training


def agreed_mean(value: float, model: Any) -> float:
    """Return the mean over the ranks that train together, the same on each; all have to ask."""
    distributed = together()
    if distributed is None:
        return value
    device = next(model.parameters()).device
    dtype = torch.float32 if device.type == "mps" else torch.float64
    total = torch.tensor([value], dtype=dtype, device=device)
    distributed.all_reduce(total)
    return float(total) / int(distributed.get_world_size())


def together() -> Any:
    """Return ``torch.distributed`` where several ranks train together, or ``None``."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return None
    return distributed if distributed.get_world_size() > 1 else None


def number(loss: Any) -> float | None:
    """Return a loss as a number; ``None`` where there is none."""
    return None if loss is None else float(loss.detach() if hasattr(loss, "detach") else loss)
