"""The threshold keeps exactly the k largest of a stream, however it is cut."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from koopscope import KoopscopeError
from koopscope.pruning import selection
from koopscope.pruning.selection import largest

scores = st.lists(
    st.one_of(
        st.floats(0.0, allow_infinity=True, allow_nan=False, width=64),
        st.sampled_from([0.0, -0.0, 1.0, 1.0 + 2**-52, 5e-324]),
    ),
    min_size=1,
    max_size=60,
)


def chosen(values, keep, chunk):
    parts = [values[i : i + chunk] for i in range(0, len(values), chunk)]
    threshold = largest(lambda: iter(parts), keep, len(values))
    used, masks = 0, []
    for part in parts:
        mask, used = threshold.keep(part, used)
        masks.append(mask)
    return np.concatenate(masks)


@settings(deadline=None, max_examples=60)
@given(scores, st.data())
def test_exactly_the_largest_stay_and_of_equal_ones_the_first(values, data):
    values = np.array(values)
    keep = data.draw(st.integers(0, len(values)))
    chunk = data.draw(st.integers(1, len(values)))
    mask = chosen(values, keep, chunk)
    expected = np.zeros(len(values), bool)
    expected[np.argsort(-values, kind="stable")[:keep]] = True
    np.testing.assert_array_equal(mask, expected)


def test_scores_too_close_to_be_held_at_once_are_told_apart(monkeypatch):
    monkeypatch.setattr(selection, "_HELD", 4)
    values = 1.0 + np.arange(1000) * 2.0**-52
    for keep in (1, 500, 999):
        mask = chosen(np.random.default_rng(0).permutation(values), keep, 64)
        assert mask.sum() == keep
    np.testing.assert_array_equal(chosen(values, 10, 100), values >= values[-10])


def test_more_than_there_are_cannot_be_kept():
    with pytest.raises(KoopscopeError, match="3 of 2 weights cannot be kept"):
        largest(lambda: iter([np.ones(2)]), 3, 2)
