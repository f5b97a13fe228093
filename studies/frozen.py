"""Some of the held-out runs as Gram matrices and metrics, so that scores need no training.

``python -m studies.frozen --corpus DIR`` writes it anew.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from koopscope.analysis.analysis import Analysis
from koopscope.analysis.settings import Settings
from koopscope.runs.run import RunDescription, TensorInfo
from koopscope.spectra.changes import ChangeCounts
from koopscope.spectra.gram import SnapshotGram
from studies import corpus
from studies.corpus import Case
from studies.labels import Truth

FROZEN = Path(__file__).parent / "frozen.npz"

#: Families of few tensors, and which of their runs: every fourth start was spoiled.
FAMILIES = ("diabetes_mlp", "spirals_mlp", "community_graph", "waves_conv", "grammar_gru")
RUNS = (0, 2, 3, 5, 9, 11, 16, 19)

_ARRAYS = ("anchor_increments", "unchanged", "nonfinite")
_PRODUCTS = ("anchor_square", "size")
_COUNTS = ("still", "compared", "twins")


def _pack(case: Case, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Add a run's arrays under its name and return what else there is to know of it."""
    tensors = []
    for index, tensor in enumerate(case.analysis.tensors):
        gram = case.analysis.grams[tensor.name]
        upper = gram.increments[np.triu_indices(len(gram.increments))]
        arrays[f"{case.name}/{index}/increments"] = upper.astype(np.float32)
        for name in _ARRAYS:
            values = gram.changes.unchanged if name == "unchanged" else getattr(gram, name)
            small = np.float32 if values.dtype == np.float64 else np.uint16
            arrays[f"{case.name}/{index}/{name}"] = values.astype(small)
        numbers = {name: getattr(gram, name) for name in _PRODUCTS}
        numbers |= {name: getattr(gram.changes, name) for name in _COUNTS}
        tensors.append({**dataclasses.asdict(tensor), **numbers})
    description = case.analysis.description
    arrays[f"{case.name}/steps"] = description.steps
    arrays[f"{case.name}/val_loss"] = case.truth.val_loss
    for name, values in description.metrics.items():
        arrays[f"{case.name}/metrics/{name}"] = values
    outcome = {
        "snapshots": case.outcome["snapshots"],
        "first_gradient_norm": case.outcome["first_gradient_norm"],
        "loss": case.outcome["loss"][: description.snapshots],
    }
    truth = dataclasses.asdict(case.truth)
    truth.pop("val_loss")
    return {
        "family": case.family,
        "tensors": tensors,
        "metrics": list(description.metrics),
        "outcome": outcome,
        "truth": truth,
        "bounds": [case.chance, case.best_train],
    }


def freeze(cases: Sequence[Case], path: Path) -> None:
    """Write the runs to one file."""
    arrays: dict[str, np.ndarray] = {}
    known = {case.name: _pack(case, arrays) for case in cases}
    np.savez_compressed(path, known=np.array(json.dumps(known)), **arrays)


def _gram(arrays: Any, prefix: str, numbers: dict[str, Any]) -> SnapshotGram:
    parts = {name: arrays[f"{prefix}/{name}"] for name in _ARRAYS}
    moves = len(parts["unchanged"])
    increments = np.zeros((moves, moves))
    increments[np.triu_indices(moves)] = arrays[f"{prefix}/increments"]
    increments += np.triu(increments, 1).T
    return SnapshotGram(
        increments=increments,
        anchor_increments=parts["anchor_increments"].astype(np.float64),
        nonfinite=parts["nonfinite"].astype(np.int64),
        changes=ChangeCounts(
            unchanged=parts["unchanged"].astype(np.int64),
            **{name: numbers.pop(name) for name in _COUNTS},
        ),
        **{name: numbers.pop(name) for name in _PRODUCTS},
    )


def thaw(path: Path = FROZEN) -> list[Case]:
    """Return the frozen runs."""
    cases = []
    with np.load(path) as arrays:
        for name, known in json.loads(str(arrays["known"])).items():
            grams, tensors = {}, []
            for index, entry in enumerate(known["tensors"]):
                grams[entry["name"]] = _gram(arrays, f"{name}/{index}", entry)
                tensors.append(TensorInfo(**{**entry, "shape": tuple(entry["shape"])}))
            metrics = {each: arrays[f"{name}/metrics/{each}"] for each in known["metrics"]}
            val_loss = arrays[f"{name}/val_loss"]
            description = RunDescription(
                name, "frozen", arrays[f"{name}/steps"], tuple(tensors), metrics
            )
            cases.append(
                Case(
                    name,
                    known["family"],
                    Analysis(description, grams, Settings()),
                    {**known["outcome"], "val_loss": val_loss.tolist()},
                    Truth(**known["truth"], val_loss=val_loss),
                    *known["bounds"],
                )
            )
    return cases


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, required=True)
    options = parser.parse_args()
    cases = corpus.load(options.corpus / "runs", FAMILIES)
    freeze([case for case in cases if int(case.name[-2:]) in RUNS], FROZEN)


if __name__ == "__main__":
    main()
