"""docs/guide/accelerating.md: its Python runs; its tables in docs/evidence are the study's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from studies.accelerating import summary as new_summary
from studies.forecasting import acceleration_summary as summary
from tests.frameworks import framework

DOCS = Path(__file__).parents[2] / "docs"
GUIDE = (DOCS / "guide" / "accelerating.md").read_text(encoding="utf-8")
EVIDENCE = (DOCS / "evidence" / "accelerating.md").read_text(encoding="utf-8")


def test_the_loop_jumps():
    framework("torch")
    blocks = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    (loop,) = (text for text in blocks if "KoopmanAccelerator(" in text)
    space: dict[str, object] = {}
    exec(loop, space)
    assert space["report"].kept > 0
    assert space["weights"]


@pytest.mark.parametrize("page", new_summary.PAGES, ids=lambda page: page.parent.name)
def test_the_new_studys_tables_are_those_of_its_files(page: Path):
    text = page.read_text(encoding="utf-8")
    assert "<!-- table: short-unseen -->" in text
    assert new_summary.written(text, new_summary.tables()) == text


@pytest.mark.parametrize(
    ("measure", "factor"),
    [("seconds", "1.0"), ("epochs", "1.0"), ("seconds", "0.1")],
)
def test_the_tables_are_the_studys(measure: str, factor: str):
    rows = summary.read()
    assert {len([r for r in rows if r["way"] == way]) for way in summary.WAYS} == {len(rows) // 5}
    for line in summary.table(rows, measure, factor).splitlines():
        assert line in EVIDENCE


def test_every_option_is_in_the_table():
    torch = framework("torch")
    assert torch
    import inspect

    import koopscope

    for name in inspect.signature(koopscope.KoopmanAccelerator).parameters:
        if name not in ("model", "optimizer"):
            assert f"| `{name}`" in GUIDE
