"""What all tests share: the command's threads, no deadlines, the frameworks that must be there.

Machines differ in speed, so a deadline would only tell the machine.
"""

import os
import signal
from collections.abc import Iterator

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as koopscope.cli.main says, before NumPy

from importlib.util import find_spec

import pytest
from hypothesis import settings

from koopscope.runs.hdf5 import structure
from tests.frameworks import REQUIRED, required

# A program that a shell starts in the background ignores Ctrl-C, and so would what it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("koopscope", deadline=None)
settings.load_profile("koopscope")


@pytest.fixture(autouse=True)
def opened_here(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Open files in this process: tests made them, and another interpreter takes its time.

    Tests of that other interpreter are marked ``walks``.
    """
    is_walked = request.node.get_closest_marker("walks") is not None
    monkeypatch.setattr(structure, "_walks_are_needed", is_walked)


@pytest.fixture(autouse=True)
def ctrl_c_means_what_it_did() -> Iterator[None]:
    """Give Ctrl-C Python's meaning back: a command that was called here may have left its own."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0.0)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure() -> None:
    """Refuse to run where a framework is missing that must be there: nothing may skip for it."""
    missing = [name for name in required() if find_spec(name) is None]
    if missing:
        raise pytest.UsageError(f"{REQUIRED} names what is not installed: {', '.join(missing)}")
