"""Regenerate the yardstick: ``python -m studies.generate --out DIR [--only runs|sweeps]``.

Runs that are already there are kept, so that an interrupted generation can be resumed.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from pathlib import Path

import torch

from studies import depth_plan, training
from studies.plan import all_recipes


def _store(folder: Path, name: str, course: training.Course, recipe: object, dtype: str) -> None:
    (folder / f"{name}.part").unlink(missing_ok=True)
    training.write_run(folder / f"{name}.part", course, dtype)
    label = {"recipe": dataclasses.asdict(recipe), **training.outcome(course)}  # type: ignore[call-overload]
    (folder / f"{name}.json").write_text(json.dumps(label))
    (folder / f"{name}.part").rename(folder / f"{name}.h5")


def generate_runs(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for recipe in all_recipes():
        if (folder / f"{recipe.name}.h5").exists():
            continue
        start = time.process_time()
        _store(folder, recipe.name, training.train_recipe(recipe), recipe, recipe.dtype)
        print(f"{recipe.name} {time.process_time() - start:.1f} s", flush=True)


def generate_sweeps(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for recipe in depth_plan.all_recipes():
        if (folder / f"{recipe.name}.h5").exists():
            continue
        start = time.process_time()
        _store(folder, recipe.name, depth_plan.train(recipe), recipe, "float32")
        print(f"{recipe.name} {time.process_time() - start:.1f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", choices=["runs", "sweeps"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.only != "sweeps":
        generate_runs(options.out / "runs")
    if options.only != "runs":
        generate_sweeps(options.out / "sweeps")


if __name__ == "__main__":
    main()
