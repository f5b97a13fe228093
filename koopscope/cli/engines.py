"""The options that choose what reads a run: this process or a cluster, with or without a cache."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from koopscope.cli.options import decorated

if TYPE_CHECKING:
    from koopscope.engine.source import GramSource

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
]

_NO_CACHE = click.option(
    "--no-cache",
    "cache",
    flag_value=False,
    type=bool,
    default=True,
    help="Read the run anew, and keep no results on disk for the next time.",
)
_CACHE = click.option(
    "--cache",
    "cache",
    is_flag=True,
    help="Use what an earlier call kept on disk, and keep results for the next; without it the run "
    "is read anew.",
)
_IGNORED = click.option("--no-cache", "_", is_flag=True, hidden=True, expose_value=False)


def engine_options(verb: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of the pass to a verb; it receives ``source`` and ``shards``."""
    return decorated(_with_source(verb), [*_OPTIONS, _NO_CACHE])


def judging_engine_options(verb: Callable[..., Any]) -> Callable[..., Any]:
    """Add the same to a verb that judges: it rests on the run alone unless a cache is asked for."""
    return decorated(_with_source(verb), [*_OPTIONS, _CACHE, _IGNORED])


def _with_source(verb: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(verb)
    def with_source(
        *arguments: Any, engine: str, scheduler: str | None, cache: bool, **options: Any
    ) -> Any:
        if scheduler is not None and engine != "dask":
            raise click.UsageError("--scheduler needs --engine dask")
        return verb(*arguments, source=_source(engine, scheduler, cache), **options)

    return with_source


def _source(engine: str, scheduler: str | None, cache: bool) -> GramSource:
    from koopscope.engine.cache import Cached
    from koopscope.engine.local import LocalPass

    source: GramSource = LocalPass()
    if engine == "dask":
        from koopscope.engine.cluster import DaskEngine

        source = DaskEngine(scheduler)
    return Cached(_user_folder(), source, extend=engine == "local") if cache else source


def _user_folder() -> Path:
    """Return where this user's programs keep what they can compute again, and the secret."""
    stated = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(stated) if Path(stated).is_absolute() else Path.home() / ".cache"
    return base / "koopscope"
