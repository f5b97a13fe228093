"""Who carries the pass out, as asked for: this process or a cluster, with or without a cache."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from koopscope.cli.options import decorated

if TYPE_CHECKING:
    from koopscope.engine.local import GramSource

_OPTIONS = [
    click.option(
        "--shards",
        is_flag=True,
        help="The RUNs are shards of one run: the same steps, different tensors.",
    ),
    click.option(
        "--engine",
        type=click.Choice(["local", "dask"]),
        default="local",
        show_default=True,
        help="Read in this process, or on a Dask cluster.",
    ),
    click.option(
        "--scheduler",
        metavar="ADDRESS",
        help="The cluster's scheduler, such as tcp://10.0.0.1:8786; without it, --engine dask "
        "starts workers on this machine.",
    ),
    click.option(
        "--no-cache", is_flag=True, help="Neither use nor keep the run's inner products on disk."
    ),
]


def engine_options(verb: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of the pass to a verb; it receives ``source`` and ``shards``."""

    @functools.wraps(verb)
    def with_source(
        *arguments: Any, engine: str, scheduler: str | None, no_cache: bool, **options: Any
    ) -> Any:
        if scheduler is not None and engine != "dask":
            raise click.UsageError("--scheduler needs --engine dask")
        return verb(*arguments, source=_source(engine, scheduler, no_cache), **options)

    return decorated(with_source, _OPTIONS)


def _source(engine: str, scheduler: str | None, no_cache: bool) -> GramSource:
    from koopscope.engine.cache import Cached
    from koopscope.engine.local import snapshot_grams

    source: GramSource = snapshot_grams
    if engine == "dask":
        from koopscope.engine.cluster import DaskEngine

        source = DaskEngine(scheduler)
    return source if no_cache else Cached(_user_folder(), source, extend=engine == "local")


def what_happened(source: GramSource) -> list[str]:
    """Return what became of the cache, in sentences."""
    return list(getattr(source, "said", []))


def _user_folder() -> Path:
    """Return where this user's programs keep what they can compute again."""
    stated = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(stated) if Path(stated).is_absolute() else Path.home() / ".cache"
    return base / "koopscope"
