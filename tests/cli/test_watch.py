"""The live panel in a real pseudo-terminal, over writers that are slow, late, or killed."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import koopscope
from koopscope.report.text.terminal_style import Page
from koopscope.report.watch_frame import Watched, render
from koopscope.runs.detect.opening import open_run

SAMPLES = Path(__file__).parents[2] / "sample_runs"

WRITER = """
import sys, time
import numpy as np
from koopscope.runs.native.recorder import Recorder
rng = np.random.default_rng(0)
start, away = rng.normal(size=(2, 30, 20))
recorder = Recorder(sys.argv[1])
for step in range(1, int(sys.argv[2]) + 1):
    noise = 1e-3 * rng.normal(size=start.shape)
    recorder.snapshot(step, {"fc.weight": start + 0.98 ** step * away + noise}, loss=0.98 ** step)
    time.sleep(float(sys.argv[3]))
"""


def environment():
    return {**os.environ, "PYTHONPATH": os.getcwd(), "TERM": "xterm", "COLUMNS": "90"}


def writer(path, snapshots, pause):
    arguments = [sys.executable, "-c", WRITER, str(path), str(snapshots), str(pause)]
    return subprocess.Popen(arguments, env=environment())


class Terminal:
    """The command in a pseudo-terminal, and everything it has drawn."""

    def __init__(self, *arguments):
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "koopscope", "watch", *map(str, arguments)],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**environment(), "LINES": "50"},
            start_new_session=True,
            # A program started in the background of a shell would not hear Ctrl-C.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        os.close(slave)
        self.drawn = ""

    def read(self, seconds):
        deadline = time.monotonic() + seconds
        while select.select([self.master], [], [], seconds)[0]:
            try:
                part = os.read(self.master, 65536)
            except OSError:
                return
            if not part:
                return
            self.drawn += part.decode(errors="replace")
            if time.monotonic() > deadline:
                return

    def until(self, pattern, seconds=60.0):
        deadline = time.monotonic() + seconds
        while not re.search(pattern, self.text):
            assert time.monotonic() < deadline, f"no {pattern!r} in {self.text[-3000:]}"
            self.read(0.1)

    @property
    def text(self):
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.drawn)

    def end(self, seconds=60.0):
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < deadline
            self.read(0.1)
        self.read(0.0)
        os.close(self.master)
        return self.process.returncode


def test_300_snapshots_are_followed_from_a_file_that_does_not_exist_to_a_killed_writer(tmp_path):
    path = tmp_path / "run.h5"
    terminal = Terminal(path, "--interval", "0.2", "--idle", "7")
    terminal.until("waiting")
    recording = writer(path, 400, 0.02)
    terminal.until(r"\d+ snapshots, step \d+; 600 weights.*recording")
    terminal.until(r"(?s)convergence .* now .*Findings")
    while recording.poll() is None:
        with open_run(path) as run:
            if run.description.snapshots >= 300:
                break
        terminal.read(0.05)
    recording.send_signal(signal.SIGKILL)
    recording.wait()
    with open_run(path) as run:
        last = run.description.snapshots
    assert last >= 300
    terminal.until(rf"{last} snapshots, step {last};")
    terminal.until("nothing new for .* training is paused, has\\s+ended, or was killed")
    assert terminal.end() == 0
    counts = [int(count) for count in re.findall(r"(\d+) snapshots, step", terminal.text)]
    assert counts == sorted(counts)
    assert len(set(counts)) > 3
    assert "Traceback" not in terminal.text


def test_ctrl_c_is_a_way_to_leave(tmp_path):
    terminal = Terminal(tmp_path / "run.h5", "--interval", "0.1")
    terminal.until("waiting")
    os.kill(terminal.process.pid, signal.SIGINT)
    assert terminal.end() == 0
    assert "Stopped watching" in terminal.text


def run_once(path, *options):
    return subprocess.run(
        [sys.executable, "-m", "koopscope", "watch", str(path), *options],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )


def test_once_prints_one_frame(tmp_path):
    path = tmp_path / "run.h5"
    assert writer(path, 30, 0).wait() == 0
    done = run_once(path, "--once")
    assert done.returncode == 0
    assert "30 snapshots, step 30; 600 weights" in done.stdout
    assert "Findings" in done.stdout
    assert "convergence" in done.stdout
    assert "\ndo: " in done.stdout
    assert "record more" not in done.stdout
    assert "\x1b" not in done.stdout
    assert done.stderr == ""


def test_once_over_nothing_is_an_error(tmp_path):
    done = run_once(tmp_path / "run.h5", "--once")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "run.h5 cannot be watched yet" in done.stderr


def test_a_pipe_gets_a_line_per_look(tmp_path):
    path = tmp_path / "run.h5"
    assert writer(path, 5, 0).wait() == 0
    done = run_once(path, "--interval", "0.1", "--idle", "0.5")
    assert done.returncode == 0
    assert done.stdout.splitlines() == ["5 snapshots, step 5; 600 weights; recording"]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_watching_takes_no_lock(tmp_path):
    path = tmp_path / "run.h5"
    assert writer(path, 20, 0).wait() == 0
    watching = Terminal(path, "--interval", "0.05")
    watching.until("20 snapshots")
    locks = Path("/proc/locks").read_text()
    assert f":{path.stat().st_ino} " not in locks
    assert writer(tmp_path / "other.h5", 1, 0).wait() == 0
    os.kill(watching.process.pid, signal.SIGINT)
    assert watching.end() == 0


def test_a_frame_that_does_not_fit_says_how_many_findings_are_missing():
    diagnosis = koopscope.analyze(SAMPLES / "diverging.h5")
    page = Page(width=80)
    whole = render(Watched("run.h5", diagnosis), page).split("\n")
    for height in range(6, len(whole) + 2):
        frame = render(Watched("run.h5", diagnosis), page, height).split("\n")
        assert len(frame) <= height
        shown = [f.id for f in diagnosis.findings if any(f" {f.id} " in line for line in frame)]
        missing = len(diagnosis.findings) - len(shown)
        assert (f"{missing} finding" in frame[-1]) == (missing > 0), height
    assert frame == whole
