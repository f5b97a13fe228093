"""The command works in a child: a hang or a crash is a sentence, and all else is as before."""

from __future__ import annotations

import os
import pty
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import koopscope
from koopscope import KoopscopeError, Recorder, open_run
from koopscope.cli.containment import can_contain
from koopscope.runs.detect.opening import group_sources
from koopscope.runs.hdf5 import structure

pytestmark = pytest.mark.walks

needs_containment = pytest.mark.skipif(not can_contain(), reason="this system cannot contain")
FIRST_LINES = "import koopscope_command; "
PROGRAM = FIRST_LINES + "koopscope_command.main()"


def command(
    *words: object, before: str = "", **options: object
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # type: ignore[call-overload, no-any-return]
        [sys.executable, "-c", before + PROGRAM, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=300,
        **options,
    )


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    path = tmp_path / "run.h5"
    recorder = Recorder(path, metadata={"lr": 0.1})
    for step in range(12):
        recorder.snapshot(step, {"w": np.full(40, 0.9**step, np.float32)}, loss=0.9**step)
    return path


@pytest.fixture
def endless(sound: Path) -> Path:
    """Return a run with an object of no size in its heap of texts: HDF5 reads it for ever."""
    content = bytearray(sound.read_bytes())
    heap = content.find(b"GCOL")
    (size,) = struct.unpack_from("<Q", content, heap + 24)
    second = heap + 32 + (size + 7 & ~7)
    content[second : second + 16] = bytes(16)
    path = sound.with_name("endless.h5")
    path.write_bytes(content)
    return path


@needs_containment
@pytest.mark.parametrize("verb", ["inspect", "analyze", "check"])
def test_an_endless_loop_in_hdf5_is_one_sentence(endless: Path, verb: str) -> None:
    ended = command(verb, endless)
    assert ended.returncode == 2
    assert ended.stdout == ""
    error, hint = ended.stderr.splitlines()
    assert error == f"error: {endless} cannot be read: reading its structure comes to no end"
    assert hint.startswith("hint: the file is damaged")


def test_python_programs_are_told_as_well_and_recording_begins(endless: Path) -> None:
    for opened in (open_run, koopscope.analyze):
        with pytest.raises(KoopscopeError, match="comes to no end"):
            opened(endless)
    # A recorder looks at the file with its first snapshot, and ends no training over it.
    recorder = Recorder(endless, mode="resume")
    with pytest.warns(RuntimeWarning):
        recorder.snapshot(10**6, {"w": np.ones(3, np.float32)})
    recorder.close()


@needs_containment
@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT])
def test_a_crash_is_one_sentence(sound: Path, number: signal.Signals) -> None:
    before = (
        "import os\nfrom koopscope.runs.hdf5 import safety\n"
        f"safety.open_hdf5 = lambda path: os.kill(os.getpid(), {int(number)})\n"
    )
    ended = command("inspect", sound, before=before)
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[0] == (
        f"error: {sound} cannot be read: reading it brought the process down ({number.name})"
    )


@needs_containment
def test_a_child_killed_for_memory_is_one_sentence(sound: Path) -> None:
    before = (
        "import os\nfrom koopscope.runs.hdf5 import safety\n"
        "safety.open_hdf5 = lambda path: os.kill(os.getpid(), 9)\n"
    )
    ended = command("inspect", sound, before=before)
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"error: the work on {sound} was killed, as the system does")


