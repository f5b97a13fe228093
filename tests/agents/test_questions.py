"""What an agent may ask: answers as data, errors as sentences, and no folder but the roots."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from koopscope.agents.questions import Questions
from koopscope.errors import KoopscopeError

SAMPLES = Path(__file__).parents[2] / "sample_runs"


@pytest.fixture
def questions():
    return Questions.below([SAMPLES])


def test_answers_are_plain_json(questions):
    for answer in (
        questions.inspect("mlp_sgd.h5"),
        questions.diagnose("mlp_sgd.h5"),
        questions.compare("mlp_sgd.h5", "lr_too_high.h5"),
        questions.explain("KS101"),
        questions.explain(),
    ):
        assert json.loads(json.dumps(answer, allow_nan=False)) == answer


def test_the_worst_finding_comes_first(questions):
    findings = questions.diagnose("diverging.h5")["findings"]
    assert findings[0]["status"] == "fail"
    assert findings[0]["action"]["do"]
    assert "evidence" not in findings[0]
    assert "evidence" in questions.diagnose("diverging.h5", whole=True)["findings"][0]


@pytest.mark.parametrize("path", ["../README.md", "/etc/passwd", "iterates/../../README.md"])
def test_no_other_folder_is_read(questions, path):
    for ask in (questions.inspect, questions.diagnose, partial(questions.compare, "mlp_sgd.h5")):
        with pytest.raises(KoopscopeError, match="outside the folders"):
            ask(path)


def test_a_link_leads_nowhere_else(tmp_path):
    (tmp_path / "run.h5").symlink_to(SAMPLES / "mlp_sgd.h5")
    with pytest.raises(KoopscopeError, match="outside the folders"):
        Questions.below([tmp_path]).diagnose("run.h5")


def test_a_root_is_a_folder(tmp_path):
    with pytest.raises(KoopscopeError, match="not a folder"):
        Questions.below([tmp_path / "absent"])
