"""Lines of text fit their page, and say the same on every page."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from koopscope.report.text.terminal_style import (
    Cell,
    Page,
    columns_of,
    shortened,
    sparkline,
    table,
    wrapped,
)

ASCII = Page(unicode=False)
STYLED = Page(width=80, styled=True, coloured=True)
WITHOUT_COLOUR = Page(width=80, styled=True)


def without_styles(text: str) -> str:
    return re.sub(r"\x1b\[[\d;]*m", "", text)


NAMES = st.lists(st.text("abcdeλ汉0123_", min_size=1, max_size=12), min_size=1, max_size=6)


@given(NAMES.map(".".join), st.integers(4, 60))
def test_a_shortened_name_fits_and_keeps_its_end(name: str, width: int) -> None:
    short = shortened(name, width, Page())
    assert columns_of(short) <= width
    assert short.lstrip("…")[-1:] in ("", name[-1])
    if columns_of(name) <= width:
        assert short == name


def test_shortened_names_keep_numbers_and_the_last_word() -> None:
    name = "transformer.blocks.10.attention"
    assert shortened(name, 31, Page()) == name
    assert shortened(name, 28, Page()) == "tra.blocks.10.attention"
    assert shortened(name, 20, Page()) == "tra.blo.10.attention"
    assert shortened(name, 16, Page()) == "t.b.10.attention"
    assert shortened(name, 10, Page()) == "…attention"
    assert shortened("dense/kernel", 10, Page()) == "den/kernel"


@given(st.lists(st.lists(st.text("abc λ", max_size=9), min_size=3, max_size=3), min_size=1))
def test_columns_of_a_table_line_up_and_no_line_ends_in_spaces(rows: list[list[str]]) -> None:
    cells = [[Cell(text.strip() + "|", right=k == 1) for k, text in enumerate(row)] for row in rows]
    lines = table(cells, Page())
    assert all(line == line.rstrip() for line in lines)
    ends = {line.split("|")[0].__len__() + line.split("|")[1].__len__() for line in lines}
    assert len(ends) == 1


def test_styles_change_no_width() -> None:
    rows = [[Cell("name", "title"), Cell("1", right=True)], [Cell("n"), Cell("1,000", right=True)]]
    styled = table(rows, STYLED)
    assert styled != table(rows, Page())
    assert [without_styles(line) for line in styled] == table(rows, Page())


def test_without_colour_there_is_bold_but_no_colour() -> None:
    assert WITHOUT_COLOUR.style("x", "fail") == "x"
    assert WITHOUT_COLOUR.style("x", "title") == "\x1b[1mx\x1b[0m"
    assert STYLED.style("x", "fail") == "\x1b[1;31mx\x1b[0m"
    assert Page().style("x", "title") == "x"


def test_sentences_are_wrapped_for_a_width_and_left_alone_without_one() -> None:
    sentence = "a/very/long/name/that/is/never/broken " * 4
    assert wrapped(sentence, Page()) == [sentence]
    lines = wrapped(sentence, Page(width=50))
    assert len(lines) == 4
    assert all(len(line) <= 50 for line in lines)


@pytest.mark.parametrize("page", [Page(), ASCII])
def test_a_sparkline_goes_from_lowest_to_highest(page: Page) -> None:
    line = sparkline([float(k) for k in range(8)], 8, page)
    assert line == "".join(sorted(line, key=page.glyphs.levels.index))
    assert line[0] == page.glyphs.levels[0]
    assert line[-1] == page.glyphs.levels[-1]


def test_a_sparkline_is_never_longer_than_asked_and_survives_standstill() -> None:
    assert len(sparkline([1.0] * 100, 10, Page())) == 10
    assert len(sparkline([1.0] * 3, 10, Page())) == 3
    assert sparkline([], 10, Page()) == ""
    assert sparkline([0.0, 0.0], 10, Page()) == "–"


def test_the_ascii_page_writes_ascii() -> None:
    glyphs = ASCII.glyphs
    signs = [glyphs.eigenvalue, glyphs.magnitude, glyphs.dash, glyphs.cut, glyphs.infinity]
    signs += [glyphs.hint, glyphs.levels, *glyphs.marks.values(), *glyphs.residual_marks]
    assert all(sign.isascii() for sign in signs)
