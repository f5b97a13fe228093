"""What all tests share: the command's threads, no deadlines, the frameworks that must be there.

Machines differ in speed, so a deadline would only tell the machine.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as koopscope.cli.main says, before NumPy

from importlib.util import find_spec

import pytest
from hypothesis import settings

from tests.frameworks import REQUIRED, required

settings.register_profile("koopscope", deadline=None)
settings.load_profile("koopscope")


def pytest_configure() -> None:
    """Refuse to run where a framework is missing that must be there: nothing may skip for it."""
    missing = [name for name in required() if find_spec(name) is None]
    if missing:
        raise pytest.UsageError(f"{REQUIRED} names what is not installed: {', '.join(missing)}")
