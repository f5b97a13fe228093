"""``koopscope depth``: estimates from data how many layers a model needs, before training."""

from __future__ import annotations

import click

from koopscope.cli.outputs import Outputs, report_options

#: Name of the picture.
PICTURE = "depth"


@click.command("depth")
@click.option(
    "--signal",
    required=True,
    metavar="DATA",
    help="FILE.csv, FILE.npy or FILE.h5:DATASET with evenly spaced samples: y, or x and y.",
)
@click.option(
    "--method",
    "methods",
    type=click.Choice(["fft", "dmd"]),
    multiple=True,
    default=("fft", "dmd"),
    show_default="both",
    help="Find frequencies by the Fourier transform or by Hankel DMD; repeat it for both.",
)
@report_options("table", "json", figures=True)
def command(signal: str, methods: tuple[str, ...], outputs: Outputs) -> None:
    """Tell how many layers a hierarchical model of a function needs, before any training.

    Reads a sampled function and counts the scales among its frequencies, as Mohr et al. (2021) do
    for hierarchical support vector regression: the training error drops once that many layers,
    from the coarsest scale to the finest, are there. To judge the depth of recorded runs, use
    `koopscope analyze` on one run or on several that differ in depth.
    """
    from koopscope.report.scales import ScalesReport
    from koopscope.runs.arrays.signal import read_signal
    from koopscope.spectra.scales import scales_of

    outputs.check([signal], (PICTURE,), inputs=[signal, signal.rpartition(":")[0] or None])
    samples = read_signal(signal)
    estimates = [
        scales_of(samples.values, samples.spacing, "fft" if method == "fft" else "dmd")
        for method in methods
    ]
    report = ScalesReport(samples, estimates)
    if outputs.plots is not None:
        from koopscope.report.figures.scales import figure

        outputs.write_picture(PICTURE, lambda: figure(report))
    outputs.write_reports("scales", report)
