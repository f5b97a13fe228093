"""Arrays computed from a run on their way to a file: one check, one form of metadata, one loop.

Modes, fixed points, predicted weights and masks are all written through here. Computes none.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from koopscope._version import __version__
from koopscope.runs.arrays.spec import ArraySpec, ArrayWriter
from koopscope.runs.arrays.writing import array_writer, check_suffix
from koopscope.runs.run import RunDescription
from koopscope.runs.targets import check_targets

#: The name of an array and the next of its flattened values.
Part = tuple[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class RunArrays:
    """What a file of arrays computed from a run is to hold.

    Attributes
    ----------
    description
        The run, which no output may replace.
    specs
        Every array by name, in the order in which its values will come.
    facts
        What was computed, as strings that travel with the file.
    """

    description: RunDescription
    specs: Mapping[str, ArraySpec]
    facts: Mapping[str, str]

    @contextmanager
    def writer(self, path: str | os.PathLike[str], *, force: bool = False) -> Iterator[ArrayWriter]:
        """Open the file for arrays that are handed over; on any exception nothing is left behind.

        Parameters
        ----------
        path
            Ends in ``.h5``, ``.npz``, ``.safetensors`` or ``.pt``.
        force
            Replace an existing file, unless it belongs to the run.

        Raises
        ------
        KoopscopeError
            If the file cannot be written there.
        """
        check_targets([check_suffix(path)], [self.description.path], force=force)
        metadata = origin(self.description, self.facts)
        with array_writer(path, self.specs, metadata, force=force) as out:
            yield out

    def write(
        self, path: str | os.PathLike[str], parts: Iterable[Part], *, force: bool = False
    ) -> None:
        """Write arrays that are computed as they are asked for; see ``writer``."""
        with self.writer(path, force=force) as out:
            for name, values in parts:
                out.append(name, values)


def origin(description: RunDescription, facts: Mapping[str, str]) -> dict[str, str]:
    """Return the metadata of a file computed from a run: version, the run's name, the facts."""
    name = description.path.replace("\\", "/").rpartition("/")[2]
    return {"koopscope": __version__, "run": name, **facts}
