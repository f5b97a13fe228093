"""``--group`` as users give it: apart and together, in text, JSON and the gate."""

from __future__ import annotations

import json

import jsonschema
import numpy as np
import pytest

from koopscope.report.envelope import schema
from koopscope.runs.native.recorder import Recorder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "two.h5"
    rng = np.random.default_rng(0)
    start, away = rng.normal(size=(2, 6, 5))
    with Recorder(path) as recorder:
        for step in range(30):
            moved = start + 0.8**step * away
            recorder.snapshot(step, {"left.weight": moved, "right.weight": -moved})
    return path


def test_groups_are_in_the_text_and_in_json(call, run):
    words = ("analyze", run, "--group", "left=left.*", "--group", "right=right.*")
    code, out, _ = call(*words)
    assert code == 0
    assert "left, judged by itself (30 weights)" in out
    assert out.index("\nFindings\n") < out.index("right, judged by itself")
    _, out, _ = call(*words, "-f", "json")
    document = json.loads(out)
    jsonschema.validate(document, schema("analysis"))
    assert [group["name"] for group in document["groups"]] == ["left", "right"]
    assert document["groups"][0]["tensors"] == ["left.weight"]
    assert not document["groups"][0]["recognised"]
    assert document["settings"]["groups"] == ["left=left.*", "right=right.*"]


def test_without_groups_there_are_none(call, run):
    assert "judged by itself" not in call("analyze", run)[1]
    assert json.loads(call("analyze", run, "-f", "json")[1])["groups"] == []


def test_the_gate_names_the_group(call, run):
    words = ("check", run, "--group", "left=left.*", "-f", "json")
    document = json.loads(call(*words)[1])
    titles = [outcome["title"] for outcome in document["check"]["outcomes"]]
    assert "Stability: left" in titles
    assert "Stability" in titles


@pytest.mark.parametrize(
    ("group", "said"), [("left", "does not say which tensors"), ("x=y", "belongs to the group x")]
)
def test_a_group_that_is_none_is_one_error(call, run, group, said):
    code, out, err = call("analyze", run, "--group", group)
    assert (code, out) == (2, "")
    assert said in err
