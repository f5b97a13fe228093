"""Opens the runs that the user named and judges them, with a progress bar."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from koopscope.cli import console

if TYPE_CHECKING:
    from koopscope.analysis.settings import Settings
    from koopscope.diagnostics.diagnosis import Diagnosis
    from koopscope.engine.source import GramSource
    from koopscope.runs.names import Unit
    from koopscope.runs.run import Run


def openers(
    paths: Sequence[str], shards: bool, key: str | None = None
) -> dict[str, Callable[[], Run]]:
    """Return how to open each run by its name; shards are one run, called after the first.

    Checkpoint files with one snapshot each are one run together; ``key`` as for ``open_run``.
    """
    from koopscope.runs.detect.opening import group_sources, open_run, open_shards

    if shards:
        return {paths[0]: partial(open_shards, paths)}
    groups = group_sources(paths)
    names = [f"{group[0]} ... {group[-1]}" if len(group) > 1 else str(group[0]) for group in groups]
    return {
        name: partial(open_run, group, key=key) for name, group in zip(names, groups, strict=True)
    }


def with_metrics(opened: Callable[[], Run], path: str) -> Callable[[], Run]:
    """Return how to open a run together with the metrics that a file of logged numbers holds."""

    def open_with_metrics() -> Run:
        from koopscope.runs.checkpoints.metrics_log import metrics_from

        run = opened()
        try:
            unit: Unit = getattr(run, "unit", "step")
            logged = metrics_from(Path(path), run.description.steps.tolist(), unit)
        except BaseException:
            run.close()
            raise
        run.description = replace(
            run.description,
            metrics={**run.description.metrics, **logged.columns},
            notes=(*run.description.notes, *logged.unmatched),
        )
        return run

    return open_with_metrics


def diagnosed(opened: Callable[[], Run], settings: Settings, source: GramSource) -> Diagnosis:
    """Read and judge one run, with a progress bar where it takes long."""
    from koopscope.analysis.analysis import Analysis
    from koopscope.diagnostics.diagnosis import diagnose
    from koopscope.engine.room import within_memory
    from koopscope.runs.run import select_tensors
    from koopscope.runs.views.progression import evenly_spaced

    with opened() as recorded:
        # A cluster's workers open the file by themselves, and see all of its snapshots.
        run = recorded
        if not source.opens_files:
            run = evenly_spaced(within_memory(run, settings.asked_steps), settings.asked_steps)
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
    for sentence in source.remarks:
        console.say_more(sentence)
    return diagnose(analysis)
