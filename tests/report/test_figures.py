"""Every picture is labelled, complete for every kind of run, and leaves no state behind."""

from __future__ import annotations

import functools
import subprocess
import sys
from importlib import import_module
from itertools import pairwise
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from koopscope.report.figures.style import area_of_share, line_styles, styled
from koopscope.report.pictures import PICTURES, draw, picture_paths
from tests.report.known_runs import KINDS

SIGNATURES = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}


@functools.cache
def figure(name: str, kind: str) -> Figure:
    with styled():
        drawn = import_module(PICTURES[name]).figure(KINDS[kind]())
        drawn.draw_without_rendering()
    return drawn


def charts(drawn: Figure) -> list:
    return [axes for axes in drawn.axes if axes.get_label() != "<colorbar>"]


@pytest.mark.parametrize("kind", ["known", "one", "three", "frozen", "zero_start", "deep"])
@pytest.mark.parametrize("name", PICTURES)
def test_every_chart_has_a_title_and_labelled_axes(name, kind):
    drawn = figure(name, kind)
    assert [text.get_text() for text in drawn.texts if text.get_text()], "no title of the whole"
    assert charts(drawn)
    for axes in charts(drawn):
        assert axes.get_title(loc="left") or axes.get_title()
        assert axes.get_xlabel()
        assert axes.get_ylabel()
    for axes in set(drawn.axes) - set(charts(drawn)):
        assert axes.get_ylabel(), "a colour bar without a label"


@pytest.mark.parametrize(
    ("name", "file_format"),
    [("singular_values", "png"), ("eigenvalues", "svg"), ("motion", "pdf")],
)
def test_the_same_run_gives_the_same_bytes_of_the_right_kind(name, file_format):
    first, second = (draw(name, KINDS["known"](), file_format) for _ in range(2))
    assert first.startswith(SIGNATURES[file_format])
    assert first == second


def test_eigenvalues_are_where_the_spectrum_has_them():
    diagnosis = KINDS["known"]()
    whole, near, *_ = charts(figure("eigenvalues", "known"))
    spectrum = diagnosis.spectrum()
    for axes in (whole, near):
        places = np.asarray(axes.collections[0].get_offsets())
        assert set(places[:, 0] + 1j * places[:, 1]) == set(spectrum.eigenvalues)
        areas = axes.collections[0].get_sizes()
        assert sorted(areas) == pytest.approx(sorted(map(area_of_share, spectrum.shares)))


def test_an_eigenvalue_far_outside_is_inside_the_frame():
    growing = np.outer(2.5 ** np.arange(12), np.ones(4))
    from tests.report.known_runs import diagnosed

    with styled():
        drawn = import_module(PICTURES["eigenvalues"]).figure(diagnosed({"a.w": growing}, rank=1))
    whole = charts(drawn)[0]
    assert whole.get_xlim()[1] > 2.5


def test_the_cut_lies_between_kept_and_dropped_singular_values():
    diagnosis = KINDS["known"]()
    axes = charts(figure("singular_values", "known"))[0]
    _, kept, dropped, cut = axes.lines
    assert len(kept.get_xdata()) == diagnosis.spectrum().rank
    assert kept.get_xdata()[-1] < cut.get_xdata()[0] < dropped.get_xdata()[0]


def test_motion_ends_at_the_displacement_of_each_layer():
    analysis = KINDS["known"]().analysis
    upper, lower = charts(figure("motion", "known"))
    for line, layer in zip(upper.lines, analysis.scopes("layer"), strict=True):
        motion = analysis.motion(layer)
        assert line.get_label() == layer.name
        assert line.get_ydata()[-1] == pytest.approx(100 * motion.displacement / motion.norm)
    for line, layer in zip(lower.lines, analysis.scopes("layer"), strict=True):
        motion = analysis.motion(layer)
        assert line.get_ydata().sum() == pytest.approx(100 * motion.path_length / motion.norm)


def test_lines_differ_without_their_colour():
    styles = [style for style, _ in zip(line_styles(), range(10), strict=False)]
    assert len({(style["linestyle"], style["marker"]) for style in styles}) == 10


def test_sixty_layers_are_a_map_whose_names_do_not_overlap():
    drawn = figure("motion", "deep")
    renderer = drawn.canvas.get_renderer()
    for axes in charts(drawn):
        boxes = [label.get_window_extent(renderer) for label in axes.get_yticklabels()]
        assert len(boxes) >= 20
        tops = sorted((box.y0, box.y1) for box in boxes)
        assert all(below[1] <= above[0] + 1.0 for below, above in pairwise(tops))


def test_drawing_changes_no_setting_and_never_imports_pyplot():
    before = dict(matplotlib.rcParams)
    draw("motion", KINDS["three"](), "png")
    assert dict(matplotlib.rcParams) == before
    program = (
        "import sys\n"
        "from koopscope.report.pictures import PICTURES, draw\n"
        "from tests.report.known_runs import KINDS\n"
        "for name in PICTURES: draw(name, KINDS['three'](), 'svg')\n"
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    folder = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", program], cwd=folder, check=False).returncode == 0


def test_several_runs_get_a_folder_each_even_with_one_name():
    places = picture_paths(["a/run.h5", "b/run.h5", "c.h5"], Path("plots"), "png", True)
    assert [entry["motion"].parent.name for entry in places] == ["run", "run-2", "c"]
    (single,) = picture_paths(["a/run.h5"], Path("plots"), "svg", False)
    assert single["motion"] == Path("plots/motion.svg")


@pytest.mark.parametrize("name", PICTURES)
def test_where_nothing_moved_a_picture_says_so_or_shows_it(name):
    drawn = figure(name, "frozen")
    said = {text.get_text() for axes in charts(drawn) for text in axes.texts}
    words = ("moved", "changed", "too few")
    assert name == "beginning" or any(word in text for text in said for word in words), said


def test_the_beginning_of_a_long_run_of_long_names_stays_legible():
    from tests.report.known_runs import diagnosed

    steps = np.arange(300)[:, None, None]
    name = f"encoder.{'deeper.' * 8}projection.weight"
    motion = np.ones((300, 4, 5)) + 0.99**steps * np.arange(20).reshape(4, 5)
    with styled():
        drawn = import_module(PICTURES["beginning"]).figure(diagnosed({name: motion}))
        drawn.draw_without_rendering()
    (axes,) = charts(drawn)
    renderer = drawn.canvas.get_renderer()
    boxes = [label.get_window_extent(renderer) for label in axes.get_xticklabels()]
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))
    (label,) = axes.get_yticklabels()
    assert label.get_text().endswith("projection.weight")
    assert axes.get_position().width > 0.4
