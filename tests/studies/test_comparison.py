"""The comparison's committed study: its figures follow from its tables, and meet what they must."""

from __future__ import annotations

import json

import pytest

from studies.comparison import measure, published
from studies.comparison.recipes import CHANGED_SEEDS, all_variants, seeds
from studies.plan import HELD_OUT

SUMMARY = json.loads((measure.HERE / "summary.json").read_text("utf-8"))
TABLES = [measure.read(name) for name in ("pairs.csv", "groups.csv", "nulls.csv")]


def test_the_figures_are_those_of_the_tables() -> None:
    found = json.loads(json.dumps(measure.rounded(measure.summary(*TABLES))))
    for name in ("pairs", "groups"):
        assert found[name]["verdicts"] == SUMMARY[name]["verdicts"]
        for key, areas in SUMMARY[name]["auroc"].items():
            assert found[name]["auroc"][key] == pytest.approx(areas, abs=2e-3)
    assert found["nulls"] == SUMMARY["nulls"]


def test_only_held_out_families_were_measured() -> None:
    for table in TABLES:
        assert {row["base"].rsplit("-", 1)[0] for row in table} == set(HELD_OUT)


def test_changed_recipes_share_no_seed_with_the_unchanged_one() -> None:
    for variant in all_variants("held-out"):
        if variant.change == "none":
            assert not set(seeds(variant)) & set(CHANGED_SEEDS)


def test_a_change_is_told_from_a_seed_as_often_as_is_demanded() -> None:
    assert SUMMARY["groups"]["count"] >= 60
    assert SUMMARY["groups"]["auroc"]["distance"]["all"] >= 0.90
    assert SUMMARY["pairs"]["auroc"]["distance"]["all"] >= 0.80
    assert SUMMARY["nulls"]["draws"] >= 200
    for size in (3, 4):
        assert SUMMARY["nulls"][f"false_rejections_{size}"] <= 0.05


def test_it_beats_what_it_is_weighed_against() -> None:
    for table in ("pairs", "groups"):
        areas = SUMMARY[table]["auroc"]
        others = [areas[name]["all"] for name in ("weights", "motions", "losses")]
        assert areas["distance"]["all"] > max(others)


def test_the_page_quotes_the_tables() -> None:
    page = (measure.HERE.parents[1] / "docs" / "evidence" / "comparing.md").read_text("utf-8")
    for kind in ("pairs", "groups"):
        for areas in SUMMARY[kind]["auroc"].values():
            cells = [f"{areas['all']:.3f}"]
            changes = ("optimizer", "rate", "batch", "precision", "regularization", "order")
            cells += [f"{areas[change]:.2f}" for change in changes]
            assert f" | {' | '.join(cells)} |" in page
        for counts in SUMMARY[kind]["verdicts"].values():
            row = (counts["same"], counts["inconclusive"], counts["different"])
            assert f" | {' | '.join(map(str, row))} |" in page
    for size in (3, 4):
        assert f"{SUMMARY['nulls'][f'false_rejections_{size}']:.1%}" in page


def test_the_published_spectra_of_optimizers_are_found_again() -> None:
    stored = json.loads(published.OUT.read_text("utf-8"))
    found = published.distances(published.optimizers())
    assert found == pytest.approx(stored["optimizers"], abs=2e-3)
    assert found["mirror - reparametrized"] < 0.05 * found["mirror - bisection"]
    page = (measure.HERE.parents[1] / "docs" / "evidence" / "comparing.md").read_text("utf-8")
    for distance in stored["widths"].values():
        assert f" {distance:.3f} |" in page
