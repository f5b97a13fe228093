"""How a RUN is read: the options that say so, the same for every verb, and opening runs by them.

A verb takes ``@run_options`` and gets a ``reading``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from koopscope.cli.options import decorated
from koopscope.errors import KoopscopeError

if TYPE_CHECKING:
    from koopscope.runs.checkpoints.hdf5_layouts import TimeAxis
    from koopscope.runs.names import Unit
    from koopscope.runs.run import Run

key_option = click.option(
    "--key",
    metavar="NAME",
    help="PyTorch checkpoints: take the weights under this name, such as ema.",
)
time_axis_option = click.option(
    "--time-axis",
    type=click.Choice(["first", "last"]),
    help="Which axis of an HDF5 file's datasets is time, if the file does not say.",
)
metrics_option = click.option(
    "--metrics",
    metavar="FILE",
    help="Losses and other numbers that training logged: CSV, JSON lines, trainer_state.json, "
    "TensorBoard's event file, or the folder of a run of MLflow, W&B or Lightning.",
)


@dataclass(frozen=True)
class Reading:
    """How a run is to be read.

    Attributes
    ----------
    key, time_axis
        See ``koopscope.open_run``.
    metrics
        A file or folder of numbers that training logged.
    """

    key: str | None = None
    time_axis: TimeAxis | None = None
    metrics: str | None = None

    @property
    def inputs(self) -> tuple[str, ...]:
        """What is read besides the run, for outputs not to overwrite it."""
        return () if self.metrics is None else (self.metrics,)

    def opened(self, source: Any, weights_for: str = "") -> Run:
        """Open what ``koopscope.open_run`` takes.

        Parameters
        ----------
        weights_for
            What weights are needed for, if they are.

        Raises
        ------
        KoopscopeError
            If it, or the metrics, cannot be read.
        """
        from koopscope.runs.detect.opening import open_run

        return self._with_metrics(
            open_run(source, key=self.key, time_axis=self.time_axis, weights_for=weights_for)
        )

    def openers(self, paths: Sequence[str], shards: bool = False) -> dict[str, Callable[[], Run]]:
        """Return how to open each run by its name; shards are one run, called after the first.

        Checkpoint files with one snapshot each are one run together.

        Raises
        ------
        KoopscopeError
            If the metrics of one run are given for several.
        """
        from koopscope.runs.detect.opening import group_sources

        if shards:
            return {paths[0]: partial(self._opened_shards, paths)}
        groups = group_sources(paths)
        if self.metrics is not None and len(groups) > 1:
            raise KoopscopeError(
                f"--metrics names the log of one run, and there are {len(groups)}",
                "name them one by one",
            )
        names = [f"{g[0]} ... {g[-1]}" if len(g) > 1 else str(g[0]) for g in groups]
        return {
            name: partial(self.opened, group) for name, group in zip(names, groups, strict=True)
        }

    def words(self) -> list[str]:
        """Return the options again, as words of a command line."""
        given = {"--key": self.key, "--time-axis": self.time_axis, "--metrics": self.metrics}
        return [word for name, value in given.items() if value for word in (name, value)]

    def _opened_shards(self, paths: Sequence[str]) -> Run:
        from koopscope.runs.detect.opening import open_shards

        return self._with_metrics(open_shards(paths, key=self.key, time_axis=self.time_axis))

    def _with_metrics(self, run: Run) -> Run:
        if self.metrics is None:
            return run
        from koopscope.runs.checkpoints.metrics_log import metrics_from

        try:
            unit: Unit = getattr(run, "unit", "step")
            logged = metrics_from(Path(self.metrics), run.description.steps.tolist(), unit)
        except BaseException:
            run.close()
            raise
        run.description = replace(
            run.description,
            metrics={**run.description.metrics, **logged.columns},
            notes=(*run.description.notes, *logged.unmatched),
        )
        return run


def run_options(verb: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options to a verb; it receives them as one ``reading``."""

    @functools.wraps(verb)
    def with_reading(
        *arguments: Any,
        key: str | None,
        time_axis: TimeAxis | None,
        metrics: str | None,
        **options: Any,
    ) -> Any:
        return verb(*arguments, reading=Reading(key, time_axis, metrics), **options)

    return decorated(with_reading, [key_option, time_axis_option, metrics_option])
