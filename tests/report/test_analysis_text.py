"""What people read: fixed texts for fixed runs, and rules that hold for every run and page."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np
import pytest

from koopscope.diagnostics.action import Action
from koopscope.report.analysis_report import Report
from koopscope.report.analysis_text import render
from koopscope.report.text.spectrum import _reach
from koopscope.report.text.terminal_style import Page, columns_of
from tests.report.known_runs import (
    FINDINGS,
    GOLDEN,
    GOLDEN_PAGES,
    KINDS,
    diagnosed,
    golden_text,
    snapshots_of,
)

PAGES = {
    "80 columns": Page(width=80),
    "50 columns": Page(width=50),
    "piped": Page(),
    "ascii": Page(unicode=False),
    "styled": Page(width=80, styled=True, coloured=True),
}


@pytest.fixture(scope="module")
def diagnoses():
    return {kind: make() for kind, make in KINDS.items()}


def text_of(diagnosis, page: Page) -> str:
    return render(Report((diagnosis,), with_spectrum=True), page)


@pytest.mark.parametrize("name", GOLDEN_PAGES)
def test_a_fixed_run_gives_the_golden_text(name):
    assert golden_text(name) == (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES.keys())
def test_every_run_fits_every_page(diagnoses, kind, page):
    text = text_of(diagnoses[kind], page)
    plain = re.sub(r"\x1b\[[\d;]*m", "", text)
    assert page.styled or plain == text
    assert page.unicode or text.isascii()
    for line in plain.splitlines():
        assert line == line.rstrip()
        if page.width == 80:
            assert columns_of(line) <= 80, line


@pytest.mark.parametrize("kind", KINDS)
def test_no_number_is_shown_that_is_none(diagnoses, kind):
    text = render(Report((replace(diagnoses[kind], findings=()),)), Page())
    assert not re.search(r"\b(nan|None)\b", text)


@pytest.mark.parametrize("kind", ["one", "two"])
def test_too_few_snapshots_show_no_spectrum_and_say_why(diagnoses, kind):
    text = text_of(diagnoses[kind], Page())
    assert "and it takes 3" in text
    assert "residual" not in text


def deep(count: int, **settings):
    """Diagnose a network of ``count`` layers, all of one kind."""
    names = tuple(f"transformer.blocks.{k}.attention.weight" for k in range(count))
    return diagnosed(snapshots_of(30, names), rank=5, **settings)


def test_names_are_never_cut_where_there_is_no_width():
    text = text_of(deep(20), Page())
    names = [f"transformer.blocks.{k}.attention" for k in range(20)]
    assert all(re.search(rf"^{re.escape(name)} ", text, re.MULTILINE) for name in names)


def test_of_more_than_twenty_layers_those_are_shown_that_stand_out(diagnoses):
    diagnosis = diagnoses["deep"]
    layers = diagnosis.summary.layers
    named = replace(
        FINDINGS[0], action=Action("freeze", layers=("transformer.blocks.31.attention",))
    )
    text = text_of(replace(diagnosis, findings=(named,)), Page())
    shown = re.findall(r"^transformer\.blocks\.(\d+)\.attention ", text, re.MULTILINE)
    assert len(shown) == 20
    assert shown == sorted(shown, key=int)
    assert "31" in shown
    moved = [part.motion.displacement / part.motion.norm for part in layers]
    assert str(int(np.argmax(moved))) in shown
    assert "40 more layers moved " in text
    others = [value for k, value in enumerate(moved) if str(k) not in shown]
    spread = abs(np.log(np.array(others) / np.median(moved))).max()
    outside = abs(np.log([moved[int(k)] / np.median(moved) for k in shown if k != "31"]))
    assert outside.min() >= spread


def test_every_layer_is_shown_with_its_tensors_where_tensors_are_asked_for():
    text = text_of(deep(25, level="tensor"), Page())
    assert len(re.findall(r"^transformer\.blocks\.\d+\.attention ", text, re.MULTILINE)) == 25


def test_the_spectrum_is_shown_where_it_is_asked_for(diagnoses):
    assert "Spectrum" not in render(Report((diagnoses["known"],)), Page())
    assert "Spectrum" in text_of(diagnoses["known"], Page())


def test_the_first_screen_marks_the_best_and_the_stop_under_the_losses(diagnoses):
    lines = render(Report((diagnoses["losses"],)), Page(width=80)).splitlines()
    (best,) = (k for k, line in enumerate(lines) if "b best: step 150" in line)
    assert lines[best - 1][10:].index("b") == 15
    assert "the lowest val_loss: 1, and 2.92 at the end" in " ".join(
        line.strip() for line in lines[best : best + 2]
    )
    assert lines[best - 2].startswith("val_loss")
    assert lines[best - 3].startswith("loss      ")


def test_a_step_that_findings_name_comes_first(diagnoses):
    diagnosis = replace(diagnoses["losses"], findings=FINDINGS)
    lines = render(Report((diagnosis,)), Page()).splitlines()
    (line,) = (line for line in lines if line.startswith("do "))
    assert line.split(None, 1)[1] == "lower the learning rate by 3 to 10 times"
    assert lines.index(line) < lines.index("Findings")
    assert "    → do: lower the learning rate by 3 to 10 times" in "\n".join(lines)


def test_cut_names_stay_different_from_each_other():
    text = text_of(deep(20), Page(width=74))
    names = [line.split()[0] for line in text.splitlines() if "attention" in line]
    assert len(set(names)) == 20
    assert names[19] == "tra.blo.19.attention"
    assert "some names are shortened" in " ".join(text.split())


def test_levels_choose_which_rows_there_are(diagnoses):
    network, layers, tensors = (
        text_of(diagnoses[kind], Page()) for kind in ("network", "known", "tensors")
    )
    assert "Layers" not in network
    assert "body.0 " in layers
    assert "body.0.weight" not in layers
    assert "body.0.weight" in tensors


def test_a_shorter_window_is_named(diagnoses):
    assert "analysed: 26 snapshots, steps 50 to 300" in text_of(diagnoses["window"], Page())


def test_nothing_moved_is_said_in_words(diagnoses):
    assert "nothing moved" in text_of(diagnoses["frozen"], Page())


def test_a_layer_that_starts_at_zero_has_no_relative_length(diagnoses):
    line = next(
        line for line in text_of(diagnoses["zero_start"], Page()).splitlines() if line[:2] == "a "
    )
    assert line.split()[2:4] == ["∞", "∞"]


def test_several_runs_follow_each_other(diagnoses):
    report = Report((diagnoses["known"], diagnoses["one"]))
    assert render(report, Page()).count("runs/known.h5") == 2


@pytest.mark.parametrize(
    ("half_width", "shown"),
    [(0.0124, " ±.012"), (0.9994, " ±.999"), (1.0, " ±1"), (10.536, " ±10.5"), (math.nan, "")],
)
def test_the_half_width_of_an_interval_keeps_its_digits(half_width, shown):
    assert _reach(half_width, Page()) == shown
