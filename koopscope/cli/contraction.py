"""``koopscope contraction``: finds the fixed point of a layer that is applied again and again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from koopscope.cli import console
from koopscope.cli.options import some_analysis_options
from koopscope.cli.outputs import Outputs, report_options
from koopscope.cli.reading import Reading, run_options
from koopscope.report.registry import formats

if TYPE_CHECKING:
    from koopscope.analysis.analysis import Analysis
    from koopscope.analysis.settings import Settings
    from koopscope.report.contraction import ContractionReport

#: Name of the picture.
PICTURE = "contraction"


@click.command("contraction")
@click.argument("run", metavar="RUN")
@click.option(
    "--tolerance",
    "tolerances",
    type=click.FloatRange(0.0, 1.0, min_open=True, max_open=True),
    multiple=True,
    default=(1e-3, 1e-6),
    show_default="0.001 and 0.000001",
    metavar="T",
    help="Count the iterations until the distance to the fixed point has shrunk to this part of "
    "its first value; repeat it for several.",
)
@some_analysis_options("window", "include", "exclude")
@click.option(
    "--fixed-point",
    "output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the predicted fixed point to this .safetensors, .npz, .h5 or .pt file.",
)
@run_options
@report_options(*formats("contraction"), figures=True)
def command(
    run: str,
    tolerances: Sequence[float],
    settings: Settings,
    reading: Reading,
    output: Path | None,
    outputs: Outputs,
) -> None:
    """Tell whether a layer that is applied again and again converges, and where to.

    RUN holds iterates x_0, x_1, ... (hidden states of a layer applied again and again), recorded
    with Recorder(path, states=["*"]), one snapshot per iteration. Reports the contraction factor
    with its interval, the predicted fixed point and its distance, bounds, the iterations needed
    for a tolerance, and what relaxation, Anderson or Newton steps would gain.
    """
    from koopscope.analysis.analysis import Analysis
    from koopscope.engine.room import within_memory
    from koopscope.export.fixed_point import write_fixed_point
    from koopscope.runs.arrays.writing import check_suffix

    if output is not None:
        check_suffix(output)
    written = [output] if output is not None else []
    outputs.check((run,), (PICTURE,), inputs=reading.inputs, others=written)
    purpose = "" if output is None else "writing a fixed point"
    with reading.opened(run, purpose) as recorded:
        opened = within_memory(recorded, settings.asked_steps)
        report = _report(Analysis.of(opened, settings), tolerances)
        if output is not None:
            write_fixed_point(opened, report.analysis, report.found, output, force=outputs.force)
            console.say(f"wrote the predicted fixed point to {output}")
    if outputs.plots is not None:
        from koopscope.report.figures.contraction import figure

        outputs.write_picture(PICTURE, lambda: figure(report))
    outputs.write_reports("contraction", report)


def _report(analysis: Analysis, tolerances: Sequence[float]) -> ContractionReport:
    from koopscope.diagnostics import contraction
    from koopscope.report.contraction import ContractionReport

    estimate = contraction.contraction_of(analysis, tolerances)
    findings = (
        contraction.contraction_finding(estimate),
        contraction.iterations_finding(estimate),
        contraction.acceleration_finding(estimate),
    )
    return ContractionReport(analysis, estimate, findings)
