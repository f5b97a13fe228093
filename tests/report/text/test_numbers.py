"""Numbers are shown with the digits that are known, and what is there is never shown as nothing."""

from __future__ import annotations

import math

import pytest

from koopscope.report.text.numbers import (
    count,
    duration,
    interval,
    percent,
    share,
    small,
    step_range,
)


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (count(1, "snapshot"), "1 snapshot"),
        (count(1200, "snapshot"), "1,200 snapshots"),
        (interval(1.0), "step"),
        (interval(37.0), "37 steps"),
        (interval(12500.0), "12,500 steps"),
        (step_range(5, 5), "step 5"),
        (step_range(0, 2220), "steps 0 to 2,220"),
        (duration(0.2239, "never"), "0.224"),
        (duration(85997.2, "never"), "86,000"),
        (duration(99.96, "never"), "100"),
        (duration(math.inf, "never"), "never"),
        (small(0.0), "0"),
        (small(0.0431), "0.043"),
        (small(2.2e-7), "2e-07"),
        (share(0.0), "0%"),
        (share(0.001), "<1%"),
        (share(1.0), "100%"),
        (percent(0.0), "0%"),
        (percent(0.0123), "1.2%"),
        (percent(1.67), "167%"),
        (percent(17.2), "1720%"),
        (percent(2e38), "2.0e+38x"),
    ],
)
def test_a_number_in_words(shown: str, expected: str) -> None:
    assert shown == expected
