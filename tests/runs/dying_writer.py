"""A writer that is killed: run by ``test_crash.py``, which reads what it left behind.

For each line on stdin, a child appends snapshots to the file as fast as it can until it is killed
after that many seconds; then the last step it was told to be recorded is printed. Further
arguments are those of the recorder.
"""

import os
import signal
import sys
import time
import warnings
from pathlib import Path

import numpy as np

from koopscope.runs.detect.opening import open_run
from koopscope.runs.native.recorder import Recorder


def snapshot(step: int) -> dict[str, np.ndarray]:
    """Tensors of one and of several chunks, all of whose weights tell the step."""
    shapes = {"a.weight": (700, 500), "a.bias": (7,), "b.weight": (30, 40), "b.scale": ()}
    return {name: np.full(shape, step, np.float32) for name, shape in shapes.items()}


def append_for_ever(path: Path, told: int, **options: int) -> None:
    warnings.simplefilter("error")
    step = 0
    if path.exists():
        with open_run(path) as run:
            step = int(run.description.steps[-1]) + 1
    recorder = Recorder(path, **options)
    while True:
        recorder.snapshot(step, snapshot(step), loss=step, **({"late": step} if step > 9 else {}))
        os.write(told, step.to_bytes(8, "little"))
        step += 1


def killed_after(path: Path, seconds: float, **options: int) -> int:
    """Return the last step whose snapshot had returned when the writer was killed."""
    hears, tells = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(hears)
        append_for_ever(path, tells, **options)
    os.close(tells)
    first = os.read(hears, 8)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    steps = first
    while more := os.read(hears, 65536):
        steps += more
    return int.from_bytes(steps[-8:], "little")


if __name__ == "__main__":
    chosen = {}
    for word in sys.argv[2:]:  # sketch=16
        name, _, number = word.partition("=")
        chosen[name] = int(number)
    for line in sys.stdin:
        print(killed_after(Path(sys.argv[1]), float(line), **chosen), flush=True)
