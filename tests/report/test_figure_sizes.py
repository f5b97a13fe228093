"""Figures fit into one and two columns: nothing is cut off, and fonts travel with them."""

from __future__ import annotations

import re
import zlib
from importlib import import_module

import pytest
from matplotlib.text import Text

from koopscope.report.figure_sizes import FIGURE_SIZES, WIDTHS
from koopscope.report.figures.style import COLORS, is_narrow, styled
from koopscope.report.pictures import PICTURES, draw
from tests.report.known_runs import KINDS

#: Okabe and Ito's palette, which readers without red-green vision can tell apart.
OKABE_ITO = {
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7",
}  # fmt: skip

#: A text may reach so far beyond the edge, in pixels: rounding.
SLACK = 2.0


@pytest.mark.parametrize("kind", ["losses", "deep", "one"])
@pytest.mark.parametrize("size", FIGURE_SIZES)
@pytest.mark.parametrize("name", PICTURES)
def test_nothing_written_is_cut_off(name, size, kind):
    with styled(size):
        drawn = import_module(PICTURES[name]).figure(KINDS[kind]())
        drawn.draw_without_rendering()
        assert drawn.get_figwidth() == WIDTHS[size]
        renderer = drawn.canvas.get_renderer()
        for text in drawn.findobj(Text):
            if not text.get_visible() or not text.get_text().strip():
                continue
            if text.get_clip_on() or _is_hidden_tick(text):
                continue
            box = text.get_window_extent(renderer)
            inside = (
                box.x0 >= -SLACK
                and box.y0 >= -SLACK
                and box.x1 <= drawn.bbox.width + SLACK
                and box.y1 <= drawn.bbox.height + SLACK
            )
            assert inside, f"{text.get_text()!r} lies outside: {box}"


def _is_hidden_tick(text: Text) -> bool:
    """Whether a text is a label of a tick beyond the ends of its axis, which is not drawn."""
    axes = text.axes
    if axes is None:
        return False
    for axis in (axes.xaxis, axes.yaxis):
        low, high = sorted(axis.get_view_interval())
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
            if text in (tick.label1, tick.label2):
                return not low <= tick.get_loc() <= high
    return False


def test_panels_stand_below_each_other_in_one_column():
    shapes = {}
    for size in FIGURE_SIZES:
        with styled(size):
            drawn = import_module(PICTURES["summary"]).figure(KINDS["losses"]())
            drawn.draw_without_rendering()
        charts = [axes for axes in drawn.axes if axes.get_label() != "<colorbar>"]
        assert [axes.get_title(loc="left")[0] for axes in charts] == list("abcd")
        shapes[size] = len({axes.get_gridspec().ncols for axes in charts}), charts[0].get_gridspec()
    assert shapes["two-column"][1].ncols == 2
    assert shapes["one-column"][1].ncols == 1


def test_the_size_ends_with_its_context():
    with styled("one-column"):
        assert is_narrow()
        with styled():
            assert not is_narrow()
        assert is_narrow()
    assert not is_narrow()


def test_the_palette_is_that_of_okabe_and_ito():
    assert set(COLORS) <= OKABE_ITO


@pytest.mark.parametrize("name", ["summary", "layers"])
def test_fonts_are_embedded_as_truetype(name):
    content = draw(name, KINDS["losses"](), "pdf", "one-column")
    streams = re.findall(rb"stream\r?\n(.*?)endstream", content, re.DOTALL)
    whole = content + b"".join(filter(None, map(_unpacked, streams)))
    assert b"/FontFile2" in whole
    assert b"/Subtype /Type3" not in whole


def _unpacked(stream: bytes) -> bytes:
    try:
        return zlib.decompress(stream)
    except zlib.error:
        return b""


def test_no_line_of_an_eigenvalue_figure_is_an_ellipse_and_bars_are_the_intervals():
    diagnosis = KINDS["known"]()
    with styled():
        drawn = import_module(PICTURES["eigenvalues"]).figure(diagnosis)
    whole = drawn.axes[0]
    assert not whole.patches
    known = diagnosis.analysis.confidence().uncertainty
    ends = {(round(low, 9), round(high, 9)) for low, high in _bars(whole)}
    intervals = {
        (round(low, 9), round(high, 9))
        for low, high in zip(known.magnitude_low, known.magnitude_high, strict=True)
    }
    assert ends <= intervals


def _bars(axes):
    """Yield the lengths from 0 of the two ends of each bar along a ray."""
    for line in axes.lines:
        x, y = line.get_xdata(), line.get_ydata()
        if len(x) == 2 and line.get_alpha() == 0.7:
            # Bars of real eigenvalues stand below the axis: their distance from 0 is |x|.
            level = y[0] == y[1]
            lengths = sorted(abs(a if level else complex(a, b)) for a, b in zip(x, y, strict=True))
            yield lengths
