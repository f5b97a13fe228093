"""``koopscope forecast``: predicted weights. Parses, calls, and hands to the report."""

from __future__ import annotations

import time
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from koopscope.cli import console
from koopscope.cli.options import rank_rule
from koopscope.cli.outputs import Outputs, report_options, write_file
from koopscope.errors import KoopscopeError

if TYPE_CHECKING:
    from koopscope.forecasting.results import Forecast

#: As in ``koopscope.forecasting``, which is imported only when called.
RECENT = 20

#: Name of the picture.
PICTURE = "forecast"


@click.command("forecast")
@click.argument("run", metavar="RUN")
@click.option("--to", type=int, metavar="STEP", help="Forecast the weights at this step.")
@click.option(
    "--ahead", type=click.IntRange(1), metavar="K", help="Or so many snapshots after the last one."
)
@click.option(
    "--operator",
    type=click.Choice(["network", "layer", "tensor", "node"]),
    default="network",
    show_default=True,
    help="What has a law of its own; a node is all weights and the bias into a unit.",
)
@click.option(
    "--observable",
    type=click.Choice(["increments", "weights", "centered"]),
    default="increments",
    show_default=True,
    help="What the law is of.",
)
@click.option(
    "--accept",
    type=click.Choice(["none", "sign", "pdt"]),
    default="none",
    show_default=True,
    help="Which weights jump: all; those that go on as in their last increment; of those, the ones "
    "that move by 1 to K times it.",
)
@click.option(
    "--snapshots",
    type=click.IntRange(4),
    default=RECENT,
    show_default=True,
    metavar="N",
    help="Snapshots that the law is fitted to at most.",
)
@click.option(
    "--every",
    type=click.IntRange(1),
    metavar="N",
    help="Pool N neighbouring snapshots, an odd number, into their mean; by default chosen by the "
    "horizon.",
)
@click.option(
    "--rank",
    callback=rank_rule,
    default="auto",
    show_default=True,
    metavar="auto|R|0|0.99|-1",
    help="auto damps all directions of the increments, as predicts best; else truncation as in "
    "analyze, without damping.",
)
@click.option(
    "--delay",
    type=click.IntRange(1),
    metavar="D",
    help="Stack D consecutive values of the observable; 2 where the window allows it.",
)
@click.option("--until", type=int, metavar="STEP", help="Pretend the run ended at this step.")
@click.option(
    "--include", multiple=True, metavar="GLOB", help="Forecast only tensors named like this."
)
@click.option("--exclude", multiple=True, metavar="GLOB", help="Keep tensors named like this.")
@click.option("--allow-growth", is_flag=True, help="Extrapolate growing modes.")
@click.option(
    "--beyond-trust", is_flag=True, help="Forecast farther than the test on the past allows."
)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where the predicted weights go: .safetensors, .npz or .h5.",
)
@report_options("table", "json", figures=True)
def command(run: str, output: Path | None, outputs: Outputs, **options: Any) -> None:
    """Say where the weights of RUN will be, and how far ahead that can be trusted.

    The same forecast is made from moments of the run's own past and held against what came. With
    neither --to nor --ahead there is only that test. What lies farther ahead than it allows, and
    motion that grows, is refused unless asked for. Nothing is written without --output.
    """
    from koopscope.forecasting.api import write_prediction
    from koopscope.forecasting.forecast import Forecaster
    from koopscope.forecasting.plan import ForecastSettings
    from koopscope.runs.arrays.writing import check_suffix
    from koopscope.runs.detect.opening import open_run

    options["every"] = options["every"] or 0
    settings = ForecastSettings(**{f.name: options[f.name] for f in fields(ForecastSettings)})
    if output is not None:
        if settings.to is None and settings.ahead is None:
            raise KoopscopeError(
                f"nothing says which step's weights go to {output}", "give a step with --to"
            )
        check_suffix(output)
    outputs.check((run,), (PICTURE,), others=[output] if output is not None else [])
    began = time.perf_counter()
    with open_run(run) as opened:
        volume = 2 * opened.volume(opened.description.tensors)
        with console.progress(f"reading {run}", volume) as listener:
            forecaster = Forecaster(opened, settings, listener)
            if output is None:
                found = forecaster.forecast()
            else:
                found = write_prediction(forecaster, output, force=outputs.force)
    if outputs.plots is not None:
        _draw(found, outputs)
    outputs.write_reports("forecast", found)
    seconds = time.perf_counter() - began
    if settings.beyond_trust and found.plan.target is not None and not found.is_trusted:
        console.complain(found.verdict, "it was forecast all the same: --beyond-trust", "warning")
    if output is not None:
        console.say(
            f"Wrote the weights of step {found.plan.target} to {output} in {seconds:.1f} s."
        )
    else:
        console.say(f"Forecast in {seconds:.1f} s; nothing written: name a file with --output.")


def _draw(found: Forecast, outputs: Outputs) -> None:
    from koopscope.report.figures.forecast import figure
    from koopscope.report.figures.style import styled, to_bytes

    assert outputs.plots is not None
    path = outputs.plots / f"{PICTURE}.{outputs.plot_format}"
    with styled():
        write_file(path, to_bytes(figure(found), outputs.plot_format))
    console.say_more(f"wrote {path}")
