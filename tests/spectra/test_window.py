"""A spectrum rests on the longest stretch of finite, evenly spaced snapshots, and says so."""

import numpy as np
import pytest

from koopscope.errors import KoopscopeError
from koopscope.spectra.window import usable_window


def window(steps, finite=None, **asked):
    steps = np.asarray(steps, np.int64)
    good = np.ones(len(steps), bool) if finite is None else np.asarray(finite, bool)
    return usable_window(steps, good, **asked)


def test_an_even_run_is_taken_whole():
    found = window(range(0, 100, 10))
    assert (found.first, found.stop, found.spacing_steps) == (0, 10, 10.0)
    assert found.evenly_spaced
    assert found.asked == found.snapshots == 10


def test_the_longest_even_stretch_is_taken():
    found = window([0, 1, 2, 10, 20, 30, 40, 41, 42])
    assert (found.first, found.stop, found.spacing_steps) == (3, 7, 10.0)
    assert not found.evenly_spaced


def test_the_later_of_two_equal_stretches_is_taken():
    found = window([0, 1, 2, 10, 18, 19])
    assert (found.first, found.stop) == (2, 5)


def test_bad_snapshots_end_a_stretch():
    found = window(range(8), [1, 1, 0, 1, 1, 1, 0, 1])
    assert (found.first, found.stop) == (3, 6)


def test_first_and_last_step_are_included():
    found = window(range(0, 100, 10), first_step=20, last_step=50)
    assert (found.first, found.stop, found.asked) == (2, 6, 4)


def test_one_snapshot_is_a_window():
    found = window([7])
    assert (found.snapshots, found.spacing_steps, found.evenly_spaced) == (1, 1.0, True)


@pytest.mark.parametrize(
    ("steps", "finite", "asked", "message"),
    [
        ([], [], {}, "holds no snapshot"),
        ([1, 2], [1, 1], {"first_step": 5}, "no snapshot lies in steps 5:2"),
        ([1, 2], [0, 0], {}, "no snapshot of finite weights"),
    ],
)
def test_nothing_left_is_said(steps, finite, asked, message):
    with pytest.raises(KoopscopeError, match=message):
        window(steps, finite, **asked)
