"""Regenerate the yardstick: ``python -m studies.generate --out DIR [--only runs|sweeps]``.

``--families`` takes some of them alone, separated by commas.

Runs that are already there are kept, so that an interrupted generation is resumed by the same
command. Several processes share the work with ``--part 0/2`` and ``--part 1/2``.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from pathlib import Path

import numpy as np
import torch

from koopscope.runs.run import RunDescription, TensorInfo
from koopscope.spectra.accumulating import gram_of
from studies import depth_plan, training
from studies.yardstick import store
from studies.yardstick.plan import PACES, Recipe, all_recipes
from studies.yardstick.training import Trained, train


def packed(recipe: Recipe, trained: Trained) -> dict[str, np.ndarray]:
    """Return a run's Gram matrices and losses; its weights are not kept."""
    flat, outcome = trained.flat, trained.outcome
    count = outcome["snapshots"]
    tensors = tuple(
        TensorInfo(name, shape or (1,), recipe.dtype)
        for name, shape in zip(flat.names, flat.shapes, strict=True)
    )
    grams = {
        name: gram_of(np.ascontiguousarray(trained.weights[:, span]))
        for name, span in zip(flat.names, flat.spans, strict=True)
    }
    metrics = {
        name: np.array(outcome[key][:count], float)
        for name, key in (("loss", "loss"), ("val_loss", "val_loss"), ("lr", "rate"))
    }
    steps = np.array(outcome["steps"][:count], np.int64)
    description = RunDescription(recipe.name, "yardstick", steps, tensors, metrics)
    known = {"recipe": dataclasses.asdict(recipe), "outcome": outcome}
    return store.pack(description, grams, known)


def generate_runs(folder: Path, part: int, parts: int, families: frozenset[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    chosen = [recipe for recipe in all_recipes() if recipe.family in families]
    for index, recipe in enumerate(chosen):
        path = folder / f"{recipe.name}.npz"
        if index % parts != part or path.exists():
            continue
        start = time.process_time()
        unfinished = path.with_suffix(".part")
        store.write(unfinished, {recipe.name: packed(recipe, train(recipe))})
        unfinished.rename(path)
        print(f"{recipe.name} {time.process_time() - start:.1f} s", flush=True)


def generate_sweeps(folder: Path, part: int, parts: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for index, recipe in enumerate(depth_plan.all_recipes()):
        path = folder / f"{recipe.name}.h5"
        if index % parts != part or path.exists():
            continue
        start = time.process_time()
        course = depth_plan.train(recipe)
        unfinished = path.with_suffix(".part")
        unfinished.unlink(missing_ok=True)
        training.write_run(unfinished, course, "float32")
        label = {"recipe": dataclasses.asdict(recipe), **training.outcome(course)}
        path.with_suffix(".json").write_text(json.dumps(label))
        unfinished.rename(path)
        print(f"{recipe.name} {time.process_time() - start:.1f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", choices=["runs", "sweeps"])
    parser.add_argument("--part", default="0/1", help="which share of the runs, as K/N")
    parser.add_argument("--families", help="names of families, separated by commas")
    options = parser.parse_args()
    families = frozenset(options.families.split(",") if options.families else PACES)
    if not families <= set(PACES):
        parser.error(f"no such family: {', '.join(sorted(families - set(PACES)))}")
    torch.set_num_threads(1)
    part, parts = (int(each) for each in options.part.split("/"))
    if options.only != "sweeps":
        generate_runs(options.out / "runs", part, parts, families)
    if options.only != "runs":
        generate_sweeps(options.out / "sweeps", part, parts)


if __name__ == "__main__":
    main()
