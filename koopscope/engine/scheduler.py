"""Talk to a Dask scheduler that may be slow or gone: each wait ends, with a result or a sentence.

Knows connections and results, and nothing of weights.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from koopscope.errors import KoopscopeError

_Result = TypeVar("_Result")

CONNECT_SECONDS = 10.0

#: Starting workers on this machine, each a Python of its own.
START_SECONDS = 60.0

#: How often the cluster is looked at while it works, and how long it may be without a worker: one
#: that died is started again within seconds.
LOOK_SECONDS = 2.0
ALONE_SECONDS = 20.0


@contextmanager
def connected(scheduler: str | None) -> Iterator[Any]:
    """Give a ``distributed.Client`` of a scheduler with workers, and close it at the end.

    Parameters
    ----------
    scheduler
        Its address; ``None`` starts worker processes on this machine.

    Raises
    ------
    KoopscopeError
        If Dask is not installed, the scheduler does not answer, or it has no workers.
    """
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
        client = within(
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
            within(CONNECT_SECONDS, client.close)


def _own_cluster(scheduler: str | None) -> dict[str, Any]:
    """Return how a cluster on this machine alone is started."""
    if scheduler is not None:
        return {}
    return {"processes": True, "threads_per_worker": 1, "dashboard_address": None}


def awaited(client: Any, future: Any, name: str) -> Any:
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
            workers = within(CONNECT_SECONDS, lambda: client.scheduler_info()["workers"])
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


def within(seconds: float, call: Callable[[], _Result]) -> _Result:
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
