"""How many snapshots fit into memory together: each is multiplied with each.

Looks at what the machine, the control group and the limits of this process leave, before anything
is allocated. Must never refuse where it cannot tell.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from koopscope.errors import KoopscopeError
from koopscope.runs.run import BLOCK_BYTES, Run, snapshots_between
from koopscope.runs.views.excerpt import Excerpt

#: Bytes that an analysis holds at its peak for each pair of snapshots: 83 were measured, of 2,000
#: and of 3,000 snapshots, with one thread; each further thread of the pass holds 24.
BYTES_PER_PAIR = 96

#: Runs of so many snapshots take 100 MB, which nobody is asked about.
ALWAYS = 1000


def free_bytes() -> int | None:
    """Return the bytes of memory that this process can still have, ``None`` where nobody says."""
    with contextlib.suppress(ValueError):
        return max(0, min(_rooms()))
    return None


def snapshots_that_fit() -> int | None:
    """Return how many snapshots can be analysed together, ``None`` where nobody says."""
    free = free_bytes()
    return None if free is None else max(ALWAYS, math.isqrt(free // BYTES_PER_PAIR))


def refuse_too_many(snapshots: int) -> None:
    """Raise KoopscopeError if the inner products of so many snapshots do not fit into memory."""
    if snapshots <= ALWAYS:
        return
    most = snapshots_that_fit()
    if most is None or snapshots <= most:
        return
    needed = BYTES_PER_PAIR * snapshots**2
    raise KoopscopeError(
        f"{snapshots:,} snapshots are too many to analyse together: that takes about "
        f"{needed / 1e9:,.0f} GB of memory, and {(free_bytes() or 0) / 1e9:,.1f} GB are free",
        f"{most:,} fit: choose their steps with --window FIRST:LAST where the command has it, or "
        "record less often",
    )


def within_memory(run: Run, window: tuple[int | None, int | None]) -> Run:
    """Return the run, or only the snapshots asked for where all together would not fit.

    Parameters
    ----------
    run
        Stays the caller's to close.
    window
        First and last step that are asked for; ``None`` leaves a side open.
    """
    steps = run.description.steps
    first, stop = snapshots_between(steps, window)
    if len(steps) <= ALWAYS or not 0 < stop - first < len(steps):
        return run
    most = snapshots_that_fit()
    if most is None or len(steps) <= most:
        return run
    chosen = Excerpt(run, slice(first, stop), max(1, BLOCK_BYTES // (8 * len(steps))))
    note = f"only the {stop - first:,} snapshots asked for were read: {len(steps):,} do not fit"
    chosen.description = replace(
        chosen.description, notes=(*run.description.notes, f"{note} into memory together")
    )
    return chosen


def _rooms() -> Iterator[int]:
    """Yield what each of those who limit memory would still give."""
    yield from _machine()
    yield from _control_groups()
    yield from _limits()


def _machine() -> Iterator[int]:
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                yield 1024 * int(line.split()[1])
                return
    with contextlib.suppress(OSError, ValueError, AttributeError):
        yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _control_groups() -> Iterator[int]:
    """Version 2, as of containers: the limits of this process's group and of those above it."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            if line.startswith("0::"):
                group = Path("/sys/fs/cgroup") / line[3:].lstrip("/")
                for folder in (group, *group.parents):
                    yield from _control_group(folder)


def _control_group(folder: Path) -> Iterator[int]:
    with contextlib.suppress(OSError, ValueError, IndexError):
        most = int((folder / "memory.max").read_text())  # "max" where there is none
        stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        # The files it has read count as its memory, and are given up for whoever needs it.
        used = int((folder / "memory.current").read_text()) - int(stat.get("inactive_file", 0))
        yield most - used


def _limits() -> Iterator[int]:
    if sys.platform == "win32":
        return
    with contextlib.suppress(ImportError, OSError, ValueError, IndexError):
        import resource

        pages = Path("/proc/self/statm").read_text().split()
        for limit, had in ((resource.RLIMIT_AS, pages[0]), (resource.RLIMIT_DATA, pages[5])):
            most = resource.getrlimit(limit)[0]
            if most != resource.RLIM_INFINITY:
                yield most - int(had) * resource.getpagesize()
