"""What the documentation shows is what the program prints; see ``examples.py`` for the rules."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.examples import Shell, difference, examples, pages, same_line


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_every_example_of_a_page_prints_what_the_page_shows(page: Path, tmp_path: Path) -> None:
    shell = Shell(page, tmp_path)
    for example in examples(page):
        for step in example.steps:
            wrong = difference(step.shown, shell.run(step.command))
            assert wrong is None, f"{example.name}: $ {step.command}\n{wrong}"


def test_a_block_that_is_not_run_says_why() -> None:
    reasons = {
        page.name: re.findall(r"<!-- not run\b(.*?)-->", page.read_text(encoding="utf-8"))
        for page in pages()
    }
    assert any(reasons.values())
    for page, found in reasons.items():
        for reason in found:
            assert re.fullmatch(r"(?: here)?: \S.*\S ", reason), f"{page}: {reason}"


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("rank 3  0.9812", "rank 3 0.9813", True),
        ("rank 3  0.9812", "rank 3 0.9815", False),
        ("rank 3", "rank 4", False),
        ("moved 41%", "moved 42%", True),
        ("moved 41%", "moved 43%", False),
        ("moved 4.1%", "moved 5.1%", False),
        ("2,220 steps", "2,220 steps", True),
        ("2,220 steps", "2,221 steps", False),
        ("in 0.3 s: 1 warn", "in 4.1 s: 1 warn", True),
        ("residual 2e-07", "residual 3e-07", True),
        ("residual 2e-07", "residual 2e-06", False),
        ("alpha", "beta", False),
        ("loss 0.25, then ...", "loss 0.25, then 0.125", True),
        ("loss 0.25, then ...", "loss 0.31, then 0.125", False),
    ],
)
def test_lines_are_compared_up_to_the_last_digit(shown: str, printed: str, same: bool) -> None:
    assert same_line(shown, printed) is same


def test_an_ellipsis_stands_for_any_number_of_lines() -> None:
    printed = ["first", "second", "third", "last"]
    assert difference(["first", "...", "last"], printed) is None
    assert difference(["...", "third", "..."], printed) is None
    assert difference(["first", "...", "fourth"], printed) is not None
    assert difference(["first", "second", "third"], printed) is not None
