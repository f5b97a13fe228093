"""The page on the rules holds the numbers that the study left."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from koopscope.diagnostics.registry import DIAGNOSTICS

REPOSITORY = Path(__file__).parents[2]
STUDY = REPOSITORY / "studies" / "rules"

pytest.importorskip("studies.rules.page")


def test_the_tables_are_those_of_the_results() -> None:
    from studies.rules.page import PAGE, section

    results = json.loads((STUDY / "results.json").read_text())
    assert section(results) in PAGE.read_text("utf-8")


def test_every_run_has_a_line_and_every_rule_a_column() -> None:
    with (STUDY / "verdicts.csv").open() as file:
        rows = list(csv.DictReader(file))
    results = json.loads((STUDY / "results.json").read_text())
    assert len(rows) == results["runs"]
    assert sum(row["kind"] == "healthy" for row in rows) == results["healthy"]["runs"]
    for rule in ("overfitting", "plateau", "rest", "wasted", "spikes", "learning-rate"):
        assert all(row[rule] for row in rows)


@pytest.mark.parametrize("rule", ["plateau", "spikes", "rest", "wasted", "learning-rate"])
def test_no_rule_that_weights_join_in_warns_of_a_healthy_run(rule: str) -> None:
    results = json.loads((STUDY / "results.json").read_text())
    assert results["healthy"][rule] == []


def test_explanations_name_numbers_of_the_study() -> None:
    results = json.loads((STUDY / "results.json").read_text())["questions"]
    told = {diagnostic.id: diagnostic.explanation.accuracy for diagnostic in DIAGNOSTICS}
    for rule, question in (
        ("overfitting", "overfitting"),
        ("plateau", "plateau"),
        ("spikes", "spikes"),
        ("learning-rate", "rate too low"),
        ("learning-rate", "rate too high"),
        ("dead-units", "dead units"),
    ):
        row = results[question]
        assert f"{row['koopscope']['found']} of {row['yes']}" in told[rule], question
