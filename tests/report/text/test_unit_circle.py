"""Every eigenvalue is drawn where it is."""

from __future__ import annotations

from koopscope.report.text.eigenvalue_rows import Folded
from koopscope.report.text.terminal_style import Page
from koopscope.report.text.unit_circle import draw

ROWS = 15
COLUMNS = 2 * ROWS


def drawn(*values: complex, page: Page | None = None) -> list[str]:
    rows = [Folded(value, value.imag > 0, 1.0, 1.0, 0.0, 0.1) for value in map(complex, values)]
    return draw(rows, ["plain"] * len(rows), ROWS, page or Page())


def places(lines: list[str], sign: str) -> set[tuple[int, int]]:
    return {(r, c) for r, line in enumerate(lines) for c, found in enumerate(line) if found == sign}


def test_the_picture_is_twice_as_wide_as_high():
    lines = drawn(0.5)
    assert len(lines) == ROWS
    assert {len(line) for line in lines} == {COLUMNS}


def test_real_eigenvalues_lie_on_the_middle_line():
    lines = drawn(1.0, -1.0, 0.0)
    ((one_row, one),), ((minus_row, minus),) = places(lines, "1"), places(lines, "2")
    ((zero_row, zero),) = places(lines, "3")
    assert one_row == minus_row == zero_row == ROWS // 2
    assert minus < zero < one
    assert one >= COLUMNS - 3


def test_a_pair_is_drawn_twice_and_symmetrically():
    (first, second) = sorted(places(drawn(0.6 + 0.7j), "1"))
    assert first[0] + second[0] == ROWS - 1
    assert first[1] == second[1] > COLUMNS // 2


def test_where_two_meet_the_stronger_is_on_top():
    lines = drawn(0.9, 0.9001)
    assert places(lines, "1")
    assert not places(lines, "2")


def test_far_outside_is_drawn_at_the_rim_in_its_direction():
    lines = drawn(7.0, -40.0)
    ((_, right),), ((_, left),) = places(lines, "1"), places(lines, "2")
    assert right == COLUMNS - 1 - left
    assert left <= 1


def test_the_circle_is_closed_and_symmetric():
    lines = drawn()
    assert all(line.strip() for line in lines)
    assert {len(line.strip()) for line in (lines[0], lines[-1])} == {12}


def test_ascii_pages_get_ascii():
    lines = drawn(0.9, 0.2 + 0.5j, page=Page(unicode=False))
    assert "".join(lines).isascii()
    assert len(places(lines, "2")) == 2


def test_more_eigenvalues_than_labels_are_points():
    lines = drawn(*[0.02 * k for k in range(45)])
    assert sum(len(line) for line in lines) == ROWS * COLUMNS
