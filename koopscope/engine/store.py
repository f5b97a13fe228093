"""Where the Gram matrices of a pass are kept: in memory while they are few, else in a file.

A run of 2000 snapshots has 32 MB of inner products per tensor; whoever walks through them holds
one at a time.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import IO

import numpy as np
import numpy.typing as npt

from koopscope._types import Float64
from koopscope.engine.gram_words import (
    count_words,
    pack,
    record_words,
    unpack,
    unpack_counts,
    words_of,
)
from koopscope.engine.room import refuse_too_many
from koopscope.errors import KoopscopeError
from koopscope.spectra.changes import ChangeCounts
from koopscope.spectra.gram import SnapshotGram, total

#: Bytes of Gram matrices that stay in memory.
MEMORY_BYTES = 32 * 2**20


class GramStore(Mapping[str, SnapshotGram]):
    """Gram matrices by tensor name, in the order in which they were put.

    Parameters
    ----------
    snapshots
        T, the same for all.
    memory_bytes
        When they take more, all further ones go to a temporary file and are read when asked for.

    Raises
    ------
    KoopscopeError
        If the matrices of so many snapshots do not fit into memory, one at a time.
    """

    def __init__(self, snapshots: int, memory_bytes: int = MEMORY_BYTES) -> None:
        refuse_too_many(snapshots)
        self.snapshots = snapshots
        self._room = memory_bytes
        self._kept: dict[str, SnapshotGram | tuple[IO[bytes], int, int]] = {}
        self._file: IO[bytes] | None = None
        self._spilled = 0
        self._notes: list[str] = []

    def put(self, name: str, gram: SnapshotGram) -> None:
        """Keep one more, or another one of the same name in place of the first.

        Raises
        ------
        KoopscopeError
            If the temporary folder has no room for it.
        """
        words = words_of(gram)
        size = 8 * (self.snapshots**2 + words - record_words(self.snapshots))
        before = self._kept.get(name)
        if isinstance(before, SnapshotGram) or (before is None and size <= self._room):
            self._room -= size if before is None else 0
            self._kept[name] = gram
            return
        spilled = isinstance(before, tuple) and before[0] is self._file and before[2] == words
        offset = before[1] if isinstance(before, tuple) and spilled else self._spilled
        try:
            if self._file is None:
                # Lives as long as the store; its name is gone at once, so nothing is left behind.
                self._file = tempfile.TemporaryFile(prefix="koopscope-")  # noqa: SIM115
            self._file.seek(offset)
            self._file.write(pack(gram).data)
        except OSError as error:
            raise KoopscopeError(
                f"the inner products of {name} do not fit the temporary folder "
                f"{tempfile.gettempdir()}: {error.strerror}",
                "name a larger folder in TMPDIR, or choose fewer tensors with --include",
            ) from error
        self._kept[name] = (self._file, offset, words)
        self._spilled += 0 if spilled else 8 * words

    def put_record(self, name: str, file: IO[bytes], offset: int, words: int) -> None:
        """Take one that lies in a file as ``pack`` wrote it; the file must stay open."""
        self._kept[name] = (file, offset, words)
        size = 8 * (self.snapshots**2 + words - record_words(self.snapshots))
        if size <= self._room:
            self._room -= size
            self._kept[name] = self[name]

    def __getitem__(self, name: str) -> SnapshotGram:
        kept = self._kept[name]
        if isinstance(kept, SnapshotGram):
            return kept
        file, offset, count = kept
        return unpack(_words(file, offset, np.empty(count)), self.snapshots)

    def counts(self, name: str) -> tuple[npt.NDArray[np.int64], ChangeCounts]:
        """Return a tensor's ``nonfinite`` and ``changes`` without reading its products."""
        kept = self._kept[name]
        if isinstance(kept, SnapshotGram):
            return kept.nonfinite, kept.changes
        file, offset, _ = kept
        first = count_words(self.snapshots)
        words = np.empty(record_words(self.snapshots) - first)
        return unpack_counts(_words(file, offset + 8 * first, words), self.snapshots)

    def total(self, names: Sequence[str]) -> SnapshotGram:
        """Return the Gram matrix of several tensors together, or of one.

        Records are added up as they lie in the file, half a matrix each, and unpacked once.
        """
        if len(names) == 1:
            return self[names[0]]
        kept = [self._kept[name] for name in names]
        parts = [each for each in kept if isinstance(each, SnapshotGram)]
        records = [each for each in kept if not isinstance(each, SnapshotGram)]
        if records:
            # Units are those of one tensor: several together have none.
            size = record_words(self.snapshots)
            added, words = np.zeros(size), np.empty(size)
            for file, offset, _ in records:
                added += _words(file, offset, words)
            parts.append(unpack(added, self.snapshots))
        return total(parts)

    def __iter__(self) -> Iterator[str]:
        return iter(self._kept)

    def __len__(self) -> int:
        return len(self._kept)

    def note(self, sentence: str) -> None:
        """Remember a sentence about how the matrices came about; empty ones are not kept."""
        if sentence:
            self._notes.append(sentence)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the numbers has to know of how they came about."""
        return tuple(self._notes)

    @property
    def spilled_bytes(self) -> int:
        """Bytes in the temporary file."""
        return self._spilled


def _words(file: IO[bytes], offset: int, words: Float64) -> Float64:
    """Fill an array with the words that lie in a file."""
    file.seek(offset)
    file.readinto(words.data)  # type: ignore[attr-defined]
    return words


class SomeGrams(Mapping[str, SnapshotGram]):
    """Some of the Gram matrices of a store, on some of the snapshots; holds none of them itself.

    Parameters
    ----------
    grams
        The store.
    names
        The tensors, in the order wanted.
    rows
        Snapshots ``first`` .. ``stop - 1``; all of them by default.
    """

    def __init__(
        self,
        grams: Mapping[str, SnapshotGram],
        names: Sequence[str],
        rows: tuple[int, int] | None = None,
    ) -> None:
        self._grams, self._names, self._rows = grams, tuple(names), rows

    def __getitem__(self, name: str) -> SnapshotGram:
        if name not in self._names:
            raise KeyError(name)
        gram = self._grams[name]
        return gram if self._rows is None else gram.window(*self._rows)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
