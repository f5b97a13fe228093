"""How each weight matrix set out: a map of its motion in the first tenth of the run."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from koopscope.analysis.scope import Scope
from koopscope.diagnostics.diagnosis import Diagnosis
from koopscope.diagnostics.initialization import InitializationEvidence
from koopscope.diagnostics.statistics.start import snapshots_of_beginning
from koopscope.report.figures.style import (
    COLORMAP,
    entitle,
    fitting_name,
    is_narrow,
    new_figure,
    nothing_to_show,
    run_name,
)

#: Names written beside the map at most.
MOST_NAMES = 40

#: Steps written below it at most.
MOST_STEPS = 8

#: Motion below this part of a matrix's norm is drawn as this.
FAINTEST = 1e-6


def figure(diagnosis: Diagnosis) -> Figure:
    """Draw the picture: matrices top to bottom, increments left to right, dark where still."""
    analysis = diagnosis.analysis
    tensors = [t for t in analysis.finite_tensors if t.kind == "parameter" and len(t.shape) >= 2]
    count = min(snapshots_of_beginning(analysis.description.snapshots), analysis.window.snapshots)
    picture = new_figure(max(2.2, 1.2 + 0.16 * min(len(tensors), MOST_NAMES)))
    axes = picture.subplots()
    entitle(picture, f"The beginning of {run_name(analysis)}")
    axes.set_title("Motion per interval")
    axes.set_xlabel("optimizer step")
    axes.set_ylabel("weight matrix")
    if count < 2 or not tensors:
        nothing_to_show(axes, "no motion: it takes two snapshots of a weight matrix")
        return picture
    rows = []
    for tensor in tensors:
        gram = analysis.gram(Scope("tensor", tensor.name)).window(0, count)
        norm = max(float(np.sqrt(max(gram.anchor_square, 0.0))), FAINTEST)
        rows.append(np.log10(np.maximum(gram.speeds() / norm, FAINTEST)))
    responsible = _responsible(diagnosis)
    steps = analysis.description.steps[analysis.window.first :][1:count]
    image = axes.imshow(np.array(rows), aspect="auto", cmap=COLORMAP, interpolation="nearest")
    if np.ptp(rows) == 0.0:  # nothing moved: the scale would be of nothing
        image.set_clim(np.log10(FAINTEST), 0.0)
    every = -(-len(steps) // (MOST_STEPS // 2 if is_narrow() else MOST_STEPS))
    axes.set_xticks(range(0, len(steps), every), [f"{step:,}" for step in steps[::every]])
    axes.grid(False)
    if len(tensors) <= MOST_NAMES:
        names = [f"{responsible.get(t.name, '')}{fitting_name(t.name)}" for t in tensors]
        axes.set_yticks(range(len(tensors)), names)
    picture.colorbar(image, ax=axes, label="log10(motion / first norm)")
    return picture


def _responsible(diagnosis: Diagnosis) -> dict[str, str]:
    """Return a mark, with its reason, for every matrix the initialization finding names."""
    for finding in diagnosis.findings:
        if isinstance(finding.evidence, InitializationEvidence):
            return {outlier.name: f"({outlier.why}) " for outlier in finding.evidence.layers}
    return {}