def test_exit_codes_streams_and_pipes_are_as_they_were(sound: Path, tmp_path: Path) -> None:
    assert command("inspect", sound).returncode == 0
    assert command("inspect", tmp_path / "none.h5").returncode == 2
    assert "no such option" in command("inspect", "--nonsense").stderr.lower()
    assert command("--version").stdout.startswith("koopscope ")
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as gone:
        ended = subprocess.run(
            [sys.executable, "-c", PROGRAM, "inspect", str(sound)],
            stdout=gone,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (ended.returncode, ended.stderr) == (0, "")


def begun(
    words: Sequence[object], program: str = PROGRAM, **options: object
) -> subprocess.Popen[str]:
    return subprocess.Popen(  # type: ignore[call-overload, no-any-return]
        [sys.executable, "-c", program, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


@needs_containment
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_child_and_parent_alike(tmp_path: Path, number: signal.Signals) -> None:
    process = begun(["watch", tmp_path / "not-yet.h5", "--interval", "0.1"])
    wait_for_child(process.pid)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == -number


@needs_containment
def test_an_interrupt_ends_watching_in_order(tmp_path: Path) -> None:
    process = begun(["watch", tmp_path / "not-yet.h5", "--interval", "0.1"])
    assert process.stdout is not None
    wait_for_child(process.pid, handles=signal.SIGINT)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert err.startswith("Stopped watching")


@needs_containment
def test_a_killed_parent_leaves_no_child(sound: Path) -> None:
    process = begun(["watch", sound, "--interval", "0.1"])
    child = wait_for_child(process.pid, handles=signal.SIGINT)
    assert process.stdout is not None
    process.stdout.readline()  # it has looked
    process.kill()
    process.communicate(timeout=60)
    assert waited_until(lambda: not os.path.exists(f"/proc/{child}") or is_dead(child))


@pytest.mark.parametrize("delay", [0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8])
def test_ctrl_c_while_starting_shows_no_traceback(sound: Path, delay: float) -> None:
    parent, terminal = pty.openpty()
    # Before those lines have run, Python itself answers Ctrl-C.
    process = begun(
        ["analyze", sound],
        program=f"{FIRST_LINES}print('began', flush=True); {PROGRAM}",
        stdin=terminal,
        preexec_fn=lambda: take_terminal(terminal),
    )
    os.close(terminal)
    assert process.stdout is not None
    assert process.stdout.readline() == "began\n"
    time.sleep(delay)
    os.write(parent, b"\x03")  # to the whole foreground group, as a key does
    _, err = process.communicate(timeout=60)
    os.close(parent)
    assert "Traceback" not in err
    assert "fault of koopscope" not in err
    assert process.returncode in (0, 130, -signal.SIGINT)


def take_terminal(terminal: int) -> None:
    import fcntl
    import termios

    os.setsid()
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)


def wait_for_child(pid: int, handles: int = 0) -> int:
    """Return the child that does the work, once it handles a signal by a handler of its own."""
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    found: list[int] = []

    def is_there() -> bool:
        found[:] = [int(word) for word in listed.read_text().split()]
        return bool(found) and (not handles or catches(found[0], handles))

    assert waited_until(is_there)
    return found[0]


def catches(pid: int, number: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


def is_dead(pid: int) -> bool:
    return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()


def waited_until(condition: object, seconds: float = 60.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():  # type: ignore[operator]
            return True
        time.sleep(0.02)
    return False


def test_a_file_that_was_walked_is_not_walked_again(
    sound: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    walks: list[list[str]] = []
    monkeypatch.setattr(structure, "_walk", lambda names, opener: walks.append(names) or 0)
    for _ in range(2):
        open_run(sound).close()
    assert walks == [[str(sound)]]
    os.utime(sound, ns=(1, 1))
    open_run(sound).close()
    assert len(walks) == 2


def test_a_fresh_interpreter_walks_where_a_fork_would_be_unsafe(
    endless: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(structure, "_has_one_thread", lambda: False)
    assert structure._walk([str(endless)], open_run) == structure.OUT_OF_TIME


def test_large_files_have_more_time_and_memory(tmp_path: Path) -> None:
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_bytes(b"x")
    with large.open("wb") as file:
        file.truncate(100 * 2**20)
    assert structure.limit_of(small).step == pytest.approx(2.0, abs=0.01)
    assert structure.limit_of(large).step == pytest.approx(27.0)
    assert structure.limit_of(tmp_path).whole >= 405.0
    assert structure.limit_of(large).memory > structure.limit_of(small).memory


READING = """
import sys, time
from koopscope.cli import console, containment
from koopscope.runs.hdf5 import values
values.SECONDS = 0.2
def job():
    # Little of the reading thread's own time, and much of another's, is no reading without an end.
    with values.reading_weights("slow.h5", 0):
        time.sleep(2.5)
    began = time.process_time()
    while time.process_time() - began < 2.5:
        pass
    print("worked", flush=True)
    with values.reading_weights(sys.argv[1], 0):
        while True:
            pass
console.set_up()
sys.exit(containment.contain(job, console.complain))
"""


@needs_containment
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="nobody counts a thread's time")
def test_a_block_that_is_read_for_ever_ends_with_a_sentence() -> None:
    said = subprocess.run(
        [sys.executable, "-c", READING, "sick.h5"], capture_output=True, text=True, timeout=60
    )
    assert said.stdout == "worked\n"
    assert said.returncode == 2
    assert said.stderr.startswith("error: sick.h5 cannot be read: reading its weights comes to no")


def test_without_a_child_files_are_walked_before_they_are_looked_at(
    sound: Path, endless: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the command cannot work in a child: macOS, Windows."""
    walks: list[list[str]] = []
    real = structure._walk
    monkeypatch.setattr(
        structure, "_walk", lambda names, opener: walks.append(names) or real(names, opener)
    )
    looks = group_sources([sound, endless])
    assert walks == [[str(sound), str(endless)], [str(sound)], [str(endless)]]
    assert [look.kind for (look,) in looks] == ["run file", "unread"]
    with open_run(looks[0]) as run:
        assert run.description.snapshots == 12
    with pytest.raises(KoopscopeError, match=r"endless\.h5 cannot be read.*comes to no end"):
        open_run(looks[1])
    assert len(walks) == 3  # nothing is walked again: that it has no end is known
