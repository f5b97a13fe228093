"""What the tests of the command line share."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.calling import called


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Call ``koopscope`` in this process; return exit code, stdout and stderr."""
    return lambda *words: called(capsys, *words)
