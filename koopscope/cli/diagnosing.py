"""Open the runs a user named and judge them, watched: what several verbs do first."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from koopscope.cli import console
from koopscope.cli.engines import what_happened

if TYPE_CHECKING:
    from koopscope.analysis.analysis import Settings
    from koopscope.diagnostics.diagnosis import Diagnosis
    from koopscope.engine.local import GramSource
    from koopscope.runs.run import Run


def openers(paths: Sequence[str], shards: bool) -> dict[str, Callable[[], Run]]:
    """Return how to open each run by its name; shards are one run, called after the first.

    Checkpoint files with one snapshot each are one run together.
    """
    from koopscope.runs.detect.opening import group_sources, open_run, open_shards

    if shards:
        return {paths[0]: partial(open_shards, paths)}
    groups = group_sources(paths)
    names = [f"{group[0]} ... {group[-1]}" if len(group) > 1 else str(group[0]) for group in groups]
    return {name: partial(open_run, group) for name, group in zip(names, groups, strict=True)}


def diagnosed(opened: Callable[[], Run], settings: Settings, source: GramSource) -> Diagnosis:
    """Read and judge one run, with a progress bar where it takes long."""
    from koopscope.analysis.analysis import Analysis
    from koopscope.diagnostics.diagnosis import diagnose
    from koopscope.runs.run import select_tensors

    with opened() as run:
        path = run.description.path
        tensors = select_tensors(run.description, settings.include, settings.exclude)
        volume = run.volume(tensors)
        with console.progress(f"reading {path}", volume) as listener:
            began = time.perf_counter()
            analysis = Analysis.of(run, settings, listener, source)
            seconds = time.perf_counter() - began
        console.say_more(
            f"read {volume / 2**20:,.1f} MiB of {path} in {seconds:.2f} s "
            f"({volume / 2**20 / seconds:,.0f} MiB/s)"
        )
    for sentence in what_happened(source):
        console.say_more(sentence)
    return diagnose(analysis)
