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
        "--no-cache", is_flag=True, help="Neither use nor keep the run's inner products on disk."
    ),
]


def engine_options(verb: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of the pass to a verb; it receives them as one ``source``."""

    @functools.wraps(verb)
    def with_source(*arguments: Any, no_cache: bool, **options: Any) -> Any:
        return verb(*arguments, source=_source(no_cache), **options)

    return decorated(with_source, _OPTIONS)


def _source(no_cache: bool) -> GramSource:
    from koopscope.engine.cache import Cached
    from koopscope.engine.local import snapshot_grams

    return snapshot_grams if no_cache else Cached(_user_folder(), snapshot_grams)


def what_happened(source: GramSource) -> list[str]:
    """Return what became of the cache, in sentences."""
    return list(getattr(source, "said", []))


def _user_folder() -> Path:
    """Return where this user's programs keep what they can compute again."""
    stated = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(stated) if Path(stated).is_absolute() else Path.home() / ".cache"
    return base / "koopscope"
