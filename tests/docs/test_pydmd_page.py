"""What docs/guide/pydmd.md shows is what Python answers."""

import doctest
import re
from pathlib import Path

import numpy as np

import koopscope

PAGE = Path(__file__).parents[2] / "docs" / "guide" / "pydmd.md"


def test_every_example_answers_what_the_page_shows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = "\n".join(re.findall(r"```pycon\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL))
    test = doctest.DocTestParser().get_doctest(source, {}, "pydmd.md", str(PAGE), 0)
    runner = doctest.DocTestRunner()
    runner.run(test)
    assert runner.tries > 10
    assert runner.failures == 0


def test_every_name_that_is_said_to_be_the_same_exists():
    text = PAGE.read_text("utf-8")
    named = re.findall(r"`(\w+)`", text[text.index("## The same") : text.index("## Not the same")])
    dmd = koopscope.DMD(svd_rank=1).fit(np.outer([1.0, 2.0], 0.9 ** np.arange(4)))
    options = vars(dmd.options)
    skipped = {"True", "False", "shape", "ValueError", "RuntimeError", "KoopscopeError"}
    inside = {"as_numpy_array", "eigenvalues", "eigenvectors"}
    for name in set(named) - skipped:
        owner = dmd.operator if name in inside else dmd
        assert name in options or hasattr(owner, name), name
