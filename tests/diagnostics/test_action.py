"""Tests of the one thing to do about a finding."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import get_args

import pytest

from koopscope.diagnostics.action import Action, Do


@pytest.mark.parametrize(
    ("action", "line"),
    [
        (Action("stop", step=40), "stop training; enough by step 40"),
        (Action("stop"), "stop training"),
        (Action("restore", step=170), "go back to the weights of step 170"),
        (
            Action("lower_lr", factor=0.2, factor_range=(0.1, 1 / 3)),
            "lower the learning rate by 3 to 10 times",
        ),
        (Action("raise_lr", factor=10.0), "raise the learning rate about 10 times"),
        (
            Action("lower_lr", factor=0.1, step=900),
            "lower the learning rate about 10 times, from the weights of step 900",
        ),
        (Action("freeze", layers=("a", "b", "c", "d", "e")), "freeze a, b, c and 2 more"),
        (Action("average", count=5, step=90), "average the last 5 snapshots up to step 90"),
        (
            Action("record_more", count=12),
            "judge again from 12 snapshots on: wait for more, or record more often",
        ),
        (Action("none"), ""),
    ],
)
def test_line(action: Action, line: str) -> None:
    assert action.line == line


def test_json_leaves_out_what_does_not_apply() -> None:
    assert Action().plain() == {"do": "none"}
    assert Action("freeze", layers=("a",)).plain() == {"do": "freeze", "layers": ["a"]}


def test_schema_has_the_words_and_every_word_has_a_line() -> None:
    text = files("koopscope").joinpath("report/schema/analysis-1.0.schema.json").read_text()
    schema = json.loads(text)["$defs"]["action"]
    assert schema["properties"]["do"]["enum"] == list(get_args(Do))
    assert set(schema["properties"]) == set(Action.__dataclass_fields__)
    for word in get_args(Do):
        assert bool(Action(word).line) == (word != "none")
