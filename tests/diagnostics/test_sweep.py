"""Several runs are ranked by what they recorded, whatever the order they were named in."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from koopscope.diagnostics.diagnosis import analyze
from koopscope.diagnostics.sweep import learning_rate, ranking, sweep_of
from koopscope.report.analysis_json import document
from koopscope.report.analysis_report import Report
from koopscope.report.envelope import dumped, schema
from koopscope.report.text.sweep import sweep_lines
from koopscope.report.text.terminal_style import Page
from tests.report.known_runs import diagnosed, losses_of, snapshots_of
from tests.report.test_analysis_json import undescribed

RUNS = Path(__file__).parents[2] / "sample_runs"


@pytest.fixture(scope="module")
def rates():
    names = ("lr_too_high", "rate_too_low", "mlp_sgd")
    return [analyze(RUNS / f"{name}.h5") for name in names]


def named(path, metrics, **metadata):
    """Diagnose a known trajectory under a name, with other metrics."""
    found = diagnosed(snapshots_of(), metrics, rank=5)
    found.analysis.description = replace(found.analysis.description, path=path, metadata=metadata)
    return found


def test_three_learning_rates_are_ranked_by_their_best_validation_loss(rates):
    found = ranking(rates)
    assert found is not None
    assert (found.by, found.better) == ("val_loss", "min")
    assert [Path(run.path).stem for run in found.runs] == ["mlp_sgd", "lr_too_high", "rate_too_low"]
    for run in found.runs:
        (diagnosis,) = (d for d in rates if d.analysis.description.path == run.path)
        values = diagnosis.analysis.description.metrics["val_loss"]
        steps = diagnosis.analysis.description.steps
        assert run.value == values[list(steps).index(run.step)]
        assert run.last == values[-1]
        assert run.rate == diagnosis.analysis.description.metadata["lr"]
        assert run.restart_score == diagnosis.finding("initialization").evidence["score"]
        assert run.state == diagnosis.finding("convergence").evidence["state"]
        assert run.do == diagnosis.next.line
    assert found.runs[0].rank == 1


def test_a_best_rate_at_the_end_is_pointed_out(rates):
    middle = ranking(rates)
    assert middle is not None
    assert "may lie beyond" not in middle.sentence
    metrics = [{"loss": scale * 0.9 ** np.arange(40.0)} for scale in (3.0, 2.0, 1.0)]
    runs = [named(f"{k}.h5", each, lr=10.0**-k) for k, each in enumerate(metrics)]
    end = ranking(runs)
    assert end is not None
    assert "its learning rate 0.01 is the lowest, so a better one may lie beyond" in end.sentence


def test_one_run_is_no_sweep(rates):
    assert ranking(rates[:1]) is None
    assert sweep_of(rates[:1]) is None


def test_a_run_without_a_finite_value_comes_last():
    lost = {"loss": np.full(40, math.nan)}
    runs = [named("lost.h5", lost), named("a.h5", losses_of()), named("b.h5", losses_of())]
    found = ranking(runs)
    assert found is not None
    assert found.runs[-1].path == "lost.h5"
    assert found.runs[-1].value is None


def test_runs_without_a_metric_in_common_are_ranked_by_state_and_start():
    runs = [named("a.h5", {"val_loss": 0.9 ** np.arange(40.0)}), named("b.h5", {})]
    found = ranking([runs[0], runs[1]])
    assert found is not None
    assert found.by is None
    assert "share no recorded metric" in found.sentence


def test_a_score_ranks_the_other_way_round():
    rising = 1.0 - 0.9 ** np.arange(40.0)
    found = ranking([named("a.h5", {"val_acc": 0.5 * rising}), named("b.h5", {"val_acc": rising})])
    assert found is not None
    assert (found.by, found.better) == ("val_acc", "max")
    assert [run.path for run in found.runs] == ["b.h5", "a.h5"]


@pytest.mark.parametrize("value", ["0.1", True, math.nan, None, [0.1]])
def test_a_rate_in_metadata_must_be_a_number(value):
    assert learning_rate(named("a.h5", {}, lr=value)) is None
    assert learning_rate(named("a.h5", {}, lr=value, learning_rate=0.5)) == 0.5


def test_json_follows_the_schema_and_names_every_key(rates):
    report = Report(tuple(rates), sweep=sweep_of(rates))
    parsed = json.loads(dumped(document(report)))
    jsonschema.validate(parsed, schema("analysis"))
    assert undescribed(parsed, schema("analysis")["$defs"]["analyses"]) == []
    assert parsed["sweep"]["kind"] == "runs"
    assert [run["rank"] for run in parsed["sweep"]["ranking"]["runs"]] == [1, 2, 3]


def test_the_table_fits_its_page_and_puts_the_best_first(rates):
    sweep = sweep_of(rates)
    assert sweep is not None
    lines = sweep_lines(sweep, Page(width=80))
    assert all(len(line) <= 80 for line in lines)
    assert lines[0].split() == ["Ranking", "state", "val_loss", "restart", "rate", "do"]
    assert lines[1].split()[0] == "mlp_sgd.h5"


def test_a_depth_sweep_keeps_its_keys_beside_the_ranking():
    sweep = {
        "kind": "depth", "method": "recorded losses", "tolerance": 0.35, "suggested_depth": 2,
        "suggested_run": "b.h5", "runs": [{"path": "b.h5", "depth": 2, "excess": 0.0}],
    }  # fmt: skip
    text = "\n".join(sweep_lines(sweep, Page()))
    assert "Depth 2 is enough" in text
    assert "Ranking" not in text
