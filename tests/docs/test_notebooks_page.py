"""What docs/guide/notebooks.md shows is what Python answers, cell by cell.

``python -m tests.docs.test_notebooks_page`` writes the answers anew; look at the difference.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import os
import re
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PAGE = REPOSITORY / "docs" / "guide" / "notebooks.md"

_CELLS = re.compile(r"(?<=```pycon\n).*?(?=\n```)", re.DOTALL)


def examples(text: str) -> list[doctest.Example]:
    """Return the cells' statements with the answers that are shown."""
    source = "\n".join(_CELLS.findall(text))
    return doctest.DocTestParser().get_examples(source)


def answered(statements: list[doctest.Example]) -> list[str]:
    """Run statements one after the other, as a notebook does, and return what each prints."""
    space: dict[str, object] = {}
    answers = []
    for example in statements:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(example.source, str(PAGE), "single"), space)
        answers.append(printed.getvalue())
    return answers


def same(shown: str, printed: str) -> bool:
    return shown.split() == printed.split()


def test_every_cell_answers_what_the_page_shows(tmp_path, monkeypatch):
    pytest.importorskip("pandas")
    import matplotlib

    matplotlib.use("agg")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sample_runs").symlink_to(REPOSITORY / "sample_runs")
    statements = examples(PAGE.read_text("utf-8"))
    assert len(statements) > 20
    for example, printed in zip(statements, answered(statements), strict=True):
        assert same(example.want, printed), f"{example.source}{printed}"
    assert (tmp_path / "overfitting.pdf").read_bytes().startswith(b"%PDF")


def renew() -> None:
    """Put what Python answers in place of what the page shows."""
    import tempfile

    text = PAGE.read_text("utf-8")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        Path("sample_runs").symlink_to(REPOSITORY / "sample_runs")
        answers = iter(answered(examples(text)))

    def cell(found: re.Match[str]) -> str:
        lines = []
        for example in doctest.DocTestParser().get_examples(found[0] + "\n"):
            first, *more = example.source.splitlines()
            lines += [f">>> {first}", *(f"... {line}" for line in more)]
            lines += next(answers).splitlines()
        return "\n".join([*lines, ""])

    PAGE.write_text(_CELLS.sub(cell, text), "utf-8")


if __name__ == "__main__":
    import matplotlib

    matplotlib.use("agg")
    sys.exit(renew())
