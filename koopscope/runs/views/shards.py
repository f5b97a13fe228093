"""A run that was recorded in shards: files with the same steps, each with some of the tensors.

Every weight is read from the shard it lies in; nothing is copied or joined on disk. Refuses where
some of a run's shards are missing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from koopscope.errors import KoopscopeError
from koopscope.runs.run import FloatArray, Run, RunDescription, TensorInfo
from koopscope.runs.sketches import TensorSketch, joined


class ShardedRun(Run):
    """Several runs with the same steps and different tensors, as one.

    Closes them when it is closed.

    Parameters
    ----------
    shards
        In the order in which their tensors shall be listed, at least one.

    Raises
    ------
    KoopscopeError
        If their steps differ, a tensor is in two of them, parts of a sketched tensor do not make up
        all of it, or the names or the metadata of the files tell that one is missing.
    """

    def __init__(self, shards: Sequence[Run]) -> None:
        if not shards:
            raise KoopscopeError("no shard was named", "name all files of the run")
        self.shards = tuple(shards)
        described = [shard.description for shard in self.shards]
        first = described[0]
        for other in described[1:]:
            _check_steps(first, other)
        _check_complete(described)
        _check_sketches(described)
        self._home: dict[str, Run] = {}
        for shard in self.shards:
            for tensor in shard.description.tensors:
                if tensor.name in self._home:
                    raise KoopscopeError(
                        f"{tensor.name} is in {self._home[tensor.name].description.path} and in "
                        f"{shard.description.path}",
                        "shards hold different tensors; runs that hold the same are analysed "
                        "without --shards",
                    )
                self._home[tensor.name] = shard
        self._parts = _joined_parts(self.shards)
        self.files = tuple(path for shard in self.shards for path in shard.files)
        metrics: dict[str, npt.NDArray[np.float64]] = {}
        for description in described:
            metrics = {**description.metrics, **metrics}
        self.description = RunDescription(
            path=f"{first.path} ... {described[-1].path}" if len(described) > 1 else first.path,
            format=f"{first.format}, {len(described)} shard{'s' if len(described) > 1 else ''}",
            steps=first.steps,
            tensors=(*(t for each in described for t in each.tensors), *self._parts),
            metrics=metrics,
            metadata=first.metadata,
            skipped=tuple(
                skipped
                for each in described
                for skipped in each.skipped
                if skipped.name not in {tensor.name for tensor in self._parts}
            ),
            notes=tuple(dict.fromkeys(note for each in described for note in each.notes)),
            sketch=first.sketch and replace(first.sketch, kept=()),
        )

    def home(self, tensor: TensorInfo) -> Run:
        """Return the shard that a tensor lies in."""
        return self._home[tensor.name]

    def read(self, tensor: TensorInfo, start: int, stop: int, out: FloatArray) -> None:
        """Fill ``out`` (T, stop - start) from the tensor's shard."""
        self.home(tensor).read(tensor, start, stop, out)

    def sketched(self, tensor: TensorInfo) -> TensorSketch:
        """Return the sketches of a tensor: its shard's, or the sum of its parts'."""
        if tensor in self._parts:
            return joined([shard.sketched(tensor) for shard in self._parts[tensor]])
        return self.home(tensor).sketched(tensor)

    def volume(self, tensors: Sequence[TensorInfo]) -> int:
        """Return how many bytes are read for these tensors."""
        return sum(
            shard.volume([tensor])
            for tensor in tensors
            for shard in self._parts.get(tensor) or [self.home(tensor)]
        )

    def cuts(self, tensor: TensorInfo, width: int) -> Iterator[tuple[int, int]]:
        """Yield ranges as the tensor's shard has them."""
        return self.home(tensor).cuts(tensor, width)

    def close(self) -> None:
        """Close all shards."""
        for shard in self.shards:
            shard.close()


def _check_sketches(described: Sequence[RunDescription]) -> None:
    kinds = {
        None if each.sketch is None else (each.sketch.numbers, each.sketch.seed)
        for each in described
    }
    if len(kinds) > 1:
        raise KoopscopeError(
            "the shards were sketched differently, or some of them hold weights",
            "record all ranks with one sketch= and one seed",
        )


def _joined_parts(shards: Sequence[Run]) -> dict[TensorInfo, list[Run]]:
    """Return the tensors of which every shard holds a part, with the shards that do."""
    homes: dict[TensorInfo, list[Run]] = {}
    for shard in shards:
        for tensor in shard.parts:
            homes.setdefault(tensor, []).append(shard)
    for tensor, members in homes.items():
        held = sum(shard.parts[tensor] for shard in members)
        if held != tensor.size:
            raise KoopscopeError(
                f"the parts of {tensor.name} make up {held:,} of its {tensor.size:,} weights",
                "name all shards of the run, each once",
            )
    return homes


def _check_steps(first: RunDescription, other: RunDescription) -> None:
    if np.array_equal(first.steps, other.steps):
        return
    both = min(first.snapshots, other.snapshots)
    differing = np.flatnonzero(first.steps[:both] != other.steps[:both])
    if differing.size:
        index = int(differing[0])
        said = f"snapshot {index} is step {first.steps[index]} in {first.path} and step "
        said += f"{other.steps[index]} in {other.path}"
    else:
        said = f"{first.path} holds {first.snapshots} snapshots and {other.path} {other.snapshots}"
    raise KoopscopeError(
        said, "shards of one run are recorded at the same steps; analyse each file by itself"
    )


def _check_complete(shards: Sequence[RunDescription]) -> None:
    """Refuse a run whose own words show that a shard is missing."""
    said = {shard.metadata.get("world_size") for shard in shards} - {None}
    for size in said:
        if isinstance(size, int) and size != len(shards):
            raise KoopscopeError(
                f"the run was recorded in {size} shards, and {len(shards)} were named",
                "name all of them, for example run.rank*.h5",
            )
    ranks: dict[int, str] = {}
    for shard in shards:
        numbered = re.search(r"rank[-_.]?(\d+)", Path(shard.path).name)
        if numbered is None:
            return
        ranks[int(numbered[1])] = shard.path
    missing = sorted(set(range(max(ranks) + 1)) - set(ranks))
    if missing:
        raise KoopscopeError(
            f"the shard of rank {missing[0]} is missing next to {ranks[max(ranks)]}",
            "name all shards of the run, for example run.rank*.h5",
        )
