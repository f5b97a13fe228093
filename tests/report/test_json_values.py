"""JSON is written as the standard library writes it, only sooner."""

from __future__ import annotations

import json

import numpy as np
import pytest

from koopscope.report.json_values import json_text, plain

DOCUMENT = {
    "words": ["a \u2264 b", "", 'quo"te'],
    "numbers": [0, -1, 1.5, 1e-300, -0.0, 2**70, True, None],
    "nested": [[], {}, [[]], {"a": {"b": [1.0, {"c": 2}]}}],
}


@pytest.mark.parametrize("value", [DOCUMENT, [], {}, 1.0, "x", None])
def test_text_is_that_of_the_standard_library(value: object) -> None:
    assert json_text(value) == json.dumps(value, indent=2) + "\n"


def test_what_is_not_finite_becomes_null_in_arrays_of_every_depth() -> None:
    assert plain(np.array([[1.0, np.nan], [np.inf, 2.0]])) == [[1.0, None], [None, 2.0]]
    assert plain({"x": (np.float32(0.5), float("inf"), np.int64(3))}) == {"x": [0.5, None, 3]}


def test_a_number_that_is_not_finite_is_never_written() -> None:
    with pytest.raises(ValueError, match="JSON"):
        json_text({"x": float("nan")})
