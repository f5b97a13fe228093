"""What every report promises: 80 columns, ASCII where asked for, JSON that programs can read."""

from __future__ import annotations

import json
import shutil
from importlib import resources
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from koopscope.cli import console
from koopscope.report.text.terminal_style import Page
from tests.calling import called

SAMPLES = Path(__file__).parents[2] / "sample_runs"

#: The words that print each report, and the schema its JSON follows.
REPORTS = {
    "analysis": (("analyze", "mlp_sgd.h5"), "analysis"),
    "analysis of a run that diverged": (("analyze", "diverging.h5"), "analysis"),
    "analysis of two runs": (("analyze", "mlp_sgd.h5", "diverging.h5"), None),
    "gate": (("check", "mlp_sgd.h5"), "analysis"),
    "gate of a run that diverged": (("check", "diverging.h5"), "analysis"),
    "inspection": (("inspect", "mlp_sgd.h5"), "inspection"),
    "forecast": (("forecast", "mlp_sgd.h5", "--ahead", 10), "forecast"),
    "pruning": (("prune", "mlp_sgd.h5", "--sparsity", 0.5), "pruning"),
    "contraction": (("contraction", "forest.h5"), "contraction"),
    "contraction that does not rest": (("contraction", "forest_restless.h5"), "contraction"),
    "comparison": (("compare", "mlp_sgd.h5", "diverging.h5"), "comparison"),
    "comparison of a run with itself": (("compare", "mlp_sgd.h5", "mlp_sgd.h5"), "comparison"),
    "history": (("history", "mlp_sgd.h5", "diverging.h5"), "history"),
    "scales": (("depth", "--signal", "signal.csv"), None),
}
TEXTS = {name: words for name, (words, _) in REPORTS.items()} | {
    "watch": ("watch", "--once", "mlp_sgd.h5"),
    "rules": ("explain",),
    "explanation": ("explain", "KS101"),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("mlp_sgd.h5", "diverging.h5", "iterates/forest.h5", "iterates/forest_restless.h5"):
        shutil.copy(SAMPLES / name, tmp_path)
    x = np.linspace(0.0, 1.0, 256)
    signal = np.sin(2 * np.pi * 3 * x) + 0.3 * np.sin(2 * np.pi * 40 * x)
    np.savetxt("signal.csv", np.column_stack([x, signal]), delimiter=",", header="x,y", comments="")
    return tmp_path


def printed(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """Return what a command prints; the gate may have found something."""
    code, out, err = called(capsys, *words)
    assert code in (0, 1), err
    assert out.endswith("\n")
    return out


@pytest.mark.parametrize("unicode", [True, False], ids=["unicode", "ascii"])
@pytest.mark.parametrize("name", TEXTS)
def test_text_stays_within_80_columns_and_its_alphabet(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    unicode: bool,
) -> None:
    monkeypatch.setattr(console, "page", lambda: Page(width=80, unicode=unicode))
    text = printed(capsys, *TEXTS[name])
    assert max(len(line) for line in text.splitlines()) <= 80
    assert not any(line != line.rstrip() for line in text.splitlines())
    assert "\x1b" not in text
    assert text.isascii() or unicode


@pytest.mark.parametrize("name", REPORTS)
def test_json_is_plain_follows_its_schema_and_is_the_same_twice(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    words, schema = REPORTS[name]
    text = printed(capsys, *words, "--format", "json")
    document = json.loads(text, parse_constant=pytest.fail)  # NaN and Infinity are no JSON
    assert document["schema_version"]
    assert document["koopscope_version"]
    if schema is not None:
        place = resources.files("koopscope.report") / "schema" / f"{schema}-1.0.schema.json"
        jsonschema.validate(document, json.loads(place.read_text("utf-8")))
    assert printed(capsys, *words, "--format", "json") == text


def test_every_schema_that_ships_is_that_of_a_report() -> None:
    shipped = {
        place.name.partition("-")[0]
        for place in (resources.files("koopscope.report") / "schema").iterdir()
        if place.name.endswith(".json")
    }
    assert shipped == {schema for _, schema in REPORTS.values() if schema is not None}
