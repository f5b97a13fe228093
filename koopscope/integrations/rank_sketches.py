"""Sketches of a model that is spread over processes: each sketches its part, and the parts add up.

No weight travels: rank 0 gets a few hundred numbers a tensor from every other. Must never leave
the other ranks waiting, whatever happens on one of them.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from koopscope import messages
from koopscope.errors import KoopscopeError
from koopscope.runs.sketches import SketchInfo
from koopscope.runs.sketching.sketcher import Sketched, Sketcher, summed
from koopscope.runs.sketching.spread import parts_of

#: What a rank sends: its sketches, or why there are none.
_Message = dict[str, Sketched] | str


class RankSketches:
    """This rank's sketches, and on rank 0 the sums of all.

    Parameters
    ----------
    info
        How to sketch, the same on every rank.
    rank
        Of this process.
    """

    def __init__(self, info: SketchInfo, rank: int) -> None:
        self._sketcher = Sketcher(info)
        self._rank = rank
        self._warned = False

    def summed(self, tensors: Mapping[str, Any], spread: Sequence[str]) -> dict[str, Sketched]:
        """Return the whole tensors' sketches on rank 0, nothing on the others; all must call it.

        Parameters
        ----------
        tensors
            The model's, on this rank.
        spread
            Names of those that are spread; what every rank holds alike is taken from rank 0.

        Raises
        ------
        KoopscopeError
            If a tensor is spread in a way that is not known, on every rank alike.
        """
        named = set(spread)
        held = {n: value for n, value in tensors.items() if n in named or self._rank == 0}
        for value in held.values():
            parts_of(value)  # what no rank can sketch is said before any of them waits
        try:
            measured = self._sketcher.measured(held)
            message: _Message = {
                name: value for name, value in measured.items() if isinstance(value, Sketched)
            }
        except Exception as error:  # the others wait for this rank's message
            message = f"{type(error).__name__}: {error}"
        received = _gathered(message)
        failed = next((each for each in received if isinstance(each, str)), None)
        if failed is not None:
            if not self._warned:
                self._warned = True
                messages.warn(f"a snapshot was not recorded: one rank could not sketch: {failed}")
            return {}
        return summed([each for each in received if isinstance(each, dict)])


def _gathered(message: _Message) -> list[_Message]:
    """Return every rank's message on rank 0, none on the others."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        raise KoopscopeError(
            "tensors are spread over processes, and torch.distributed is not initialized",
            "let every rank record its own file, and analyse them with --shards",
        )
    received: list[Any] = [None] * distributed.get_world_size()
    is_first = distributed.get_rank() == 0
    distributed.gather_object(message, received if is_first else None, dst=0)
    return received if is_first else []
