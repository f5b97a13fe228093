"""Which weights jump, by each test."""

from __future__ import annotations

import numpy as np
import pytest

from koopscope.errors import KoopscopeError
from koopscope.forecasting.acceptance import accepted
from koopscope.forecasting.choices import ACCEPTANCES

LAST = np.array([1.0, 1.0, 1.0, 1.0, -1.0, 0.0, -1.0])
PREDICTED = np.array([2.0, 0.5, -2.0, 6.0, -5.0, 3.0, 2.0])


@pytest.mark.parametrize(
    ("rule", "moving"),
    [("none", [0, 1, 2, 3, 4, 5, 6]), ("sign", [0, 1, 3, 4]), ("pdt", [0, 4])],
)
def test_each_rule_lets_these_weights_move(rule, moving):
    np.testing.assert_array_equal(np.flatnonzero(accepted(rule, PREDICTED, LAST, 5.0)), moving)


@pytest.mark.parametrize("rule", ACCEPTANCES)
def test_several_horizons_share_one_last_increment(rule):
    both = accepted(rule, np.stack([PREDICTED, 2 * PREDICTED]), LAST, 5.0)
    np.testing.assert_array_equal(both[0], accepted(rule, PREDICTED, LAST, 5.0))
    np.testing.assert_array_equal(both[1], accepted(rule, 2 * PREDICTED, LAST, 5.0))


def test_an_unknown_rule_is_named():
    with pytest.raises(KoopscopeError, match="'hope'"):
        accepted("hope", PREDICTED, LAST, 5.0)
