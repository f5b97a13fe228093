"""Ctrl-C ends the command also where Python or HDF5 drop it, and lets it clean up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

import koopscope_command
from koopscope.cli.containment import can_contain

pytestmark = pytest.mark.skipif(not can_contain(), reason="this system has no such timers")

STRIKE = """
import os, signal, sys, time, weakref
from koopscope.cli import console, containment, interruption
def strike():
    os.kill(os.getpid(), signal.SIGINT)
    for _ in range(1000):
        pass
"""


def said_by(program: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", STRIKE + program]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_an_interrupt_that_python_drops_comes_again() -> None:
    said = said_by("""
interruption.listen()
class Thing: pass
thing = Thing()
watched = weakref.ref(thing, lambda _: strike())
del thing
print("dropped")
try:
    time.sleep(60)
except KeyboardInterrupt:
    print("taken", interruption.taken())
    time.sleep(1)  # it comes no more
    print("done")
""")
    assert said.stdout.split() == ["dropped", "taken", "True", "done"]
    assert "Exception ignored" in said.stderr  # Python's own words


def test_cleaning_up_is_not_interrupted_once_more() -> None:
    said = said_by("""
interruption.listen()
try:
    try:
        strike()
    finally:
        time.sleep(1)
        print("cleaned")
except KeyboardInterrupt:
    print("ended")
""")
    assert said.stdout.split() == ["cleaned", "ended"]


def test_an_error_that_an_interrupt_became_is_the_interrupt() -> None:
    said = said_by("""
from koopscope.cli.main import _done
interruption.listen()
try:
    strike()
except KeyboardInterrupt:
    pass  # as HDF5 does
sys.exit(_done(["inspect", "there-is-none.h5"]))
""")
    assert said.returncode == 130
    assert said.stderr.strip() == "error: interrupted"


def test_a_child_that_does_not_end_is_killed() -> None:
    said = said_by("""
containment._PATIENCE = 0.3
def job():
    signal.signal(signal.SIGINT, lambda *_: None)
    os.kill(os.getppid(), signal.SIGINT)
    for _ in range(60):
        time.sleep(1)
    return 0
sys.exit(containment.contain(job, console.complain))
""")
    assert said.returncode == 130
    assert said.stderr == "error: interrupted\n"


def test_the_first_module_of_the_command_silences_an_interrupt_and_loads_nothing_before() -> None:
    program = f"""
import os, sys
known = set(sys.modules)
sys.path.append({os.path.dirname(os.path.abspath(koopscope_command.__file__))!r})
import koopscope_command
print(sorted(set(sys.modules) - known), flush=True)
os.kill(os.getpid(), 2)
"""
    command = [sys.executable, "-I", "-S", "-c", program]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.stdout == "['koopscope_command']\n"
    assert ended.stderr == ""
    assert ended.returncode == -signal.SIGINT
