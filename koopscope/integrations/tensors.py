"""Named tensors of a model, whatever framework it is of, and the part of them that a rank holds.

Recognises models by what they can do and imports no framework. It never copies a weight.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from koopscope.errors import KoopscopeError
from koopscope.runs.names import TensorFilter, plain_names

#: What records a rank's own part of a tensor that is spread over several.
_PART = "{name}[{rank}]"


class TensorSelection:
    """The tensors of one model that are recorded, settled at the first look; tied ones once.

    A model is a PyTorch module, a Keras model, a state dict, or nested mappings such as JAX
    parameters. Sorting out names takes longer than copying a small network, so it is done again
    only when the model's own names change.

    Parameters
    ----------
    include, exclude
        Globs: tensors matched by any of ``include`` (all, if none) and none of ``exclude``.
    """

    def __init__(self, include: Sequence[str], exclude: Sequence[str]) -> None:
        self._wanted = TensorFilter(tuple(include), tuple(exclude))
        self._names: tuple[str, ...] = ()
        self._chosen: dict[str, str] = {}

    def of(self, model: Any) -> dict[str, Any]:
        """Return the chosen tensors by name.

        Raises
        ------
        KoopscopeError
            If the model has no named tensors, or none is chosen.
        """
        flat = _flat_tensors(model)
        names = tuple(flat)
        if names != self._names:
            self._chosen = {
                name: shown for name, shown in _distinct(flat).items() if self._wanted(shown)
            }
            self._names = names
        if not self._chosen:
            raise KoopscopeError(
                "no tensor of the model is left to record", "check include and exclude"
            )
        return {shown: flat[name] for name, shown in self._chosen.items()}


def local_parts(tensors: Mapping[str, Any], rank: int, *, whole: bool) -> dict[str, Any]:
    """Return what this rank has to record of tensors that are spread over ranks.

    Each part is named ``weight[rank]``. What every rank holds alike is recorded by rank 0 alone.

    Parameters
    ----------
    tensors
        PyTorch's distributed tensors among others.
    rank
        Of this process.
    whole
        Whether plain tensors are copies of the same; otherwise each is a part of its own.
    """
    parts: dict[str, Any] = {}
    for name, value in tensors.items():
        if hasattr(value, "to_local") and hasattr(value, "placements"):
            coordinate = value.device_mesh.get_coordinate() or ()
            mesh = zip(value.placements, coordinate, strict=True)
            if all(where == 0 for placement, where in mesh if placement.is_replicate()):
                parts[_PART.format(name=name, rank=rank)] = value.to_local()
        elif hasattr(value, "local_shards"):
            for shard in value.local_shards():
                parts[_PART.format(name=name, rank=rank)] = shard.tensor
        elif not whole:
            parts[_PART.format(name=name, rank=rank)] = value
        elif rank == 0:
            parts[name] = value
    return parts


def spread_over_ranks(tensors: Mapping[str, Any]) -> list[str]:
    """Return the names of the tensors of which this rank holds only a part."""
    return [
        name
        for name, value in tensors.items()
        if hasattr(value, "local_shards")
        or (hasattr(value, "to_local") and hasattr(value, "placements"))
    ]


def current_rank() -> int:
    """Return the number of this process among those that train together, 0 if it is alone."""
    return _place_in_world("get_rank", "RANK", "process_index", 0)


def rank_count() -> int:
    """Return how many processes train together."""
    return _place_in_world("get_world_size", "WORLD_SIZE", "process_count", 1)


def agreed(decision: Any) -> Any:
    """Return rank 0's decision on every rank; all of them must ask."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return decision
    decisions = [decision]
    distributed.broadcast_object_list(decisions, src=0)
    return decisions[0]


def _place_in_world(of_torch: str, variable: str, of_jax: str, alone: int) -> int:
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        return int(getattr(distributed, of_torch)())
    if os.environ.get(variable, "").isdecimal():
        return int(os.environ[variable])
    jax = sys.modules.get("jax")
    return int(getattr(jax, of_jax)()) if jax is not None else alone


def _flat_tensors(model: Any) -> dict[str, Any]:
    # A Keras model is a PyTorch module too where PyTorch is its backend.
    if hasattr(model, "weights") and hasattr(model, "get_config"):
        return {variable.path: variable for variable in model.weights}
    if callable(getattr(model, "state_dict", None)):
        model = model.state_dict()
    if hasattr(model, "to_pure_dict"):
        model = model.to_pure_dict()
    if not isinstance(model, Mapping):
        raise KoopscopeError(
            f"a {type(model).__name__} has no named tensors",
            "pass the model, its state_dict(), or a mapping of names to arrays",
        )
    return _flattened(model)


def _distinct(flat: Mapping[str, Any]) -> dict[str, str]:
    """Return the name to record each tensor under, by its own name; tied ones only once."""
    shown = plain_names(list(flat))
    seen: set[Any] = set()
    distinct: dict[str, str] = {}
    for name, value in flat.items():
        place = _place(value)
        if place is None or place not in seen:
            distinct[name] = shown[name]
            seen.add(place)
    return distinct


def _flattened(tensors: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tensors.items():
        if isinstance(value, Mapping):
            flat |= _flattened(value, f"{prefix}{key}/")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _place(value: Any) -> Any:
    """Return what two tied PyTorch tensors have in common, ``None`` for anything else."""
    if not (hasattr(value, "data_ptr") and hasattr(value, "stride")):
        return None
    if hasattr(value, "placements") or not value.numel():
        return None
    return (value.data_ptr(), tuple(value.stride()), tuple(value.shape))
