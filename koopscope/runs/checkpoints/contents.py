"""Sort what lies in one checkpoint file: weights, the step, metrics, and what is none of these.

One rule for every kind of file that holds named arrays. Reads single numbers only where their names
say that they number or describe the snapshot.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from koopscope.errors import KoopscopeError
from koopscope.runs.checkpoints.snapshot import Snapshot, TensorReader
from koopscope.runs.dtypes import unread_weights, values_problem
from koopscope.runs.names import (
    COUNTERS,
    Unit,
    conventional,
    counter_of,
    counter_rank,
    is_metric,
    leaf_of,
    not_a_weight,
    usual_kind,
)
from koopscope.runs.run import Skipped, TensorInfo

#: Groups in which programs keep what is not a weight.
_BESIDE = ("metrics/", "meta/", "metadata/", "info/")


class Contents:
    """What was found in one checkpoint, entry by entry.

    Parameters
    ----------
    path
        The file, or the part of one.

    Attributes
    ----------
    tensors, skipped, metrics
        As in ``Snapshot``.
    step, unit
        What a number in the file counts; ``None`` without one.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self.tensors: list[TensorInfo] = []
        self.skipped: list[Skipped] = []
        self.metrics: dict[str, float] = {}
        self.step: int | None = None
        self.unit: Unit = "step"
        self._counter = len(COUNTERS)
        self._unwanted = 0

    def add(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: str,
        number: Callable[[], float] | None,
    ) -> TensorInfo | None:
        """Take in an entry; return it as a tensor if it is a weight.

        Parameters
        ----------
        name, shape, dtype
            As the file has them, the name without wrappers.
        number
            Reads the value of an entry with one element; ``None`` if it is no number.
        """
        size = math.prod(shape)
        if size == 1 and number is not None and self._is_number_beside(name, number):
            return None
        problem, reason = values_problem(dtype, shape), not_a_weight(name)
        if problem:
            self.leave_out(name, problem, unread_weights(name, shape, dtype))
        elif reason:
            self.leave_out(name, reason)
            self._unwanted += 0 if "optimizer" in reason else size
        else:
            tensor = TensorInfo(name, shape, dtype, usual_kind(name))
            self.tensors.append(tensor)
            return tensor
        return None

    def leave_out(self, name: str, reason: str, weights: int | None = 0) -> None:
        """Note what is not part of the trajectory; ``weights`` as in ``Skipped``."""
        self.skipped.append(Skipped(name, reason, weights))

    def snapshot(
        self,
        kind: str,
        open: Callable[[], TensorReader],
        step: tuple[int | None, Unit] = (None, "step"),
    ) -> Snapshot:
        """Return the file as a snapshot.

        Parameters
        ----------
        kind, open
            See ``Snapshot``.
        step
            What the file says beside its entries; it comes before what they say.

        Raises
        ------
        KoopscopeError
            If more weights were left out by their names than are left.
        """
        self._check()
        said, unit = (self.step, self.unit) if step[0] is None else step
        return Snapshot(
            path=self._path,
            kind=kind,
            tensors=tuple(self.tensors),
            open=open,
            step=said,
            unit=unit,
            metrics=self.metrics,
            skipped=tuple(self.skipped),
        )

    def _check(self) -> None:
        """Make sure that the names did not drop most of the network."""
        kept = sum(tensor.size for tensor in self.tensors)
        if self._unwanted > kept:
            named = next(skip for skip in self.skipped if "not a weight" in skip.reason)
            raise KoopscopeError(
                f"{self._path} holds {kept:,} weights beside {self._unwanted:,} values that are "
                f"none by their names, such as {named.name}: {named.reason}",
                "save the weights under other names if these are weights",
            )

    def _is_number_beside(self, name: str, number: Callable[[], float]) -> bool:
        bare = name
        for group in _BESIDE:
            bare = bare.removeprefix(group)
        unit = counter_of(bare)
        if unit is not None:
            value = number()
            rank = counter_rank(bare)
            if math.isfinite(value) and value == int(value) and rank < self._counter:
                self.step, self.unit, self._counter = int(value), unit, rank
            return True
        if is_metric(leaf_of(bare)):
            self.metrics[conventional(bare)] = number()
            return True
        return False
