"""The pictures of the documentation are those that its script draws, and each of them is shown."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PICTURES = REPOSITORY / "docs" / "pictures"

#: A picture of the documentation is at most so many bytes.
MOST = 120_000


def script():
    place = REPOSITORY / "docs" / "draw_pictures.py"
    spec = importlib.util.spec_from_file_location("draw_pictures", place)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def words(svg: str) -> list[str]:
    """Return the words of a picture but for the numbers along its axes, in order."""
    found = re.findall(r"<text[^>]*>(.*?)</text>", svg, re.DOTALL)
    return [" ".join(text.split()) for text in found if re.search("[A-Za-z]{2}", text)]


def test_every_picture_is_drawn_by_the_script_and_shown_on_a_page():
    files = {path.stem for path in PICTURES.iterdir()}
    assert files == set(script().DRAWN)
    pages = [REPOSITORY / "README.md", *(REPOSITORY / "docs").rglob("*.md")]
    text = "".join(page.read_text("utf-8") for page in pages)
    assert all(f"pictures/{name}.svg" in text for name in files)


def test_pictures_are_small():
    assert all(path.stat().st_size < MOST for path in PICTURES.iterdir())


@pytest.mark.parametrize("name", ["summary", "pruning", "contraction", "depth", "forecast"])
def test_a_picture_says_what_is_found_today(name):
    kept = (PICTURES / f"{name}.svg").read_text("utf-8")
    assert words(kept) == words(script().svg(name).decode())
    assert len(words(kept)) > 5
