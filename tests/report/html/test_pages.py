"""Pages: well formed, closed to the outside, deaf to hostile names, and with their data inside."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from importlib import resources
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from koopscope.markup import Markup, element, joined
from koopscope.report.analysis_report import Report
from koopscope.report.html.analysis import render
from koopscope.report.html.charts import Curve, Mark, curves, heat_map, unit_circle
from koopscope.report.text.terminal_style import Page
from tests.calling import called
from tests.report.html.reading import assert_harmless, read
from tests.report.known_runs import KINDS, diagnosed, trajectory

SAMPLES = Path(__file__).parents[3] / "sample_runs"

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>.weight',
    "</title></style><svg onload=alert(1)>",
    "a\x1b[31m\u202eb\x00.weight",
    "</script><!--.bias",
)


@pytest.mark.parametrize("kind", KINDS)
def test_every_run_has_a_page(kind):
    found = assert_harmless(render(Report((KINDS[kind](),)), Page()))
    assert not re.search(r"\b(nan|None|inf)\b", found.text)
    place = resources.files("koopscope.report") / "schema" / "analysis-1.0.schema.json"
    jsonschema.validate(found.data, json.loads(place.read_text("utf-8")))


def test_hostile_names_are_text():
    arrays = {name: trajectory(20, 12, k) for k, name in enumerate(HOSTILE)}
    diagnosis = diagnosed(arrays, rank=3, level="tensor")
    analysis = diagnosis.analysis
    for path in HOSTILE:
        hostile = replace(
            analysis.description, path=path, metrics={path: np.ones(20), "loss": np.arange(20.0)}
        )
        analysis.description = hostile
        page = render(Report((diagnosis,)), Page())
        found = assert_harmless(page)
        assert "\x1b" not in page
        assert "\u202e" not in page
        assert "alert(1)" in found.text
        assert found.data["run"]["path"] == path


def test_a_page_keeps_no_spectra_of_parts():
    data = read(render(Report((KINDS["tensors"](),)), Page())).data
    assert data["layers"]
    assert not data["tensors"]
    assert {spectrum["scope"] for spectrum in data["spectra"]} == {"network"}


def test_the_same_input_gives_the_same_page():
    pages = [render(Report((KINDS["known"](),)), Page()) for _ in range(2)]
    assert pages[0] == pages[1]


def test_the_most_important_is_said_first(capsys):
    code, page, _ = called(
        capsys, "analyze", SAMPLES / "diverging.h5", "--format", "html", "--force"
    )
    assert code == 0
    text = read(page).text
    first = text.index("Diverging")
    assert first < text.index("Findings") < text.index("Spectrum of the network")
    assert "Recorded losses" in page


def test_several_runs_share_a_page_with_a_list(capsys):
    code, page, _ = called(
        capsys, "analyze", SAMPLES / "mlp_sgd.h5", SAMPLES / "diverging.h5", "--format", "html"
    )
    assert code == 0
    found = assert_harmless(page)
    targets = {value for _, name, value in found.attributes if name == "id"}
    links = [value for _, name, value in found.attributes if name == "href"]
    assert len(links) == 2
    assert {link.removeprefix("#") for link in links if link} <= targets
    assert len(found.data["runs"]) == 2


def test_markup_escapes_all_but_markup():
    made = element("p", "<b>", [Markup("<i>x</i>"), ("&", 3)], title='"', hidden=True, lang=None)
    assert made == '<p title="&quot;" hidden>&lt;b&gt;<i>x</i>&amp;3</p>'
    assert joined("a\nb") == r"a\nb"


def test_curves_leave_gaps_thin_out_and_keep_extremes():
    values = np.sin(np.linspace(0.0, 60.0, 5000))
    values[1000:1100] = np.nan
    values[3000] = 9.0
    picture = curves("x", np.arange(5000.0), [Curve("loss", values)], [Mark(10.0, "here")])
    path = re.search(r'<path d="([^"]*)" class="series s0"/>', picture.replace("M64 12h24", ""))
    assert path is not None
    assert path.group(1).count("M") >= 2
    assert len(re.findall("[ML]", path.group(1))) <= 400
    heights = [float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)", path.group(1))]
    assert min(heights) == pytest.approx(26.0, abs=0.1)  # the spike reaches the top
    assert "here" in picture


def test_curves_of_nothing_say_so():
    assert "nothing to draw" in curves("x", np.arange(3.0), [Curve("loss", np.full(3, np.nan))])
    assert "<svg" in curves("x", np.arange(3.0), [Curve("loss", np.ones(3))])


def test_a_range_of_decades_gets_a_logarithmic_scale():
    picture = curves("x", np.arange(4.0), [Curve("loss", np.array([1.0, 1e-2, 1e-4, 1e-6]))])
    path = re.search(r'<path d="(M[^"h]*)" class="series', picture)
    assert path is not None
    heights = [float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)", path.group(1))]
    np.testing.assert_allclose(np.diff(heights), np.diff(heights)[0], atol=0.11)


def test_a_heat_map_darkens_with_its_values():
    values = np.array([[0.0, 0.5, 1.0, np.nan]])
    picture = heat_map("x", ["layer"], values, np.array([0.0, 3.0]), "dark")
    opacities = sorted(float(a) for a in re.findall(r"heat\), ([\d.]+)\)", picture))
    assert opacities == [0.5, 1.0]


def test_eigenvalues_lie_where_they_belong():
    picture = unit_circle(
        "x", np.array([1.0 + 0j, 0.5j]), np.array([0.9, 0.1]), np.array([0.01, 0.9]), 0.5
    )
    dots = re.findall(r'cx="([\d.]+)" cy="([\d.]+)" r="[\d.]+" class="dot( weak)?"', picture)
    (x1, y1, weak1), (x2, y2, weak2) = dots
    unit = float(x1) - 180.0
    assert (float(y1), float(x2)) == (180.0, 180.0)
    assert float(y2) == pytest.approx(180.0 - unit / 2, abs=0.1)
    assert (weak1, weak2) == ("", " weak")
