"""The same pass on a Dask cluster: each task reads a part of one file, only T x T sums travel.

Dask schedules, repeats what a lost worker had, and adds up in a tree; the products are those of
``koopscope.engine.local``, block for block. No weight travels over the network. Each worker checks
that it sees the same file by its size and time of change.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from koopscope._types import Float64
from koopscope._version import __version__
from koopscope.engine.gram_words import pack, unpack
from koopscope.engine.local import Plan, portion_grams, refuse_empty
from koopscope.engine.scheduler import ALONE_SECONDS, awaited, connected, within
from koopscope.engine.source import Portion, ProgressListener
from koopscope.engine.store import GramStore
from koopscope.errors import KoopscopeError
from koopscope.runs.detect.opening import open_run
from koopscope.runs.run import Run, TensorInfo
from koopscope.runs.views.shards import ShardedRun

#: Stored bytes that one task reads: a second or so of work.
TASK_BYTES = 256 * 2**20

#: A scheduler handles some thousand tasks a second; larger runs get larger tasks.
MOST_TASKS = 50_000

#: Sums that are added up at once.
_FAN_IN = 8

#: How often a task that failed, for example because a disk did, is tried again.
_RETRIES = 2


@dataclass(frozen=True)
class Task:
    """What one worker does at once.

    Attributes
    ----------
    path, size, mtime_ns
        The file, and what it must look like where the worker sees it.
    snapshots
        How many it must hold.
    portions
        (tensor, start, stop) in it.
    version
        Of koopscope, the same everywhere.
    """

    path: str
    size: int
    mtime_ns: int
    snapshots: int
    portions: tuple[tuple[str, int, int], ...]
    version: str = __version__


class DaskEngine:
    """A ``GramSource`` that has the pass done by a cluster.

    Parameters
    ----------
    scheduler
        Its address, such as ``tcp://10.0.0.1:8786``; ``None`` starts worker processes here.

    Raises
    ------
    KoopscopeError
        When called, if Dask is not installed, the scheduler does not answer, or no worker sees
        the files.
    """

    opens_files: ClassVar[bool] = True
    remarks: ClassVar[tuple[str, ...]] = ()

    def __init__(self, scheduler: str | None = None) -> None:
        self.scheduler = scheduler

    def __call__(
        self,
        run: Run,
        tensors: Sequence[TensorInfo],
        on_progress: ProgressListener | None = None,
    ) -> GramStore:
        """Return the Gram matrices of these tensors."""
        refuse_empty(run)
        snapshots = run.description.snapshots
        store = GramStore(snapshots)
        store.note(Plan.of(snapshots).note)
        tasks = list(_tasks(run, tensors))
        with connected(self.scheduler) as client:
            homes = _homes(client, {task.path: (task.size, task.mtime_ns) for task in tasks})
            sums: dict[str, list[Any]] = {tensor.name: [] for tensor in tensors}
            for task in tasks:
                workers = homes[task.path]
                made = client.submit(records, task, workers=workers, retries=_RETRIES, pure=False)
                for index, (name, _, _) in enumerate(task.portions):
                    part = client.submit(_item, made, index, workers=workers, pure=False)
                    sums[name].append(part)
            totals = {name: _tree(client, parts) for name, parts in sums.items()}
            for tensor in tensors:
                words = awaited(client, totals[tensor.name], tensor.name)
                store.put(tensor.name, unpack(words, snapshots))
                totals.pop(tensor.name)
                if on_progress is not None:
                    on_progress(run.volume([tensor]))
        return store

    def expected_seconds(self, run: Run, tensors: Sequence[TensorInfo]) -> float:
        """Return 0: the workers read and multiply everything."""
        return 0.0


def records(task: Task) -> list[Float64]:
    """Return the packed Gram matrix of each of a task's portions: what runs on a worker.

    Each is float64 [words], as ``koopscope.engine.gram_words`` packs it.

    Raises
    ------
    KoopscopeError
        If this machine has another koopscope, or sees another file.
    """
    if task.version != __version__:
        raise KoopscopeError(
            f"a worker has koopscope {__version__} and was asked by koopscope {task.version}",
            "install the same version everywhere",
        )
    if _stamp(task.path) != (task.size, task.mtime_ns):
        raise KoopscopeError(
            f"{task.path} is not the same file for a worker, or has changed",
            "let all machines see the run under the same path, and wait until it is recorded",
        )
    with open_run(task.path) as run:
        named = {tensor.name: tensor for tensor in run.description.tensors}
        if run.description.snapshots != task.snapshots:
            raise KoopscopeError(
                f"{task.path} holds {run.description.snapshots} snapshots for a worker, "
                f"{task.snapshots} were expected",
                "wait until it is recorded",
            )
        portions = [Portion(named[name], start, stop) for name, start, stop in task.portions]
        plan = Plan.of(task.snapshots, processors=1)
        return [pack(gram) for _, gram in portion_grams(run, portions, plan=plan)]


def _tasks(run: Run, tensors: Sequence[TensorInfo]) -> Iterator[Task]:
    """Cut the pass into tasks: ranges of large tensors, and handfuls of small ones, per file."""
    if not run.files:
        raise KoopscopeError(
            f"{run.description.path} cannot be read by a cluster",
            "convert it to a run file with `koopscope convert`",
        )
    snapshots = run.description.snapshots
    wanted = max(TASK_BYTES, run.volume(tensors) // MOST_TASKS)
    width = Plan.of(snapshots).width
    chosen = set(tensors)
    for shard in run.shards if isinstance(run, ShardedRun) else (run,):
        (path,) = shard.files
        size, mtime_ns = _stamp(str(path))
        task = functools.partial(Task, str(path.absolute()), size, mtime_ns, snapshots)
        gathered: list[tuple[str, int, int]] = []
        filled = 0
        for tensor in [t for t in shard.description.tensors if t in chosen]:
            row = snapshots * run.read_dtype(tensor).itemsize
            for start, stop in _ranges(shard, tensor, width, wanted // row):
                if filled and filled + (stop - start) * row > wanted:
                    yield task(tuple(gathered))
                    gathered, filled = [], 0
                gathered.append((tensor.name, start, stop))
                filled += (stop - start) * row
        if gathered:
            yield task(tuple(gathered))


def _ranges(run: Run, tensor: TensorInfo, width: int, wanted: int) -> Iterator[tuple[int, int]]:
    """Join cuts to ranges of about ``wanted`` weights."""
    begin = 0
    for _, stop in run.cuts(tensor, width):
        if stop - begin >= wanted or stop == tensor.size:
            yield begin, stop
            begin = stop


def _tree(client: Any, parts: list[Any]) -> Any:
    while len(parts) > 1:
        parts = [
            client.submit(_added, parts[k : k + _FAN_IN], pure=False)
            for k in range(0, len(parts), _FAN_IN)
        ]
    return parts[0]


def _item(made: list[Float64], index: int) -> Float64:
    return made[index]


def _added(parts: list[Float64]) -> Float64:
    total: Float64 = parts[0].copy()
    for part in parts[1:]:
        total += part
    return total


def _stamp(path: str) -> tuple[int, int]:
    status = Path(path).stat()
    return status.st_size, status.st_mtime_ns


def _sees(stamps: Mapping[str, tuple[int, int]]) -> list[str]:
    """Return which of the files a worker sees as they are."""
    visible = []
    for path, stamp in stamps.items():
        try:
            if _stamp(path) == stamp:
                visible.append(path)
        except OSError:
            continue
    return visible


def _homes(client: Any, stamps: Mapping[str, tuple[int, int]]) -> dict[str, list[str] | None]:
    """Return the hosts that see each file (``None``: all do): shards are read where they lie."""
    try:
        answers: dict[str, Any] = within(
            ALONE_SECONDS, lambda: client.run(_sees, dict(stamps), on_error="return")
        )
        visible = {name: paths for name, paths in answers.items() if isinstance(paths, list)}
        if not visible:
            raise TimeoutError
    except (OSError, TimeoutError):
        raise KoopscopeError(
            f"the workers do not answer within {ALONE_SECONDS:.0f} s",
            "look at their logs, or leave out --engine dask",
        ) from None
    homes: dict[str, list[str] | None] = {}
    for path in stamps:
        workers = [worker for worker in visible if path in visible[worker]]
        # Hosts, not workers: one that was lost comes back under another port.
        hosts = {worker.rpartition("://")[2].rpartition(":")[0] for worker in workers}
        homes[path] = None if len(workers) == len(visible) else sorted(hosts)
        if not workers:
            raise KoopscopeError(
                f"none of the {len(visible)} workers sees {path} as it is here",
                "start workers where the file lies, or put it on a file system that all share",
            )
    return homes
