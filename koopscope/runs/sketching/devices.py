"""The first step of a sketch on the device where a tensor lies: PyTorch and JAX.

The same sums as ``koopscope.runs.sketching.projection``, in batches of stretches; of a tensor only
its cells cross to the host, 32,768 numbers at most. No framework is imported here: a value brings
its own along.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from koopscope.runs.dtypes import as_stored
from koopscope.runs.sketching.pattern import CELLS, Stretch, TensorPattern
from koopscope.runs.sketching.projection import LARGEST, Sums

#: Stretches of one batch: 2 MiB of float32, and a few times as much beside them.
_BATCH = 16


def on_device(value: Any) -> Device | None:
    """Return how to work with a value that lies on a device of its own, ``None`` on the host."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        return None if value.device.type == "cpu" else TorchDevice(torch, value)
    jax = sys.modules.get("jax")
    if jax is not None and isinstance(value, jax.Array) and not isinstance(value, jax.core.Tracer):
        platforms = {device.platform for device in value.devices()}
        return None if platforms == {"cpu"} else JaxDevice(jax, value)
    return None


class Device(ABC):
    """What the sums need of a framework; ``flat`` is the value as a vector of real numbers."""

    flat: Any

    @abstractmethod
    def sampled(self, places: slice | np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return these entries of the flattened value, on the host."""

    def sums_of(self, runs: Sequence[tuple[int, int, int]], own: TensorPattern) -> Sums:
        """Return the cells of a flattened part; see ``projection.sums_of``."""
        cells = np.zeros(own.cells)
        square, largest, nonfinite = 0.0, 0.0, 0
        for begin, where, length in runs:
            for first, inside, count, width, stretches in _batches(begin, where, length, own):
                rows = self.rows(first, count, width)
                totals, facts = self.added(rows, inside, width, stretches, own)
                with np.errstate(all="ignore"):
                    cells += totals
                square += facts[0]
                largest = max(largest, facts[1])
                nonfinite += int(facts[2])
        if nonfinite or not np.isfinite(cells).all():
            return Sums(np.zeros(own.cells), 0.0, 0.0, max(1, nonfinite))
        return Sums(cells, square, largest, 0)

    @abstractmethod
    def rows(self, first: int, count: int, width: int) -> Any:
        """Return ``flat[first : first + count * width]`` as [count, width] float32 (or float64)."""

    @abstractmethod
    def added(
        self, rows: Any, inside: int, width: int, stretches: list[Stretch], own: TensorPattern
    ) -> tuple[np.ndarray[Any, Any], tuple[float, float, float]]:
        """Return the cells of a batch, and (square, largest, how many are not finite)."""


def _words(value: Any) -> np.ndarray[Any, Any]:
    return as_stored(value).words


def _batches(
    begin: int, where: int, length: int, own: TensorPattern
) -> list[tuple[int, int, int, int, list[Stretch]]]:
    """Cut a run into (first, place inside the stretch, rows, width, their stretches)."""
    found = []
    stop = where + length
    at = where
    while at < stop:
        number, inside = divmod(at, CELLS)
        if inside or stop - at < CELLS:
            count, width = 1, min(CELLS - inside, stop - at)
        else:
            count, width = min(_BATCH, (stop - at) // CELLS), CELLS
        stretches = own.stretches(number, number + count)
        found.append((begin + at - where, inside, count, width, stretches))
        at += count * width
    return found


def _indices(
    inside: int, width: int, stretches: list[Stretch], own: TensorPattern
) -> tuple[Any, Any, Any]:
    """Return where each row's signs begin, its own sign, and the cell of its first weight."""
    begins = np.array([each.offset + inside for each in stretches], np.int64)
    signs = np.array([each.sign for each in stretches], np.float32)
    at = np.array([(inside + each.turn) % own.cells for each in stretches], np.int64)
    return begins, signs, at


class TorchDevice(Device):
    """A PyTorch tensor on an accelerator, or anywhere."""

    def __init__(self, torch: Any, value: Any) -> None:
        self._torch = torch
        value = value.detach().reshape(-1)
        self._entries = value
        if value.is_complex():
            value = torch.view_as_real(value.resolve_conj())
        self.flat = value.reshape(-1)
        self._working = torch.float64 if self.flat.dtype == torch.float64 else torch.float32
        self._sum = torch.float32 if self.flat.device.type == "mps" else torch.float64

    def sampled(self, places: slice | np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return these entries of the flattened value, on the host."""
        if not isinstance(places, slice):
            chosen = self._torch.from_numpy(places).to(self._entries.device)
            return _words(self._entries[chosen])
        return _words(self._entries[places])

    def rows(self, first: int, count: int, width: int) -> Any:
        """Return a batch of stretches."""
        batch = self.flat[first : first + count * width].to(self._working)
        return batch.reshape(count, width)

    def added(
        self, rows: Any, inside: int, width: int, stretches: list[Stretch], own: TensorPattern
    ) -> tuple[np.ndarray[Any, Any], tuple[float, float, float]]:
        """Return the cells of a batch and its facts."""
        torch, device = self._torch, rows.device
        begins, signs, at = (
            torch.from_numpy(each).to(device) for each in _indices(inside, width, stretches, own)
        )
        table = torch.from_numpy(own.pattern.signs).to(device)
        along = torch.arange(width, device=device)
        signed = rows * table[begins[:, None] + along] * signs[:, None]
        # Each row goes round by its own turn: cell c takes the weight c - at of the row.
        cells = torch.arange(own.cells, device=device)
        source = (cells[None, :] - at[:, None]) % own.cells
        padded = torch.nn.functional.pad(signed, (0, own.cells - width))
        turned = torch.take_along_dim(padded, source, 1).sum(0, dtype=self._sum)
        magnitudes = rows.abs()
        bound = min(LARGEST, float(torch.finfo(self.flat.dtype).max))
        facts = torch.stack(
            [
                rows.to(self._sum).square().sum(),
                magnitudes.max().to(self._sum),
                (~(magnitudes <= bound)).sum().to(self._sum),
            ]
        )
        square, largest, bad = facts.tolist()
        return turned.cpu().numpy().astype(np.float64), (square, largest, bad)


class JaxDevice(Device):
    """A JAX array on an accelerator, or anywhere. Sums are float32 there, and float64 here."""

    def __init__(self, jax: Any, value: Any) -> None:
        self._jnp = jax.numpy
        value = value.reshape(-1)
        self._entries = value
        if self._jnp.iscomplexobj(value):
            value = self._jnp.stack([value.real, value.imag], axis=-1)
        self.flat = value.reshape(-1)
        self._working = (
            self._jnp.float64 if self.flat.dtype == self._jnp.float64 else self._jnp.float32
        )

    def sampled(self, places: slice | np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return these entries of the flattened value, on the host."""
        return _words(self._entries[places])

    def rows(self, first: int, count: int, width: int) -> Any:
        """Return a batch of stretches."""
        batch = self.flat[first : first + count * width].astype(self._working)
        return batch.reshape(count, width)

    def added(
        self, rows: Any, inside: int, width: int, stretches: list[Stretch], own: TensorPattern
    ) -> tuple[np.ndarray[Any, Any], tuple[float, float, float]]:
        """Return the cells of a batch and its facts."""
        jnp = self._jnp
        begins, signs, at = (jnp.asarray(each) for each in _indices(inside, width, stretches, own))
        table = jnp.asarray(own.pattern.signs)
        signed = rows * table[begins[:, None] + jnp.arange(width)] * signs[:, None]
        source = (jnp.arange(own.cells)[None, :] - at[:, None]) % own.cells
        padded = jnp.pad(signed, ((0, 0), (0, own.cells - width)))
        turned = jnp.take_along_axis(padded, source, 1).sum(0)
        magnitudes = jnp.abs(rows)
        bound = min(LARGEST, float(jnp.finfo(self.flat.dtype).max))
        bad = (~(magnitudes <= bound)).sum()
        facts = (float((rows * rows).sum()), float(magnitudes.max()), float(bad))
        return np.asarray(turned, np.float64), facts
