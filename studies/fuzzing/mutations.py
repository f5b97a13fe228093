"""Seeded damage: bit flips, runs of zeros, lengths, splices, truncations, and bad text."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

#: Lengths and addresses at which code that trusts them breaks.
_EXTREMES = (0, 1, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1)
_TEXTS = (
    b"9" * 5000, b"1e999", b"-1", b"NaN", b"[" * 3000, b'{"a":' * 3000, b'"', b"\x1b[31m", b"\0",
    b"\xff", b"::error::x", b"null", b"[]", b"1" + b"0" * 400, b"0x10", b"true", b"\\ud800",
)  # fmt: skip


def mutate(content: bytes, chance: random.Random, is_text: bool = False) -> bytes:
    """Return a damaged copy, by one to four mutations; texts are damaged as texts, mostly."""
    damaged = bytearray(content)
    kinds = _TEXT_KINDS if is_text and chance.random() < 0.7 else _KINDS
    for _ in range(chance.choice((1, 1, 1, 2, 3, 4))):
        if damaged:
            chance.choice(kinds)(damaged, chance)
    return bytes(damaged)


def _flip(damaged: bytearray, chance: random.Random) -> None:
    for _ in range(chance.choice((1, 1, 2, 8))):
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)


def _run_of(value: int) -> Callable[[bytearray, random.Random], None]:
    def fill(damaged: bytearray, chance: random.Random) -> None:
        start = chance.randrange(len(damaged))
        stop = min(len(damaged), start + chance.choice((1, 2, 4, 8, 16, 64, 512)))
        damaged[start:stop] = bytes([value]) * (stop - start)

    return fill


def _length(damaged: bytearray, chance: random.Random) -> None:
    width = chance.choice((1, 2, 4, 8))
    start = chance.randrange(len(damaged))
    if start + width > len(damaged):
        return
    if chance.random() < 0.5:
        value = chance.choice(_EXTREMES)
    else:
        value = int.from_bytes(damaged[start : start + width], "little") + chance.choice((-1, 1, 8))
    damaged[start : start + width] = (value % 256**width).to_bytes(width, "little")


def _splice(damaged: bytearray, chance: random.Random) -> None:
    size = chance.choice((4, 8, 16, 32, 128, 1024))
    source, target = chance.randrange(len(damaged)), chance.randrange(len(damaged))
    piece = damaged[source : source + size]
    damaged[target : target + (len(piece) if chance.random() < 0.8 else 0)] = piece


def _cut(damaged: bytearray, chance: random.Random) -> None:
    if chance.random() < 0.5:
        del damaged[chance.randrange(len(damaged)) :]
    else:
        start = chance.randrange(len(damaged))
        del damaged[start : start + chance.choice((1, 8, 100))]


def _number(damaged: bytearray, chance: random.Random) -> None:
    found = list(re.finditer(rb"[0-9.]+|\"[^\"]*\"|true|false", damaged))
    if found:
        place = chance.choice(found)
        damaged[place.start() : place.end()] = chance.choice(_TEXTS)


def _insert(damaged: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(damaged))
    damaged[start:start] = chance.choice(_TEXTS)


_KINDS = (_flip, _flip, _run_of(0), _run_of(0), _run_of(255), _length, _length, _splice, _cut)
_TEXT_KINDS = (_number, _number, _number, _insert, _splice, _cut)
