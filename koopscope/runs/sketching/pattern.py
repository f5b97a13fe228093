"""The random projection of a sketch: signs and places from a counter, the same in every process.

A CountSketch (Charikar, Chen, Farach-Colton 2002) in two steps. A tensor's weights, flattened, are
cut into stretches of ``CELLS``; each stretch is multiplied by random signs, turned by a random
number of places and added to ``CELLS`` cells. Then each cell gets a sign and one of K buckets, and
buckets add up. Everything is linear in the weights and depends on their places in the whole tensor
alone, so sketches of parts add up to the sketch of the whole.

For weights i and j, E <Cx, Cy> = <x, y> and
Var <Cx, Cy> = sum over i != j of p_ij (x_i^2 y_j^2 + x_i y_i x_j y_j), up to a part of 1e-3, with
p_ij = 1/K inside a stretch and 1/K + (1 - 1/K)/CELLS between stretches: at most
(1/K + 1/CELLS) (|x|^2 |y|^2 + <x, y>^2). The signs of two stretches are independent unless they
begin at the same of 2^18 places of one table, which is what the 1e-3 allows for.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from koopscope._types import Float64

#: Weights of a stretch, and cells: 128 KiB of float32, which stay in a core's cache.
CELLS = 2**15

#: Places in the table of signs at which a stretch may begin.
OFFSETS = 2**18

Words = npt.NDArray[np.uint64]
Indices = npt.NDArray[np.int64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def mixed(counters: Words, key: int) -> Words:
    """Return 64 random bits for each counter under a key: splitmix64 (Steele, Lea, Flood 2014)."""
    with np.errstate(over="ignore"):
        z: Words = np.uint64(key & (2**64 - 1)) + (counters + np.uint64(1)) * _GOLDEN
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return z


def _numbered(count: int, key: int) -> Words:
    return mixed(np.arange(count, dtype=np.uint64), key)


def _key(*parts: object) -> int:
    text = "\0".join(map(str, parts)).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


def _signs(words: Words) -> npt.NDArray[np.float32]:
    signs: npt.NDArray[np.float32] = (words >> np.uint64(63)).astype(np.float32)
    signs *= np.float32(-2.0)
    signs += np.float32(1.0)
    return signs


@dataclass(frozen=True)
class Pattern:
    """The tables that all tensors of a run share.

    Attributes
    ----------
    numbers, seed
        K, and the seed.
    signs
        float32 [OFFSETS + CELLS], of the first step.
    buckets, bucket_signs
        int64 and float64 [2 CELLS]: bucket and sign of a cell, of the second step.
    """

    numbers: int
    seed: int
    signs: npt.NDArray[np.float32]
    buckets: Indices
    bucket_signs: Float64

    @classmethod
    def of(cls, numbers: int, seed: int) -> Pattern:
        """Return the tables; those made last are kept."""
        return _pattern(numbers, seed)

    def tensor(self, name: str, size: int) -> TensorPattern:
        """Return what belongs to one tensor of the whole size ``size``."""
        return TensorPattern(self, size, _key(self.seed, name))


@cache
def _pattern(numbers: int, seed: int) -> Pattern:
    buckets = (_numbered(2 * CELLS, _key(seed, "bucket")) >> np.uint64(32)) * np.uint64(numbers)
    return Pattern(
        numbers,
        seed,
        _signs(_numbered(OFFSETS + CELLS, _key(seed, "sign"))),
        (buckets >> np.uint64(32)).astype(np.int64),
        _signs(_numbered(2 * CELLS, _key(seed, "bucket sign"))).astype(np.float64),
    )


@dataclass(frozen=True)
class Stretch:
    """What the first step does to one stretch: where its signs begin, its turn, its own sign."""

    offset: int
    turn: int
    sign: float


@dataclass(frozen=True)
class TensorPattern:
    """One tensor's part of the projection.

    Attributes
    ----------
    pattern
        The shared tables.
    size
        Weights of the whole tensor.
    key
        Of its own random numbers.
    """

    pattern: Pattern
    size: int
    key: int

    @property
    def cells(self) -> int:
        """How many cells it has: as many as weights, at most ``CELLS``."""
        return min(self.size, CELLS)

    @property
    def numbers(self) -> int:
        """How many numbers its sketch has: as many as weights, at most K."""
        return min(self.size, self.pattern.numbers)

    @property
    def is_whole(self) -> bool:
        """Whether the sketch holds every weight by itself."""
        return self.size <= self.pattern.numbers

    def stretches(self, first: int, stop: int) -> list[Stretch]:
        """Return the stretches ``first`` .. ``stop - 1``."""
        return [Stretch(*each) for each in zip(*self.stretch_lists(first, stop), strict=True)]

    def stretch_lists(self, first: int, stop: int) -> tuple[list[int], list[int], list[float]]:
        """Return offsets, turns and signs of the stretches ``first`` .. ``stop - 1``."""
        words = mixed(np.arange(first, stop, dtype=np.uint64), self.key)
        offsets = (words % np.uint64(OFFSETS)).tolist()
        turns = ((words >> np.uint64(18)) % np.uint64(CELLS)).tolist()
        signs = _signs(words).tolist()
        if self.size <= CELLS:  # every weight has a cell of its own
            turns = [0] * len(turns)
        return offsets, turns, signs

    def places(self) -> tuple[Indices, Float64]:
        """Return bucket and sign of each of its cells."""
        shift = int(mixed(np.zeros(1, np.uint64), self.key ^ 0xB5)[0] % np.uint64(CELLS))
        inside = slice(shift, shift + self.cells)
        return self.pattern.buckets[inside], self.pattern.bucket_signs[inside]

    def reduced(self, cells: npt.NDArray[np.floating]) -> Float64:
        """Return the sketch of what has been added to the cells: float64 [numbers]."""
        if self.is_whole:
            # Signs are undone, so that the numbers are the weights themselves.
            own = self.stretches(0, 1)[0]
            signs = self.pattern.signs[own.offset : own.offset + self.cells]
            return cells.astype(np.float64) * signs * own.sign
        buckets, signs64 = self.places()
        return np.bincount(buckets, cells * signs64, minlength=self.numbers).astype(np.float64)
