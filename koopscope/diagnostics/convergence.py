"""How far would the weights still go? An uncalibrated statistic, so never more than information."""

from __future__ import annotations

import numpy as np

from koopscope.analysis import Analysis
from koopscope.diagnostics.finding import Diagnostic, Finding
from koopscope.spectra.dmd import Spectrum, dmd
from koopscope.spectra.gram import SnapshotGram

#: Snapshots of one sliding window and rank of its spectrum: enough to see two decaying pairs.
WINDOW = 16
RANK = 4

#: Slower modes are taken to be this slow: a straight drift has no finite remainder.
SLOWEST = 0.995

#: Eigenvalues of the raw spectrum at most this far from 1 count as clustered around it.
CLUSTER_RADIUS = 0.05


def remaining_displacement(spectrum: Spectrum) -> float:
    """Return the predicted distance from the last snapshot to where the increments run out.

    The increments' modes beyond the window sum to b_j lambda_j / (1 - lambda_j) each, starting from
    the last increment's own coordinates; orthonormal directions turn that into a length.
    """
    if spectrum.rank == 0:
        return 0.0
    last = np.linalg.lstsq(
        spectrum.eigenvectors, spectrum.trajectory[:, -1].astype(complex), rcond=None
    )[0]
    magnitudes = np.maximum(spectrum.magnitudes, np.finfo(float).tiny)
    bounded = spectrum.eigenvalues * np.minimum(1.0, SLOWEST / magnitudes)
    return float(np.linalg.norm(spectrum.eigenvectors @ (last * bounded / (1.0 - bounded))))


def _relative_remaining(gram: SnapshotGram, travelled: float) -> float | None:
    if travelled <= 0.0:
        return None
    return remaining_displacement(dmd(gram, "increments", rank=RANK)) / travelled


def ask(analysis: Analysis) -> Finding:
    """Report the predicted remaining displacement over sliding windows."""
    steps = analysis.description.steps
    first = analysis.window.first
    gram = analysis.gram() if analysis.has_spectrum else None
    history = []
    if gram is not None:
        for stop in range(WINDOW, gram.snapshots + 1):
            remaining = _relative_remaining(
                gram.window(stop - WINDOW, stop), gram.window(0, stop).displacement()
            )
            history.append({"step": int(steps[first + stop - 1]), "remaining": remaining})
    evidence = {
        "state": "inconclusive",
        "calibrated": False,
        "stop_step": None,
        "stop_history": history,
        "remaining": history[-1]["remaining"] if history else None,
        "cluster": None,
    }
    if gram is None or not history or history[-1]["remaining"] is None:
        return Finding(
            DIAGNOSTIC.id,
            DIAGNOSTIC.code,
            "inconclusive",
            f"{analysis.window.snapshots} usable snapshots are too few, or nothing moved: it takes "
            f"{WINDOW} to predict the rest of the way.",
            evidence=evidence,
        )
    raw = analysis.spectrum(observable="weights")
    near = np.abs(raw.eigenvalues - 1.0) <= CLUSTER_RADIUS
    evidence["cluster"] = {
        "radius": CLUSTER_RADIUS,
        "count": int(near.sum()),
        "of": raw.rank,
        "share": float(raw.shares[near].sum()),
    }
    left = float(history[-1]["remaining"])
    return Finding(
        DIAGNOSTIC.id,
        DIAGNOSTIC.code,
        "inconclusive",
        f"Predicted remaining displacement: {left:.1%} of the distance travelled "
        "(uncalibrated, so no verdict).",
        value=left,
        unit="share of the distance travelled",
        evidence=evidence,
    )


DIAGNOSTIC = Diagnostic(
    id="convergence",
    code="KS101",
    title="Convergence",
    explanation=(
        "Extrapolates the spectrum of the increments to the end of the motion and compares what "
        "is left with the distance travelled so far. Not calibrated: it gives a number, no "
        "verdict."
    ),
    ask=ask,
)
