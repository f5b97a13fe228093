"""Rows of many runs: what a stored report gives, and how rows are ordered."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from koopscope.errors import KoopscopeError
from koopscope.history.rows import Row, files_in, rows_of_report, sorted_rows

ROW = Row(
    "a.h5", "run", "2026-01-02T00:00:00Z", 9, 0, 80, 10, {"x": "pass"}, None, None, None, None
)


def report(path: Path, *documents: object) -> Path:
    one = documents[0] if len(documents) == 1 else {"schema_version": "1.0", "runs": documents}
    path.write_text(json.dumps(one))
    return path


def document(name: str) -> dict[str, object]:
    return {
        "schema_version": "1.0",
        "run": {"path": name, "last_step": 70, "metrics": {"loss": {"last": 0.5}}},
        "findings": [
            {"id": "convergence", "status": "warn", "evidence": {"state": "stalled"}},
            {"id": "precision", "status": "pass"},
        ],
    }


def test_a_report_of_several_runs_gives_a_row_each(tmp_path: Path) -> None:
    rows = rows_of_report(report(tmp_path / "a.json", document("x.h5"), document("y.h5")))
    assert [row.path for row in rows] == ["x.h5", "y.h5"]
    first = rows[0]
    assert (first.worst, first.state, first.metric, first.value) == ("warn", "stalled", "loss", 0.5)
    assert first.course == ()


@pytest.mark.parametrize("content", ["{", "[]", "7", '{"runs": 3}', '{"schema_version": "9"}'])
def test_what_is_no_report_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(KoopscopeError):
        rows_of_report(tmp_path / "a.json")


def test_rows_are_ordered_and_what_is_unknown_comes_last() -> None:
    rows = [
        replace(ROW, path="b", last_step=5, statuses={"x": "fail"}),
        replace(ROW, path="a", last_step=None),
        replace(ROW, path="c", last_step=3, value=1.0),
    ]
    ordered = {key: [r.path for r in sorted_rows(rows, key)] for key in ("path", "steps", "metric")}
    assert ordered == {"path": ["a", "b", "c"], "steps": ["c", "b", "a"], "metric": ["c", "b", "a"]}
    assert next(r.path for r in sorted_rows(rows, "worst")) == "b"
    assert [r.path for r in sorted_rows(rows, "steps", reverse=True)] == ["b", "c", "a"]


def test_folders_are_searched_and_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("b.h5", "a.json", "deep/c.hdf5", "d.txt"):
        (tmp_path / name).touch()
    (tmp_path / "link.h5").symlink_to(tmp_path / "b.h5")
    found = [path.relative_to(tmp_path).as_posix() for path in files_in(tmp_path)]
    assert found == ["a.json", "b.h5", "deep/c.hdf5"]
