"""The README's table of the sample runs, computed from the run files alone (no PyTorch needed)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from koopscope.runs.detect.opening import open_run
from koopscope.runs.run import RunDescription

BEGIN = "<!-- table: begin, written by make.py -->"
END = "<!-- table: end -->"
COLUMNS = (
    "run",
    "network",
    "optimizer",
    "snapshots",
    "weights",
    "loss, first → last",
    "lowest val_loss",
    "last val_loss",
    "last accuracy, val_accuracy",
    "kB",
)


def render(paths: Sequence[Path]) -> str:
    """Return the table of those run files, and below it what is true of each."""
    runs = [(path, describe(path)) for path in paths]
    lines = [markdown_row(COLUMNS), markdown_row(["---"] * len(COLUMNS))]
    lines += [markdown_row(cells(path, run)) for path, run in runs]
    for path, run in runs:
        lines += ["", f"**{path.stem}**: {run.metadata['truth']}", *comparison(run)]
    return "\n".join(lines)


def describe(path: Path) -> RunDescription:
    with open_run(path) as run:
        return run.description


def cells(path: Path, run: RunDescription) -> list[str]:
    """Return one row of the table."""
    loss, val_loss = run.metrics["loss"], run.metrics["val_loss"]
    best = int(np.nanargmin(val_loss))
    return [
        f"`{path.name}`",
        network(run.metadata),
        optimizer(run.metadata),
        str(run.snapshots),
        f"{run.parameters:,}",
        f"{number(loss[0])} → {number(loss[-1])}",
        f"{number(val_loss[best])} at step {run.steps[best]} of {run.steps[-1]}",
        number(val_loss[-1]),
        accuracies({name: values[-1] for name, values in run.metrics.items()}),
        f"{path.stat().st_size / 1000:,.0f}",
    ]


def network(metadata: Any) -> str:
    match metadata["network"]:
        case "mlp":
            hidden = metadata["hidden"]
            if not hidden:
                return "linear"
            same = len(set(hidden)) == 1 and len(hidden) > 2
            widths = f"{len(hidden)} x {hidden[0]}" if same else "-".join(map(str, hidden))
            return f"MLP, hidden {widths}"
        case "cnn":
            return f"CNN, channels {'-'.join(map(str, metadata['channels']))}"
        case kind:
            return f"{kind}, width {metadata['width']}, {metadata['blocks']} blocks"


def optimizer(metadata: Any) -> str:
    extras = [f"{key} {metadata[key]}" for key in ("momentum", "weight_decay") if key in metadata]
    schedule = [] if metadata["schedule"] == "constant" else [metadata["schedule"]]
    return ", ".join([f"{metadata['optimizer']} {metadata['lr']}", *extras, *schedule])


def comparison(run: RunDescription) -> Iterator[str]:
    """Yield a small table: the recorded end of the run next to the ends of its variations."""
    if not run.metadata["variations"]:
        return
    header = ["", "step", "loss", "lowest val_loss", "last val_loss", "accuracy, val_accuracy"]
    yield from ["", markdown_row(header), markdown_row(["---"] * len(header))]
    recorded = {name: values[-1] for name, values in run.metrics.items()}
    recorded |= {"step": run.steps[-1], "lowest_val_loss": np.nanmin(run.metrics["val_loss"])}
    for name, end in [("as recorded", recorded), *run.metadata["variations"].items()]:
        losses = [number(end[key]) for key in ("loss", "lowest_val_loss", "val_loss")]
        yield markdown_row([name, str(end["step"]), *losses, accuracies(end)])


def accuracies(end: Any) -> str:
    shown = [f"{100 * end[key]:.1f}%" for key in ("accuracy", "val_accuracy") if key in end]
    return ", ".join(shown) or "(regression)"


def number(value: float) -> str:
    return f"{value:.4f}" if abs(value) < 1e4 else f"{value:.3g}"


def markdown_row(values: Sequence[str]) -> str:
    return f"| {' | '.join(values)} |"
