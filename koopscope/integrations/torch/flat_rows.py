"""Copies of a PyTorch model's parameters as rows of flat buffers, one buffer a device and dtype.

Copies in and out; knows nothing of what the rows mean. ``write`` alone changes parameters.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from koopscope.errors import KoopscopeError

try:
    import torch
except ImportError as absent:
    raise KoopscopeError("PyTorch is not installed", "pip install 'koopscope[torch]'") from absent

#: Modules beside this one take ``torch`` from here, so that its absence is one sentence.
__all__ = ["FlatRows", "Grain", "Piece", "torch", "trainable"]

#: Which weights go together: all, those of a layer, or those of a tensor.
Grain = Literal["network", "layer", "tensor"]

#: Weights worked on at once: a few rows of as many fit into a processor's cache. A GPU is given
#: larger pieces, since there the number of operations counts.
CPU_BLOCK, DEVICE_BLOCK = 1 << 15, 1 << 22


@dataclass(frozen=True)
class Piece:
    """Columns of one buffer that belong together.

    Attributes
    ----------
    scope
        ``network``, or the name of a layer or tensor.
    buffer
        Which buffer.
    start, stop
        Columns.
    block
        How many of them are worked on at once.
    """

    scope: str
    buffer: int
    start: int
    stop: int
    block: int

    def blocks(self) -> Iterator[slice]:
        """Yield the columns, so many at a time."""
        for start in range(self.start, self.stop, self.block):
            yield slice(start, min(start + self.block, self.stop))


class FlatRows:
    """Rows of flat buffers, each row as large as the parameters.

    Parameters
    ----------
    named
        The parameters by name, tied ones once.
    rows
        How many copies there is room for.

    Attributes
    ----------
    buffers
        One tensor [rows, weights] for each device and dtype.
    size
        Number of weights.
    """

    def __init__(self, named: Mapping[str, Any], rows: int) -> None:
        groups: dict[Any, list[tuple[str, Any]]] = {}
        for name, parameter in named.items():
            groups.setdefault((parameter.device, parameter.dtype), []).append((name, parameter))
        self._members = [[p for _, p in members] for members in groups.values()]
        self._names = [[name for name, _ in members] for members in groups.values()]
        self.size = sum(p.numel() for p in named.values())
        self.buffers = [
            torch.empty(rows, sum(p.numel() for p in members), device=device, dtype=dtype)
            for members, (device, dtype) in zip(self._members, groups, strict=True)
        ]

    @property
    def trainable(self) -> bool:
        """Whether every parameter still takes part in training."""
        return all(p.requires_grad for members in self._members for p in members)

    def read(self, row: int, instead: Mapping[int, Any] | None = None) -> None:
        """Copy the parameters, or what stands for them by their ids, into a row."""
        with torch.no_grad():
            for buffer, members in zip(self.buffers, self._members, strict=True):
                values = members if instead is None else [instead[id(p)] for p in members]
                values = [v.reshape(-1).to(buffer.dtype) for v in values]
                torch.cat(values, out=buffer[row])

    def write(self, row: int, instead: Mapping[int, Any] | None = None) -> None:
        """Copy a row into the parameters, or into what stands for them."""
        with torch.no_grad():
            for index, members in enumerate(self._members):
                into = members if instead is None else [instead[id(p)] for p in members]
                torch._foreach_copy_(into, self._shaped(index, row))

    def shift(self, start: int, end: int) -> None:
        """Add the difference of two rows to the parameters."""
        with torch.no_grad():
            for index, members in enumerate(self._members):
                rows = zip(
                    members, self._shaped(index, start), self._shaped(index, end), strict=True
                )
                for parameter, from_there, to_here in rows:
                    parameter.add_(to_here - from_there)

    def _shaped(self, buffer: int, row: int) -> list[Any]:
        members = self._members[buffer]
        parts = self.buffers[buffer][row].split([p.numel() for p in members])
        return [values.view(p.shape) for values, p in zip(parts, members, strict=True)]

    def pieces(self, grain: Grain) -> list[Piece]:
        """Return the columns that go together; neighbours of one scope as one piece."""
        found: list[Piece] = []
        for index, (members, names) in enumerate(zip(self._members, self._names, strict=True)):
            block = CPU_BLOCK if members[0].device.type == "cpu" else DEVICE_BLOCK
            start = 0
            for name, parameter in zip(names, members, strict=True):
                stop, scope = start + parameter.numel(), _scope(name, grain)
                last = found[-1] if found else None
                if last and last.buffer == index and last.scope == scope:
                    found[-1] = Piece(scope, index, last.start, stop, block)
                else:
                    found.append(Piece(scope, index, start, stop, block))
                start = stop
        return found


def _scope(name: str, grain: Grain) -> str:
    if grain == "network":
        return "network"
    return name if grain == "tensor" else name.rpartition(".")[0]


def trainable(model: Any) -> dict[str, Any]:
    """Return the parameters that may be moved, tied ones once."""
    return {
        name: parameter
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and parameter.is_floating_point() and parameter.numel()
    }
