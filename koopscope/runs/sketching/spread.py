"""Which part of a tensor this process holds, of tensors that frameworks spread over several.

Recognises them by what they can do: PyTorch's DTensor (FSDP2, tensor parallel), its ShardedTensor
(FSDP1), and JAX arrays on several devices. What several processes hold alike counts once.
"""

from __future__ import annotations

import sys
from typing import Any

from koopscope.errors import KoopscopeError
from koopscope.runs.sketching.parts import Part


def parts_of(value: Any) -> list[Any]:
    """Return the parts that this process answers for, the value itself where it is whole.

    Raises
    ------
    KoopscopeError
        If a tensor is spread in a way that is not known.
    """
    if isinstance(value, (list, tuple)) and value and all(isinstance(v, Part) for v in value):
        return list(value)
    if hasattr(value, "to_local") and hasattr(value, "placements"):
        return _of_dtensor(value)
    if hasattr(value, "local_shards") and callable(value.local_shards):
        shape = tuple(value.size())
        return [
            Part(shard.tensor, shape, tuple(shard.metadata.shard_offsets))
            for shard in value.local_shards()
        ]
    jax = sys.modules.get("jax")
    if jax is not None and isinstance(value, jax.Array) and len(value.sharding.device_set) > 1:
        return [
            Part(shard.data, value.shape, tuple(_begin(along) for along in shard.index))
            for shard in value.addressable_shards
            if shard.replica_id == 0
        ]
    return [value]


def _of_dtensor(value: Any) -> list[Part]:
    coordinate = value.device_mesh.get_coordinate()
    if coordinate is None:  # this process is not one of the mesh
        return []
    shape, start = tuple(value.shape), [0] * len(value.shape)
    lengths = list(shape)
    for axis, (where, placement) in enumerate(zip(coordinate, value.placements, strict=True)):
        if placement.is_replicate():
            if where != 0:
                return []
            continue
        if not placement.is_shard() or type(placement).__name__ == "_StridedShard":
            raise KoopscopeError(
                f"a tensor is placed as {placement!r}, which is neither Shard nor Replicate",
                "hand over koopscope.runs.sketching.parts.Part with its place in the whole",
            )
        # As torch.chunk cuts: parts of equal length, the last ones shorter or empty.
        dim = placement.dim % len(shape)
        chunk = -(-lengths[dim] // value.device_mesh.size(axis))
        first = min(where * chunk, lengths[dim])
        start[dim] += first
        lengths[dim] = min(chunk, lengths[dim] - first)
    return [Part(value.to_local(), shape, tuple(start))]


def _begin(along: slice) -> int:
    return along.start or 0
