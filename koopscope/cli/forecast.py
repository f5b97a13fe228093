"""``koopscope forecast``: predicts weights of later steps, and writes them."""

from __future__ import annotations

import time
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from koopscope.cli import console
from koopscope.cli.options import rank_rule
from koopscope.cli.outputs import Outputs, report_options
from koopscope.cli.reading import Reading, run_options
from koopscope.errors import KoopscopeError
from koopscope.forecasting.choices import ACCEPTANCES, FEWEST, MAX_ERROR, OPERATORS, RECENT
from koopscope.report.registry import formats

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
    type=click.Choice(OPERATORS),
    default="network",
    show_default=True,
    help="Which parts are forecast separately; a node is all weights and the bias into a unit.",
)
@click.option(
    "--observable",
    type=click.Choice(["increments", "weights", "centered"]),
    default="increments",
    show_default=True,
    help="What is extrapolated: the changes between snapshots, the weights themselves, or the "
    "weights about their mean.",
)
@click.option(
    "--accept",
    type=click.Choice(ACCEPTANCES),
    default="none",
    show_default=True,
    help="Which weights move: none tests nothing, so all do; sign, those that go on in the "
    "direction of their last change; pdt, of those the ones that move by 1 to K times that change.",
)
@click.option(
    "--snapshots",
    type=click.IntRange(FEWEST),
    default=RECENT,
    show_default=True,
    metavar="N",
    help="How many snapshots to fit to at most.",
)
@click.option(
    "--every",
    type=click.IntRange(1),
    metavar="N",
    help="Average every N neighbouring snapshots, an odd number; by default chosen by how far "
    "ahead the step is.",
)
@click.option(
    "--rank",
    callback=rank_rule,
    default="auto",
    show_default=True,
    metavar="auto|R|0|0.99|-1",
    help="auto keeps all directions of motion and damps them, which predicts best; anything else "
    "keeps as many as in analyze, without damping.",
)
@click.option(
    "--delay",
    type=click.IntRange(1),
    metavar="D",
    help="Fit to D consecutive changes at a time; by default 2 where there are enough snapshots.",
)
@click.option("--until", type=int, metavar="STEP", help="Pretend the run ended at this step.")
@click.option(
    "--include", multiple=True, metavar="GLOB", help="Forecast only tensors named like this."
)
@click.option("--exclude", multiple=True, metavar="GLOB", help="Keep tensors named like this.")
@click.option("--allow-growth", is_flag=True, help="Forecast even where the weights keep growing.")
@click.option(
    "--max-error",
    type=float,
    default=MAX_ERROR,
    show_default=True,
    metavar="E",
    help="The largest error that is trusted, relative to that of assuming no change.",
)
@click.option(
    "--beyond-trust",
    is_flag=True,
    help="Forecast farther ahead than the test on the run's own past allows.",
)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where the predicted weights go: .safetensors, .npz, .h5 or .pt.",
)
@run_options
@report_options(*formats("forecast"), figures=True)
def command(
    run: str, output: Path | None, reading: Reading, outputs: Outputs, **options: Any
) -> None:
    """Predict the weights of RUN at a later step, and tell how far ahead that can be trusted.

    The same forecast is made from earlier moments of the run and compared with what was recorded
    later. With neither --to nor --ahead, only this test is made. A step that lies farther ahead
    than the test allows is refused, and so are weights that keep growing, unless asked for.
    Nothing is written without --output.
    """
    from koopscope.forecasting.api import write_prediction
    from koopscope.forecasting.forecaster import Forecaster
    from koopscope.forecasting.plan import ForecastSettings
    from koopscope.runs.arrays.writing import check_suffix

    options["every"] = options["every"] or 0
    settings = ForecastSettings(**{f.name: options[f.name] for f in fields(ForecastSettings)})
    if output is not None:
        if settings.to is None and settings.ahead is None:
            raise KoopscopeError(
                f"nothing says which step's weights go to {output}", "give a step with --to"
            )
        check_suffix(output)
    outputs.check(
        (run,), (PICTURE,), inputs=reading.inputs, others=[output] if output is not None else []
    )
    began = time.perf_counter()
    with reading.opened(run, "a forecast") as opened:
        volume = 2 * opened.volume(opened.description.tensors)
        with console.progress(f"reading {run}", volume) as listener:
            forecaster = Forecaster(opened, settings, listener)
            if output is None:
                result = forecaster.forecast()
            else:
                result = write_prediction(forecaster, output, force=outputs.force)
    if outputs.plots is not None:
        from koopscope.report.figures.forecast import figure

        outputs.write_picture(PICTURE, lambda: figure(result))
    outputs.write_reports("forecast", result)
    seconds = time.perf_counter() - began
    if settings.beyond_trust and result.plan.target is not None and not result.is_trusted:
        console.complain(result.verdict, "it was forecast all the same: --beyond-trust", "warning")
    if output is not None:
        console.say(
            f"Wrote the weights of step {result.plan.target} to {output} in {seconds:.1f} s."
        )
    else:
        console.say(f"Forecast in {seconds:.1f} s; nothing written: name a file with --output.")
