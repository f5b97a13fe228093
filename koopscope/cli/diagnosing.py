"""Judges a run that the user named, with a progress bar."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from koopscope.cli import console

if TYPE_CHECKING:
    from koopscope.analysis.settings import Settings
    from koopscope.diagnostics.diagnosis import Diagnosis
    from koopscope.engine.source import GramSource
    from koopscope.runs.run import Run


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
