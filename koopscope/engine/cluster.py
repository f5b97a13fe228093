"""The same pass on a Dask cluster: each task reads a part of one file, only T x T sums travel.

Dask schedules, repeats what a lost worker had, and adds up in a tree; the products are those of
``koopscope.engine.local``, block for block. No weight travels over the network. Each worker checks
that it sees the same file by its size and time of change.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from koopscope._types import Float64
from koopscope._version import __version__
from koopscope.engine.gram_words import pack, unpack
from koopscope.engine.local import Plan, portion_grams, refuse_empty
from koopscope.engine.source import Portion, ProgressListener
from koopscope.engine.store import GramStore
from koopscope.errors import KoopscopeError
from koopscope.runs.detect.opening import open_run
from koopscope.runs.run import Run, TensorInfo
from koopscope.runs.views.shards import ShardedRun

_Result = TypeVar("_Result")

#: Stored bytes that one task reads: a second or so of work.
TASK_BYTES = 256 * 2**20

#: A scheduler handles some thousand tasks a second; larger runs get larger tasks.
MOST_TASKS = 50_000

#: Sums that are added up at once.
_FAN_IN = 8

CONNECT_SECONDS = 10.0

#: Starting workers on this machine, each a Python of its own.
START_SECONDS = 60.0

#: How often the cluster is looked at while it works, and how long it may be without a worker: one
#: that died is started again within seconds.
LOOK_SECONDS = 2.0
ALONE_SECONDS = 20.0

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
        with _client(self.scheduler) as client:
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
                words = _awaited(client, totals[tensor.name], tensor.name)
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


def _awaited(client: Any, future: Any, name: str) -> Any:
    """Return a result, however long it takes, as long as somebody works on it.

    Raises
    ------
    KoopscopeError
        If the task failed, the scheduler has gone, or no worker was left for a while.
    """
    alone_since: float | None = None
    while True:
        try:
            return future.result(timeout=LOOK_SECONDS)
        except KoopscopeError:
            raise
        except (TimeoutError, asyncio.TimeoutError) as error:  # two classes before Python 3.11
            if future.status == "error":  # the task's own
                raise _failed(name, error) from error
        except Exception as error:
            if client.status != "running":
                raise _gone() from None
            raise _failed(name, error) from error
        except CancelledError:
            raise _gone() from None
        if client.status != "running":
            raise _gone()
        try:
            workers = _within(CONNECT_SECONDS, lambda: client.scheduler_info()["workers"])
        except (OSError, TimeoutError):
            raise _gone() from None
        now = time.monotonic()
        alone_since = None if workers else alone_since or now
        if alone_since is not None and now - alone_since > ALONE_SECONDS:
            raise KoopscopeError(
                f"the cluster has had no worker for {ALONE_SECONDS:.0f} s",
                "start workers again, or leave out --engine dask; what was computed is lost",
            )


def _failed(name: str, error: Exception) -> KoopscopeError:
    return KoopscopeError(
        f"the cluster could not compute the inner products of {name}: "
        f"{type(error).__name__}: {error}",
        "look at the workers' logs, or leave out --engine dask",
    )


def _gone() -> KoopscopeError:
    return KoopscopeError(
        "the cluster's scheduler has gone, or does not answer any more",
        "start it again and repeat the command, or leave out --engine dask",
    )


def _within(seconds: float, call: Callable[[], _Result]) -> _Result:
    """Return what a call returns that has no time limit of its own.

    Raises
    ------
    TimeoutError
        If it takes longer; its thread is left behind.
    """
    results: list[_Result] = []
    errors: list[BaseException] = []

    def carry_out() -> None:
        try:
            results.append(call())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=carry_out, daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not results:
        raise TimeoutError(f"no answer within {seconds:.0f} s")
    return results[0]


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
    whole: Float64 = parts[0].copy()
    for part in parts[1:]:
        whole += part
    return whole


def _stamp(path: str) -> tuple[int, int]:
    status = Path(path).stat()
    return status.st_size, status.st_mtime_ns


def _sees(stamps: Mapping[str, tuple[int, int]]) -> list[str]:
    """Return which of the files a worker sees as they are."""
    seen = []
    for path, stamp in stamps.items():
        try:
            if _stamp(path) == stamp:
                seen.append(path)
        except OSError:
            continue
    return seen


def _homes(client: Any, stamps: Mapping[str, tuple[int, int]]) -> dict[str, list[str] | None]:
    """Return the hosts that see each file (``None``: all do): shards are read where they lie."""
    try:
        answers: dict[str, Any] = _within(
            ALONE_SECONDS, lambda: client.run(_sees, dict(stamps), on_error="return")
        )
        seen = {name: found for name, found in answers.items() if isinstance(found, list)}
        if not seen:
            raise TimeoutError
    except (OSError, TimeoutError):
        raise KoopscopeError(
            f"the workers do not answer within {ALONE_SECONDS:.0f} s",
            "look at their logs, or leave out --engine dask",
        ) from None
    homes: dict[str, list[str] | None] = {}
    for path in stamps:
        workers = [worker for worker in seen if path in seen[worker]]
        # Hosts, not workers: one that was lost comes back under another port.
        hosts = {worker.rpartition("://")[2].rpartition(":")[0] for worker in workers}
        homes[path] = None if len(workers) == len(seen) else sorted(hosts)
        if not workers:
            raise KoopscopeError(
                f"none of the {len(seen)} workers sees {path} as it is here",
                "start workers where the file lies, or put it on a file system that all share",
            )
    return homes


@contextmanager
def _client(scheduler: str | None) -> Iterator[Any]:
    try:
        from distributed import Client
    except ImportError:
        raise KoopscopeError(
            "--engine dask needs Dask, which is not installed",
            "pip install 'koopscope[dask]'",
        ) from None
    # What becomes of workers is said in one sentence, not in the log of each of its threads.
    for name in ("distributed", "tornado", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        client = _within(
            CONNECT_SECONDS if scheduler is not None else START_SECONDS,
            lambda: Client(
                scheduler, timeout=CONNECT_SECONDS, set_as_default=False, **_own_cluster(scheduler)
            ),
        )
    except (OSError, TimeoutError, ValueError) as error:
        said = str(error).splitlines() or [type(error).__name__]
        raise KoopscopeError(
            f"no scheduler answers at {scheduler}: {said[0]}"
            if scheduler is not None
            else f"no cluster could be started on this machine: {said[0]}",
            "start one with `dask scheduler` and name its address, tcp://HOST:8786",
        ) from error
    with _closed(client):
        if not client.scheduler_info()["workers"]:
            raise KoopscopeError(
                f"the scheduler at {scheduler} has no workers",
                f"start some with `dask worker {scheduler}`",
            )
        yield client


@contextmanager
def _closed(client: Any) -> Iterator[None]:
    """Close a client at the end, whatever state its cluster is in, and never wait for long."""
    try:
        yield
    finally:
        with suppress(Exception):
            _within(CONNECT_SECONDS, client.close)


def _own_cluster(scheduler: str | None) -> dict[str, Any]:
    """Return how a cluster on this machine alone is started."""
    if scheduler is not None:
        return {}
    return {"processes": True, "threads_per_worker": 1, "dashboard_address": None}
