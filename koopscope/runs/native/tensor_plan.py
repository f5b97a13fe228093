"""Decide from the first snapshot which tensors are recorded and how; hold later values to that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from koopscope.errors import KoopscopeError
from koopscope.runs.dtypes import LeftOutError, StoredArray, as_stored, weights_left_out
from koopscope.runs.names import is_running_count
from koopscope.runs.native.storable import StorableNames
from koopscope.runs.run import Skipped
from koopscope.runs.sketching.sketcher import Sketched

#: Tensors that a warning names.
_LISTED = 5


@dataclass(frozen=True)
class TensorPlan:
    """How one tensor is recorded: decided by the first snapshot, then fixed."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    kind: str = "parameter"

    @classmethod
    def of(
        cls, name: str, stored: StoredArray | Sketched, kinds: Mapping[str, Sequence[str]]
    ) -> TensorPlan:
        """Plan a tensor from its first value; ``kinds`` has globs of names for each kind."""
        matching = (
            kind for kind, globs in kinds.items() if any(fnmatchcase(name, glob) for glob in globs)
        )
        shape = stored.shape if isinstance(stored, Sketched) else stored.words.shape
        return cls(name, shape, stored.dtype, next(matching, "parameter"))

    def fitted(self, value: Any) -> StoredArray:
        """Return a later value of the tensor in the dtype of its record.

        Raises
        ------
        LeftOutError
            If it is of another shape, or no tensor that could be recorded there.
        """
        try:
            stored = as_stored(value)
        except LeftOutError as error:
            raise LeftOutError(f"is {error.reason}") from None
        if stored.dtype.startswith("complex") and not self.dtype.startswith("complex"):
            raise LeftOutError(f"is {stored.dtype} where it was {self.dtype}")
        if stored.words.shape != self.shape:
            raise LeftOutError(
                f"has shape {list(stored.words.shape)} instead of {list(self.shape)}"
            )
        return stored.cast(self.dtype)


def planned(
    tensors: Mapping[str, Any], kinds: Mapping[str, Sequence[str]]
) -> tuple[list[TensorPlan], list[Skipped]]:
    """Return how the tensors of a first snapshot are recorded, and which are left out.

    Parameters
    ----------
    tensors
        Values of any framework by name.
    kinds
        Globs of names for each kind of tensor.

    Raises
    ------
    KoopscopeError
        If there is none to record.
    """
    plans: list[TensorPlan] = []
    skipped: list[Skipped] = []
    taken = StorableNames()
    for name, value in tensors.items():
        try:
            stored = value if isinstance(value, Sketched) else as_stored(value)
            problem = taken.problem(name)
        except LeftOutError as error:
            problem = error.reason
        if problem:
            skipped.append(Skipped(name, problem, weights_left_out(name, value)))
        else:
            plans.append(TensorPlan.of(name, stored, kinds))
            taken.add(name)
    if not plans:
        first = f"first of them: {skipped[0].name} is {skipped[0].reason}" if skipped else ""
        raise KoopscopeError(
            f"none of the {len(tensors)} values given is a tensor of floats",
            first or "pass the model's weights",
        )
    return plans, skipped


def listing_of(skipped: Sequence[Skipped]) -> str:
    """Return the first of what was left out, with reasons, for a sentence; counts are not named."""
    missed = [left for left in skipped if not is_running_count(left.name)]
    listed = "; ".join(f"{left.name}: {left.reason}" for left in missed[:_LISTED])
    return listed + (f"; and {len(missed) - _LISTED} more" if len(missed) > _LISTED else "")
