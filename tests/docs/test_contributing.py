"""The worked examples of CONTRIBUTING.md: each is a whole module that does what the page says."""

from __future__ import annotations

import csv
import io
import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import koopscope
from koopscope.analysis.analysis import Analysis
from koopscope.diagnostics import registry
from koopscope.errors import KoopscopeError
from koopscope.report import registry as reports
from koopscope.report.analysis_report import Report
from koopscope.report.text.terminal_style import Page
from koopscope.runs.detect import sources
from koopscope.runs.detect.opening import open_run
from tests.test_house import FLOORS

REPOSITORY = Path(__file__).parents[2]
TEXT = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
SAMPLE = REPOSITORY / "sample_runs" / "mlp_sgd.h5"
MODULES = dict(
    re.findall(r"^<!-- module: ([\w.]+) -->\n```python\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
)


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch):
    """Return an example as an imported module."""

    def imported(name: str) -> ModuleType:
        module = ModuleType(name)
        monkeypatch.setitem(sys.modules, name, module)
        exec(compile(MODULES[name], name, "exec"), module.__dict__)
        return module

    return imported


def test_every_python_block_is_an_example_that_is_run_here() -> None:
    assert list(MODULES) == [
        "koopscope.diagnostics.balance",
        "koopscope.runs.checkpoints.npy",
        "koopscope.report.analysis_csv",
    ]
    assert TEXT.count("```python") == len(MODULES)
    for name in MODULES:
        assert not (REPOSITORY / f"{name.replace('.', '/')}.py").exists()


def test_the_table_of_floors_names_every_room() -> None:
    rooms = {room for floor in FLOORS for room in floor} - {"__main__", "testing"}
    table = TEXT[TEXT.index("| floor") : TEXT.index("A module has one purpose")]
    assert set(re.findall(r"`(\w+)`", table)) == rooms


def test_the_diagnostic_is_asked_of_a_run(example, monkeypatch: pytest.MonkeyPatch) -> None:
    balance = example("koopscope.diagnostics.balance")
    assert "balance.DIAGNOSTIC" in TEXT
    added = (*registry.DIAGNOSTICS, balance.DIAGNOSTIC)
    monkeypatch.setattr(registry, "DIAGNOSTICS", added)
    codes = {diagnostic.code for diagnostic in registry.DIAGNOSTICS}
    assert len(codes) == len(added)
    found = koopscope.analyze(SAMPLE).finding("balance")
    shares = found.evidence["shares"]
    assert set(shares) == {"hidden.0", "hidden.1", "head"}
    assert sum(shares.values()) == pytest.approx(1.0)
    assert found.status == "pass"
    assert found.value == max(shares.values())


def test_the_diagnostic_tells_one_layer_that_moves_alone(
    example, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    balance = example("koopscope.diagnostics.balance")
    with koopscope.Recorder(tmp_path / "run.h5") as recorder:
        for step in range(5):
            recorder.snapshot(
                step, {"a.weight": np.full(3, 4.0 * step), "b.weight": np.ones(2) * step}
            )
    with open_run(tmp_path / "run.h5") as run:
        found = balance.ask(Analysis.of(run))
    # a moves 16 in each of three weights, b 4 in each of two
    assert found.value == pytest.approx(3 * 16**2 / (3 * 16**2 + 2 * 4**2))
    assert found.status == "warn"
    with koopscope.Recorder(tmp_path / "still.h5") as recorder:
        for step in range(5):
            recorder.snapshot(step, {"a.weight": np.ones(3), "b.weight": np.ones(2)})
    with open_run(tmp_path / "still.h5") as run:
        assert balance.ask(Analysis.of(run)).status == "inconclusive"


def test_the_reader_reads_a_series(
    example, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    npy = example("koopscope.runs.checkpoints.npy")
    assert '`".npy": npy_snapshot`' in TEXT
    monkeypatch.setitem(sources.KINDS, ".npy", npy.npy_snapshot)
    rng = np.random.default_rng(0)
    weights = [rng.standard_normal((4, 3)).astype("float32") * 0.9**k for k in range(6)]
    for k, values in enumerate(weights):
        np.save(tmp_path / f"step_{10 * k}.npy", values)
    with open_run(tmp_path) as run:
        assert run.description.steps.tolist() == [0, 10, 20, 30, 40, 50]
        (tensor,) = run.description.tensors
        assert tensor.shape == (4, 3)
        blocks = [block.values.copy() for block in run.blocks([tensor])]
    np.testing.assert_array_equal(np.concatenate(blocks, axis=1), np.stack(weights).reshape(6, 12))


@pytest.mark.parametrize("damage", ["cut", "empty", "lies", "objects"])
def test_the_reader_refuses_a_damaged_file(example, damage: str, tmp_path: Path) -> None:
    npy = example("koopscope.runs.checkpoints.npy")
    path = tmp_path / "step_1.npy"
    np.save(path, np.arange(100.0))
    whole = path.read_bytes()
    if damage == "objects":
        np.save(path, np.array([{}], dtype=object), allow_pickle=True)
    else:
        path.write_bytes(
            {"cut": whole[:-8], "empty": b"", "lies": whole.replace(b"(100,)", b"(900,)")}[damage]
        )
    with pytest.raises(KoopscopeError, match=r"not a readable \.npy file"):
        npy.npy_snapshot(path)


def test_the_format_is_written(example, monkeypatch: pytest.MonkeyPatch) -> None:
    example("koopscope.report.analysis_csv")
    assert '`"csv": f"{_HERE}.analysis_csv"`' in TEXT
    extended = {**reports.REPORTS["analysis"], "csv": "koopscope.report.analysis_csv"}
    monkeypatch.setattr(reports, "REPORTS", {**reports.REPORTS, "analysis": extended})
    assert "csv" in reports.formats("analysis")
    diagnosis = koopscope.analyze(SAMPLE)
    text = reports.render("analysis", Report((diagnosis,)), "csv", Page())
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["finding"] for row in rows] == [found.id for found in diagnosis.findings]
    assert {row["run"] for row in rows} == {str(SAMPLE)}
    first = rows[0]
    assert (first["code"], first["status"]) == ("KS101", "pass")
    assert float(first["value"]) == diagnosis.findings[0].value
