"""The Python and shell recipes of the documentation work as they stand.

A fenced block after ``<!-- run with: MODULES -->`` is run, in order, in one folder per page; it is
skipped where one of the modules is missing. ``koopscope`` in a shell block is this checkout's.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.frameworks import framework

REPOSITORY = Path(__file__).parents[2]
RECIPE = re.compile(
    r"<!-- run with: (.*?) -->\n```(python|sh)\n(.*?)^```$", re.DOTALL | re.MULTILINE
)
PAGES = [
    page for page in sorted((REPOSITORY / "docs").rglob("*.md")) if RECIPE.search(page.read_text())
]


def run(language: str, text: str, folder: Path) -> None:
    if language == "sh":
        text = f'set -eu; koopscope() {{ "{sys.executable}" -m koopscope "$@"; }}\n{text}'
    program = ["bash", "-c"] if language == "sh" else [sys.executable, "-W", "ignore", "-c"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*program, text], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
@pytest.mark.parametrize("modules", ["torch", "keras torch", "jax"])
def test_the_recipes_of_a_page_work(page: Path, modules: str, tmp_path: Path) -> None:
    recipes = [match.groups() for match in RECIPE.finditer(page.read_text(encoding="utf-8"))]
    wanted = [(language, text) for needed, language, text in recipes if needed == modules]
    if not wanted:
        pytest.skip(f"{page.name} has no recipe for {modules}")
    for name in modules.split():
        framework(name)
    for language, text in wanted:
        run(language, text, tmp_path)
    assert list(tmp_path.glob("*.h5"))


def test_every_framework_has_a_recipe() -> None:
    found = {needed for page in PAGES for needed, _, _ in RECIPE.findall(page.read_text())}
    assert found == {"torch", "keras torch", "jax"}
