"""``koopscope prune``: chooses weights to remove, and writes masks of those that stay."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from koopscope.cli import console
from koopscope.cli.options import rank_rule
from koopscope.cli.outputs import Outputs, report_options
from koopscope.cli.reading import Reading, run_options
from koopscope.errors import KoopscopeError
from koopscope.pruning.choices import CRITERION_NAMES, DEFAULT, RECENT, SCOPES, STRUCTURES
from koopscope.report.registry import formats

if TYPE_CHECKING:
    pass

#: Name of the picture, and about how many weights it shows.
PICTURE = "pruning"
PICTURED = 6000

_Kind = TypeVar("_Kind")


@click.command("prune")
@click.argument("run", metavar="RUN")
@click.option(
    "--sparsity",
    "sparsities",
    type=float,
    multiple=True,
    required=True,
    metavar="S",
    help="Share of the weights to remove, such as 0.9; repeat it for several.",
)
@click.option(
    "--criterion",
    type=click.Choice(CRITERION_NAMES),
    default=DEFAULT,
    show_default=True,
    metavar="NAME",
    help=f"What a weight is worth: {', '.join(CRITERION_NAMES)}.",
)
@click.option(
    "--scope",
    type=click.Choice(SCOPES),
    default="global",
    show_default=True,
    help="One threshold for all layers, or the same share of each.",
)
@click.option(
    "--structure",
    type=click.Choice(STRUCTURES),
    default="weight",
    show_default=True,
    help="Single weights, or whole units with their biases.",
)
@click.option(
    "--at",
    type=int,
    metavar="STEP",
    help="Judge the weights of this step; by default, the last one.",
)
@click.option(
    "--include",
    multiple=True,
    metavar="GLOB",
    help="Prune only tensors named like this; by default, matrices and kernels but no embeddings "
    "and norms.",
)
@click.option("--exclude", multiple=True, metavar="GLOB", help="Keep tensors named like this.")
@click.option(
    "--min-keep",
    type=click.IntRange(0),
    default=0,
    metavar="N",
    help="Weights (or units) that every tensor keeps at least.",
)
@click.option("--allow-empty-layer", is_flag=True, help="Let a tensor lose everything.")
@click.option(
    "--snapshots",
    type=click.IntRange(0),
    default=RECENT,
    show_default=True,
    metavar="N",
    help="How many snapshots before that step to use; 0 for all.",
)
@click.option(
    "--rank",
    callback=rank_rule,
    default="0",
    show_default=True,
    metavar="R|0|0.99|-1",
    help="How many directions of motion the spectrum keeps: R of them, 0 for as many as stand out "
    "of the noise, 0.99 for that share of the energy, -1 for all.",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    metavar="K",
    help="Seed of the criterion random.",
)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where the masks go: .safetensors, .npz, .h5 or .pt. Several sparsities take the place of "
    "{sparsity} in the name, or follow it.",
)
@click.option(
    "--apply",
    "checkpoint",
    type=click.Path(path_type=Path),
    metavar="CKPT",
    help="Write not masks but a copy of this checkpoint with zeros in place: a .safetensors or "
    ".npz file, or a run, whose last snapshot is copied.",
)
@run_options
@report_options(*formats("pruning"), figures=True)
def command(
    run: str, sparsities: tuple[float, ...], reading: Reading, outputs: Outputs, **options: Any
) -> None:
    """Choose which weights of RUN to remove, and write masks of those that stay.

    Reads the run twice: once for its spectrum, once to score its weights. Biases, norms, buffers
    and embeddings are kept; tied tensors get one mask. Nothing is written without --output.
    """
    from koopscope.pruning.application import apply_masks
    from koopscope.pruning.basis import PruningSettings, pruning_basis
    from koopscope.pruning.masks import MaskRequest
    from koopscope.pruning.prune import Pruner
    from koopscope.report.pruning import PruningReport
    from koopscope.runs.arrays.writing import check_suffix

    settings = _chosen(PruningSettings, options)
    requests = [_chosen(MaskRequest, {**options, "sparsity": s}) for s in sparsities]
    if len(set(sparsities)) < len(sparsities):
        raise KoopscopeError("a sparsity is given twice", "give each --sparsity once")
    checkpoint: Path | None = options["checkpoint"]
    if checkpoint is not None and options["output"] is None:
        raise KoopscopeError(
            f"--apply {checkpoint} needs a place to write to", "name a file with --output"
        )
    files = output_paths(options["output"], sparsities)
    for file in files:
        check_suffix(file)
    outputs.check((run,), (PICTURE,), inputs=[checkpoint, *reading.inputs], others=files)
    began = time.perf_counter()
    with ExitStack() as stack:
        opened = stack.enter_context(reading.opened(run, "pruning"))
        volume = 2 * opened.volume(opened.description.tensors)
        with console.progress(f"reading {run}", volume) as listener:
            basis = pruning_basis(opened, settings, listener)
            pruner = stack.enter_context(Pruner(opened, basis, settings, listener))
        prunings = tuple(pruner.prune(request) for request in requests)
        report = PruningReport(basis, settings, prunings)
        for file, request in zip(files, requests, strict=False):
            if checkpoint is None:
                pruner.write(file, request, force=outputs.force)
                continue
            for note in apply_masks(pruner, request, checkpoint, file, force=outputs.force):
                console.say(f"{file}: {note}")
        if outputs.plots is not None:
            from koopscope.report.figures.pruning import figure

            sample = pruner.sample(prunings[-1].request, PICTURED)
            outputs.write_picture(PICTURE, lambda: figure(report, sample))
    outputs.write_reports("pruning", report)
    what = f"masks of {prunings[0].total:,} weights"
    if checkpoint is not None:
        what = f"{checkpoint} with {what} applied"
    seconds = time.perf_counter() - began
    if files:
        console.say(f"Wrote {what} to {', '.join(map(str, files))} in {seconds:.1f} s.")
    else:
        console.say(f"Judged in {seconds:.1f} s; no masks written: name a file with --output.")


def output_paths(output: Path | None, sparsities: Sequence[float]) -> list[Path]:
    """Return one file per sparsity: in place of ``{sparsity}``, or before the suffix if needed."""
    if output is None:
        return []
    if "{sparsity}" in output.name:
        return [output.with_name(output.name.replace("{sparsity}", f"{s:g}")) for s in sparsities]
    if len(sparsities) == 1:
        return [output]
    return [output.with_name(f"{output.stem}-{s:g}{output.suffix}") for s in sparsities]


def _chosen(kind: type[_Kind], options: dict[str, Any]) -> _Kind:
    """Make a settings object of the options that are its fields."""
    return kind(**{f.name: options[f.name] for f in fields(kind)})  # type: ignore[arg-type]
