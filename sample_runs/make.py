"""Make the sample runs: train every recipe, record it, and write the table in the README.

python -m sample_runs.make                   # make all of them again
python -m sample_runs.make --only mlp_sgd    # one of them
python -m sample_runs.make --check           # retrain, and say in what the stored runs differ
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from koopscope.errors import KoopscopeError
from sample_runs.comparing import differences
from sample_runs.recipes import RECIPES
from sample_runs.recording import record
from sample_runs.table import BEGIN, END, render
from sample_runs.training import Recipe

HERE = Path(__file__).parent


def main(arguments: Sequence[str] | None = None) -> int:
    names = [recipe.name for recipe in RECIPES]
    parser = argparse.ArgumentParser(description="Train and record the sample runs.")
    parser.add_argument(
        "--only", metavar="NAME", action="append", choices=names, help="; ".join(names)
    )
    parser.add_argument("--out", metavar="DIR", type=Path, default=HERE, help="where the runs lie")
    parser.add_argument("--check", action="store_true", help="retrain and compare, write nothing")
    options = parser.parse_args(arguments)
    chosen = [recipe for recipe in RECIPES if recipe.name in (options.only or names)]
    job = check if options.check else make
    try:
        results = [job(recipe, options.out / f"{recipe.name}.h5") for recipe in chosen]
        if not options.check and options.out == HERE:
            write_table(HERE / "README.md")
    except KoopscopeError as problem:
        print(f"error: {problem}\nhint: {problem.hint}", file=sys.stderr)
        return 2
    return 0 if all(results) else 1


def make(recipe: Recipe, path: Path) -> bool:
    """Train a recipe and put the run where ``path`` says."""
    with trained(recipe) as fresh:
        shutil.move(fresh, path)
    return True


def check(recipe: Recipe, path: Path) -> bool:
    """Train a recipe, print what differs in the run at ``path``, return whether nothing does."""
    with trained(recipe) as fresh:
        found = differences(path, fresh)
    for difference in found or ["the same, bit for bit"]:
        print(f"  {difference}", flush=True)
    return not found


@contextmanager
def trained(recipe: Recipe) -> Iterator[Path]:
    """Record a recipe in a folder of its own that is gone afterwards."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{recipe.name}.h5"
        record(recipe, path)
        print(f"{recipe.name}: trained in {time.perf_counter() - began:.1f} s", flush=True)
        yield path


def write_table(readme: Path) -> None:
    """Replace what stands between the README's two table marks."""
    before, rest = readme.read_text(encoding="utf-8").split(BEGIN)
    _, after = rest.split(END)
    paths = [readme.with_name(f"{recipe.name}.h5") for recipe in RECIPES]
    text = f"{before}{BEGIN}\n{render(paths)}\n{END}{after}"
    readme.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
