"""``koopscope compare`` and ``koopscope history`` as a user calls them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.calling import called
from tests.comparison.systems import repeats, trained


def test_groups_are_named_by_globs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    repeats(tmp_path, "old", 4)
    repeats(tmp_path, "new", 4, 10, decays=(0.7, 0.5))
    code, out, err = called(
        capsys, "compare", "--group", f"old={tmp_path}/old-*.h5", "--group",
        f"new={tmp_path}/new-*.h5", "--format", "json",
    )  # fmt: skip
    found = json.loads(out)["comparison"]
    assert (code, found["verdict"], found["decided_by"]) == (0, "different", "permutation")
    assert found["p_value"] == pytest.approx(2 / 70)
    assert [layer["name"] for layer in found["layers"]] == ["body", "head"]
    assert "Compared 8 runs" in err


def test_pictures_and_markdown_are_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = trained(tmp_path / "a.h5"), trained(tmp_path / "b.h5", seed=1)
    plots, report = tmp_path / "plots", tmp_path / "report.md"
    words = ("compare", a, b, "--plots", plots, "--format", f"markdown={report}")
    code, out, _ = called(capsys, *words)
    assert code == 0
    assert "a.h5" in out
    assert {path.name for path in plots.iterdir()} == {"distances.png", "spectra.png", "layers.png"}
    assert "| layer | weights |" in report.read_text("utf-8")
    code, _, err = called(capsys, *words)
    assert (code, "--force" in err) == (2, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("a.h5",), "it takes two runs to compare"),
        (("--group", "one=a*.h5"), "there is only the group one"),
        (("a.h5", "a.h5", "--group", "one=a*.h5"), "both by themselves and in groups"),
        (("--group", "one=a*.h5", "--group", "two=*.h5"), "a.h5 is in two groups"),
        (("--group", "a*.h5"), "is not NAME=GLOB"),
        (("--group", "one=nothing-*.h5"), "no file matches"),
        (("a.h5", "missing.h5"), "missing.h5"),
    ],
)
def test_what_cannot_be_compared_is_said(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    trained(tmp_path / "a.h5", snapshots=4)
    code, out, err = called(capsys, "compare", *words)
    assert (code, out) == (2, "")
    assert said in err
    assert "Traceback" not in err


def test_check_fails_a_run_that_is_not_like_its_reference(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reference = trained(tmp_path / "reference.h5")
    other = trained(tmp_path / "b.h5", seed=9, decays=(0.5, 0.1), noise=0.3)
    quiet = ("check", "--isolated", "--config", "preset=none")
    code, out, _ = called(capsys, *quiet, reference, "--against", reference)
    assert (code, "KS701" in out) == (0, True)
    code, out, _ = called(capsys, *quiet, other, "--against", reference, "--format", "json")
    finding = json.loads(out)["findings"][-1]
    assert (code, finding["code"], finding["status"]) == (1, "KS701", "fail")
    assert finding["evidence"]["references"] == [str(reference)]
    accepted = ("--config", "rules.same-dynamics=warn")
    code, out, _ = called(capsys, *quiet, *accepted, other, "--against", reference)
    assert (code, "warn" in out) == (0, True)


def test_history_reads_runs_and_reports_and_filters(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = trained(tmp_path / "good.h5"), trained(tmp_path / "bad.h5", bad_from=20)
    called(capsys, "analyze", good, "--format", f"json={tmp_path / 'stored.json'}")
    (tmp_path / "other.json").write_text('{"name": "not a report"}')
    code, out, err = called(capsys, "history", tmp_path, "--format", "json", "--sort", "path")
    found = json.loads(out)
    assert code == 0
    assert [Path(row["path"]).name for row in found["rows"]] == ["bad.h5", "good.h5", "good.h5"]
    assert [row["source"] for row in found["rows"]].count("report") == 1
    assert [Path(each["path"]).name for each in found["failed"]] == ["other.json"]
    assert "not a koopscope report" in err or "schema version" in err
    broken = {row["path"] for row in found["rows"] if row["worst"] == "fail"}
    assert str(bad) in broken
    _, out, _ = called(capsys, "history", tmp_path, "--worst", "fail", "--format", "json")
    assert {row["path"] for row in json.loads(out)["rows"]} == broken
    _, out, _ = called(capsys, "history", tmp_path, "--worst", "info", "--format", "json")
    assert not {row["path"] for row in json.loads(out)["rows"]} & broken
    _, out, _ = called(capsys, "history", tmp_path, "--match", "*good*", "--last", 1)
    assert len([line for line in out.splitlines() if "good.h5" in line]) == 1


def test_an_empty_folder_has_no_history(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = called(capsys, "history", tmp_path)
    assert (code, "holds no run file" in err) == (2, True)
