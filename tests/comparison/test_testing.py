"""``assert_equivalent`` for test suites of training code."""

from __future__ import annotations

from pathlib import Path

import pytest

from koopscope.testing import assert_equivalent
from tests.comparison.systems import repeats, trained


def test_a_reproduced_run_passes_exactly(tmp_path: Path) -> None:
    a, b = trained(tmp_path / "a.h5"), trained(tmp_path / "b.h5")
    assert assert_equivalent(a, b, exact=True).verdict == "same"


def test_another_seed_does_not_reproduce(tmp_path: Path) -> None:
    a, b = trained(tmp_path / "a.h5"), trained(tmp_path / "b.h5", seed=1)
    with pytest.raises(AssertionError, match=r"does not reproduce .* at step 0"):
        assert_equivalent(b, a, exact=True)


def test_another_law_fails_in_words(tmp_path: Path) -> None:
    a = repeats(tmp_path, "a", 4)
    b = repeats(tmp_path, "b", 4, 10, decays=(0.7, 0.5))
    with pytest.raises(AssertionError, match="not the same dynamics"):
        assert_equivalent(b, a)
    assert assert_equivalent(repeats(tmp_path, "c", 4, 20), a).verdict != "different"


def test_repeats_cannot_be_exact(tmp_path: Path) -> None:
    a, b = repeats(tmp_path, "a", 2), repeats(tmp_path, "b", 2)
    with pytest.raises(AssertionError, match="two single runs"):
        assert_equivalent(a, b, exact=True)
