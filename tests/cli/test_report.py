"""``koopscope report``: a site that opens from disk; only what changed is made anew."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.report.html.reading import read

SAMPLES = Path(__file__).parents[2] / "sample_runs"


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("mlp_sgd.h5", "diverging.h5"):
        shutil.copy(SAMPLES / name, tmp_path)
    shutil.copy(SAMPLES / "mlp_sgd.h5", tmp_path / "a <b>&'.h5")
    return tmp_path


def links(page: str) -> list[str]:
    return [value for tag, name, value in read(page).attributes if (tag, name) == ("a", "href")]


def test_every_run_has_a_row_and_a_page(call, runs):
    code, out, err = call("report", "mlp_sgd.h5", "diverging.h5", "a <b>&'.h5", "-o", "site")
    assert (code, out) == (0, "")
    assert "3 pages new." in err
    index = (runs / "site/index.html").read_text()
    found = read(index)
    assert "Diverging" in found.text
    assert "a <b>&'.h5" in found.text
    assert len(links(index)) == 3
    for link in links(index):
        assert read((runs / "site" / unquote(link)).read_text()).data["run"]["path"]
    assert [each["row"]["path"] for each in found.data["runs"]]


def test_only_what_changed_is_judged_again(call, runs):
    call("report", "mlp_sgd.h5", "diverging.h5", "-o", "site")
    pages = {path: path.stat().st_mtime_ns for path in (runs / "site/runs").iterdir()}
    os.utime(runs / "diverging.h5", ns=(1, 1))
    code, _, err = call("report", "mlp_sgd.h5", "diverging.h5", "-o", "site")
    assert code == 0
    assert "1 page new, 1 unchanged." in err
    again = {path: path.stat().st_mtime_ns for path in (runs / "site/runs").iterdir()}
    assert again.keys() == pages.keys()
    assert sum(again[path] != pages[path] for path in pages) == 1
    _, _, err = call("report", "mlp_sgd.h5", "-o", "site", "--all")
    assert "1 page new." in err
    assert len(links((runs / "site/index.html").read_text())) == 2


def test_a_run_that_cannot_be_read_does_not_keep_the_others_back(call, runs):
    (runs / "broken.h5").write_bytes(b"no run")
    code, _, err = call("report", "broken.h5", "mlp_sgd.h5", "-o", "site")
    assert code == 2
    assert "error: " in err
    assert "1 page new." in err
    assert len(links((runs / "site/index.html").read_text())) == 1


@pytest.mark.parametrize(
    ("prepare", "problem"),
    [
        (lambda folder: (folder / "site").write_text("x"), "is not a folder"),
        (lambda folder: (folder / "site").mkdir() or (folder / "site/x").touch(), "other files"),
        (
            lambda folder: (
                (folder / "site").mkdir()
                or (folder / "site/koopscope-site.json").write_text('{"form": 1, "runs": [1]}')
            ),
            "not the record of a site",
        ),
    ],
)
def test_what_is_no_site_is_left_alone(call, runs, prepare, problem):
    prepare(runs)
    before = sorted(path.name for path in runs.rglob("*"))
    code, _, err = call("report", "mlp_sgd.h5", "-o", "site")
    assert code == 2
    assert problem in err
    assert sorted(path.name for path in runs.rglob("*")) == before


def test_a_record_that_leads_out_of_the_site_is_refused(call, runs):
    call("report", "mlp_sgd.h5", "-o", "site")
    place = runs / "site/koopscope-site.json"
    record = json.loads(place.read_text())
    (entry,) = record["runs"].values()
    assert entry["page"].startswith("runs/mlp_sgd-")
    for page in ("../index.html", "javascript:alert(1)", "runs/../../x.html"):
        entry["page"] = page
        place.write_text(json.dumps(record))
        code, _, err = call("report", "mlp_sgd.h5", "-o", "site")
        assert code == 2
        assert "not the record of a site" in err
