"""How often verdicts from a sketch are those from the weights, and eigenvalues inside intervals.

Every run is recorded again as sketches of K numbers a tensor and judged again. Of the eigenvalues
of the network that carry at least 1% of its motion, it is counted how many lie within the interval
that the sketch states. What was measured of a run is kept in OUT, so that an interrupted study can
be resumed:

    python -m studies.sketch.agreement sample_runs FOLDER... --out DIR
    python -m studies.sketch.agreement --out DIR --summary studies/sketch/agreement.json
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import koopscope
from koopscope.analysis.analysis import LEAST_SHARE
from koopscope.diagnostics.diagnosis import Diagnosis
from koopscope.diagnostics.sketched import T_90
from koopscope.runs.dtypes import StoredArray
from koopscope.runs.native.recorder import Recorder
from koopscope.runs.sketching import sketcher
from koopscope.spectra.matching import matched
from koopscope.spectra.measured import compression_errors

NUMBERS = (16, 64, 256, 1024)

#: Errors below this are those of float32 in the file, of runs whose tensors were all kept whole.
ROUNDING = 1e-6

#: Bytes that a sketcher remembers for its facts: what it has, so that all tensors of these small
#: networks have exact ones, and next to nothing, as of a tensor a thousand times as large.
FACTS = {"exact": sketcher.REMEMBERED_BYTES, "coarse": 0}


def snapshots(path: Path) -> tuple[dict[str, list[str]], list[tuple[int, dict[str, Any], Any]]]:
    """Return which tensors are buffers and states, and every snapshot as a recorder takes it."""
    with koopscope.open_run(path) as run:
        about = run.description
        kinds = {
            kind: [t.name for t in about.tensors if t.kind == kind] for kind in ("buffer", "state")
        }
        values = {
            tensor.name: np.concatenate([b.values.copy() for b in run.blocks([tensor])], axis=1)
            for tensor in about.tensors
        }
        rows = []
        for index, step in enumerate(about.steps.tolist()):
            tensors = {
                t.name: StoredArray(
                    values[t.name].dtype.name, values[t.name][index].reshape(t.shape)
                ).cast(t.dtype)
                for t in about.tensors
            }
            metrics = {
                name: column[index]
                for name, column in about.metrics.items()
                if np.isfinite(column[index])
            }
            rows.append((step, tensors, metrics))
    return kinds, rows


def sketched(path: Path, output: Path, numbers: int, facts: str, seed: int = 0) -> None:
    """Record a run again as sketches."""
    kinds, rows = snapshots(path)
    kept = sketcher.Sketcher.__init__.__defaults__
    sketcher.Sketcher.__init__.__defaults__ = (FACTS[facts],)
    try:
        with Recorder(
            output,
            sketch=numbers,
            sketch_seed=seed,
            buffers=kinds["buffer"],
            states=kinds["state"],
        ) as recorder:
            recorder.snapshots(rows)
    finally:
        sketcher.Sketcher.__init__.__defaults__ = kept


def eigenvalues(full: Diagnosis, part: Diagnosis) -> tuple[int, int, float]:
    """Return how many eigenvalues lie within the interval, of how many, and their median error."""
    if not full.analysis.has_spectrum or not part.analysis.has_spectrum:
        return 0, 0, 0.0
    known = full.spectrum()
    found = part.analysis.spectrum(rank=known.rank)
    if not known.rank or found.rank != known.rank:
        return 0, 0, 0.0
    matter = found.shares >= LEAST_SHARE
    counterparts = matched(known.eigenvalues[None], found.eigenvalues)[0]
    errors = np.abs(counterparts - found.eigenvalues)[matter]
    # The interval is for the modulus of a complex difference, hence of its root mean square.
    stated = compression_errors(part.analysis.measured(), found)[matter]
    return int((errors <= T_90 * stated + ROUNDING).sum()), len(errors), float(np.median(errors))


def compared(path: Path, wanted: list[tuple[int, str]]) -> Iterator[dict[str, Any]]:
    """Yield one record per number of numbers and kind of facts."""
    full = koopscope.analyze(path)
    for numbers, facts in wanted:
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder) / "run.h5"
            sketched(path, output, numbers, facts)
            part = koopscope.analyze(output)
        inside, of, error = eigenvalues(full, part)
        yield {
            "run": path.stem,
            "numbers": numbers,
            "facts": facts,
            "eigenvalues_inside": inside,
            "eigenvalues": of,
            "median_error": error,
            "findings": {
                one.id: [
                    one.status,
                    other.status,
                    one.value,
                    other.value,
                    other.basis.standard_error,
                    other.basis.agreeing,
                ]
                for one, other in zip(full.findings, part.findings, strict=True)
                if other.basis is not None
            },
        }


def summary(records: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Count over runs; runs by the folder that they come from."""
    counts: Counter[tuple[str, str, str]] = Counter()
    disagreements: dict[str, list[list[Any]]] = {}
    eigen: dict[str, list[Any]] = {}
    for record in records:
        setting = f"{record['numbers']}, {record['facts']} facts"
        inside = eigen.setdefault(setting, [0, 0, []])
        if record["eigenvalues"] and record["median_error"] > ROUNDING:
            inside[0] += record["eigenvalues_inside"]
            inside[1] += record["eigenvalues"]
            inside[2].append(record["median_error"])
        for name, (status, other, value, other_value, error, agreeing) in record[
            "findings"
        ].items():
            counts[setting, name, "of"] += 1
            counts[setting, name, "same"] += status == other
            if status != other:
                disagreements.setdefault(setting, []).append(
                    [record["run"], name, status, other, value, other_value, error, agreeing]
                )
    settings = sorted({s for s, _, _ in counts}, key=lambda s: (int(s.split(",")[0]), s))
    names = list(dict.fromkeys(name for _, name, _ in counts))
    return {
        "runs": len({record["run"] for record in records}),
        "status": {
            s: {n: [counts[s, n, "same"], counts[s, n, "of"]] for n in names if counts[s, n, "of"]}
            for s in settings
        },
        "all": {
            s: [sum(counts[s, n, "same"] for n in names), sum(counts[s, n, "of"] for n in names)]
            for s in settings
        },
        "eigenvalues": {
            s: {"inside": eigen[s][0], "of": eigen[s][1], "error": float(np.median(eigen[s][2]))}
            for s in settings
            if eigen[s][2]
        },
        "disagreements": {s: disagreements.get(s, []) for s in settings},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--every", type=int, default=1, help="take every so manyth run of a folder")
    parser.add_argument("--numbers", type=int, nargs="*", default=NUMBERS)
    parser.add_argument("--exact", action="store_true", help="leave out coarse facts")
    parser.add_argument("--summary", type=Path)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    wanted = [(n, f) for n in options.numbers for f in (FACTS if n == 256 else ("exact",))]
    if options.exact:
        wanted = [each for each in wanted if each[1] == "exact"]
    for folder in options.folders:
        for path in sorted(folder.glob("*.h5"))[:: options.every]:
            stem = f"{folder.name}-{path.stem}"
            missing = [
                (numbers, facts)
                for numbers, facts in wanted
                if not (options.out / f"{stem}-{numbers}-{facts}.json").exists()
            ]
            for record in compared(path, missing) if missing else ():
                name = f"{stem}-{record['numbers']}-{record['facts']}.json"
                (options.out / name).write_text(json.dumps(record))
                print(name, flush=True)
    if options.summary:
        records = [json.loads(path.read_text()) for path in sorted(options.out.glob("*.json"))]
        options.summary.write_text(json.dumps(summary(records), indent=1) + "\n")


if __name__ == "__main__":
    main()
