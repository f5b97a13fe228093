"""Injects faults while koopscope writes, and counts what was lost: seeded, small or large.

Run by hand: ``python -m studies.reliability.faults [ROUNDS] [SEED]`` prints the table of
``docs/reliability.md``; 300 rounds of kills and interrupts are the large version. The tests run a
few rounds of each fault.

A fault befalls a forked child that has everything imported, so that a round takes milliseconds. The
child tells over a pipe which snapshots were acknowledged; the parent then reads what is on disk.
"""

from __future__ import annotations

import os
import random
import resource
import signal
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np

from koopscope.cli import interruption
from koopscope.cli.main import _done
from koopscope.integrations import Tracker
from koopscope.runs.detect.opening import open_run
from koopscope.runs.hdf5 import structure
from koopscope.runs.native.recorder import Recorder

SHAPES = {"a.weight": (60, 50), "a.bias": (7,), "b.weight": (30, 40), "b.scale": ()}
SNAPSHOTS_CONVERTED = 12

#: Seconds until a signal counts as swallowed, and another is sent.
PATIENCE = 4.0


def weights(step: int) -> dict[str, np.ndarray]:
    """Tensors all of whose weights tell the step."""
    return {name: np.full(shape, step, np.float32) for name, shape in SHAPES.items()}


def steps_of(path: Path) -> list[int]:
    """Return the steps of a run, every weight of which must tell its own."""
    with open_run(path) as run:
        steps = run.description.steps
        for block in run.blocks():
            if (block.values != steps[:, None].astype(block.values.dtype)).any():
                raise AssertionError(f"{block.tensor.name} holds numbers that were never recorded")
        return [int(step) for step in steps]


def recording(folder: Path, tell: Callable[[int], None], start: int) -> None:
    """Record by a plain recorder, going on where the file ends."""
    with Recorder(folder / "run.h5") as recorder:
        for now in range(start, start + 100_000):
            if recorder.snapshot(now, weights(now), loss=now):
                tell(now)


def tracking(folder: Path, tell: Callable[[int], None], start: int) -> None:
    """Record by the tracker that all callbacks share."""
    with Tracker(folder / "run.h5", every_n_steps=1, write_every_seconds=0) as tracker:
        for now in range(start, start + 100_000):
            if tracker.after_step(now, weights(now), loss=now):
                tell(now)


def commanding(*words: str) -> Callable[[Path, Callable[[int], None], int], None]:
    """Give what does a command again and again, in a process such as the command's own."""

    def work(folder: Path, tell: Callable[[int], None], start: int) -> None:
        structure.contained(lambda name: None)
        interruption.listen()
        while True:
            code = command(folder, words)
            if code:
                os._exit(code)

    return work


def command(folder: Path, words: Sequence[str]) -> int:
    """Do a command in this process and return its exit code; what it says goes nowhere."""
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        return _done([word.format(folder) for word in words])


CONVERT = ("-q", "convert", "{}/saved", "-o", "{}/out.h5", "--force")
WATCH = ("-q", "watch", "{}/given.h5", "--once")
PRUNE = ("-q", "prune", "{}/given.h5", "--criterion", "magnitude", "--sparsity", "0.5",
         "-o", "{}/masks.npz", "--force")  # fmt: skip

SUBJECTS = {
    "recorder": recording,
    "callbacks": tracking,
    "convert": commanding(*CONVERT),
    "watch": commanding(*WATCH),
    "prune": commanding(*PRUNE),
}


def prepared(folder: Path) -> None:
    """Lay out what the subjects read."""
    (folder / "saved").mkdir()
    for step in range(SNAPSHOTS_CONVERTED):
        np.savez(folder / "saved" / f"step_{step}.npz", **weights(step))
    with Recorder(folder / "given.h5") as recorder:
        for step in range(SNAPSHOTS_CONVERTED):
            recorder.snapshot(step, weights(step), loss=1.0)
    for words in (CONVERT, WATCH, PRUNE):  # so that children have everything imported
        assert command(folder, words) == 0


@contextmanager
def child(
    work: Callable[[Callable[[int], None]], None],
) -> Iterator[tuple[int, Callable[[], list]]]:
    """Fork a child that works; yield its pid, and what tells the steps it was told are written."""
    hears, tells = os.pipe()
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        os.close(hears)
        code = 1
        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            warnings.simplefilter("ignore")
            os.write(tells, b"go......")
            work(lambda step: os.write(tells, step.to_bytes(8, "little")))
            code = 3
        except KeyboardInterrupt:
            code = 130
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(tells)
    os.read(hears, 8)

    def told() -> list[int]:
        content = b""
        while more := os.read(hears, 65536):
            content += more
        return [int.from_bytes(content[k : k + 8], "little") for k in range(0, len(content), 8)]

    try:
        yield pid, told
    finally:
        os.close(hears)


def struck(folder: Path, subject: str, signal_number: int, seconds: float) -> str:
    """Let a signal strike a subject; return what is wrong afterwards, or nothing."""
    work, path = SUBJECTS[subject], folder / "run.h5"
    start = steps_of(path)[-1] + 1 if path.exists() else 1
    with child(lambda tell: work(folder, tell, start)) as (pid, told):
        time.sleep(seconds)
        os.kill(pid, signal_number)
        status, sent = 0, 1
        deadline = time.monotonic() + PATIENCE
        while True:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                break
            if time.monotonic() > deadline:
                os.kill(pid, signal_number)
                sent += 1
                deadline = time.monotonic() + PATIENCE
            time.sleep(0.002)
        if sent > 1:
            return f"it took {sent} signals"
        expected = 130 if signal_number == signal.SIGINT else -signal_number
        if os.waitstatus_to_exitcode(status) != expected:
            return f"it ended with {os.waitstatus_to_exitcode(status)}"
        acknowledged = told()
    return wrong_in(folder, acknowledged, interrupted=signal_number == signal.SIGINT)


def wrong_in(folder: Path, acknowledged: list[int], *, interrupted: bool) -> str:
    """Return what is wrong with the files of a folder, or nothing."""
    run, out, masks = folder / "run.h5", folder / "out.h5", folder / "masks.npz"
    if acknowledged:
        steps = steps_of(run)
        if set(acknowledged) - set(steps):
            return f"lost: {sorted(set(acknowledged) - set(steps))[:5]}"
        if steps != list(range(steps[0], steps[0] + len(steps))):
            return "steps are missing in between"
    if out.exists() and steps_of(out) != list(range(SNAPSHOTS_CONVERTED)):
        return "half a conversion stands under its name"
    if masks.exists():
        with np.load(masks) as archive:
            shapes = {key: archive[key].shape for key in archive.files if key in SHAPES}
        if not shapes or any(SHAPES[key] != shape for key, shape in shapes.items()):
            return "half a file of masks"
    if steps_of(folder / "given.h5") != list(range(SNAPSHOTS_CONVERTED)):
        return "what was only read has changed"
    left = [name for name in os.listdir(folder) if name.endswith(".tmp")]
    if interrupted and left:
        return f"left behind: {left}"
    return ""


def signals(rounds: int, chance: random.Random, number: int) -> Iterator[tuple[str, str]]:
    """Yield (subject, what went wrong) of a signal at random moments, subjects in turn."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepared(folder)
        for count in range(rounds):
            subject = list(SUBJECTS)[count % len(SUBJECTS)]
            yield subject, struck(folder, subject, number, chance.uniform(0.0, 0.12))
            for each in (folder / "run.h5", folder / "run-2.h5"):
                if each.exists() and each.stat().st_size > 3_000_000:
                    each.unlink()


def kills(rounds: int, chance: random.Random) -> Iterator[tuple[str, str]]:
    """Kill each subject in turn."""
    yield from signals(rounds, chance, signal.SIGKILL)


def interrupts(rounds: int, chance: random.Random) -> Iterator[tuple[str, str]]:
    """Interrupt each subject in turn."""
    yield from signals(rounds, chance, signal.SIGINT)


def full_disks(rounds: int, chance: random.Random) -> Iterator[tuple[str, str]]:
    """Let no file grow beyond a random size while a recorder writes, then let it."""
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            path = Path(name) / "run.h5"
            limits = resource.getrlimit(resource.RLIMIT_FSIZE)
            kept = []
            with Recorder(path) as recorder:
                resource.setrlimit(resource.RLIMIT_FSIZE, (chance.randrange(200_000), limits[1]))
                try:
                    kept += [s for s in range(8) if recorder.snapshot(s, weights(s), loss=s)]
                finally:
                    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
                kept += [s for s in range(8, 10) if recorder.snapshot(s, weights(s), loss=s)]
            found = steps_of(path)
            yield "recorder", "" if found == kept and {8, 9} <= set(kept) else f"{kept}: {found}"


def harmed_files(rounds: int, chance: random.Random) -> Iterator[tuple[str, str]]:
    """Cut, empty, replace or remove the file, or put a link in its place, while it is recorded."""
    for count in range(rounds):
        with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            path, precious = Path(name) / "run.h5", Path(name) / "precious"
            precious.write_text("kept")
            before, after = chance.randrange(1, 5), chance.randrange(1, 5)
            recorder = Recorder(path)
            wrong = ""
            for step in range(before + after):
                if step == before:
                    harm(path, precious, count % 5, chance)
                if not recorder.snapshot(step, weights(step), loss=step):
                    wrong = f"step {step} was not recorded"
            recorder.close()
            if steps_of(recorder.path)[-after:] != list(range(before, before + after)):
                wrong = "what came after is not in the file that the recorder names"
            if precious.read_text() != "kept":
                wrong = "a link was followed and what it points at was changed"
            yield "recorder", wrong


def harm(path: Path, precious: Path, kind: int, chance: random.Random) -> None:
    """Do one of five things to a file."""
    if kind == 0:
        os.truncate(path, chance.randrange(path.stat().st_size))
        return
    if kind == 1:
        path.write_bytes(bytes(chance.randrange(2000)))
        return
    path.unlink()
    if kind == 2:
        np.savez(path.with_name("x.npz"), a=np.zeros(9))
        os.replace(path.with_name("x.npz"), path)
    if kind == 3:
        path.symlink_to(precious)


def writers(rounds: int, chance: random.Random) -> Iterator[tuple[str, str]]:
    """Let two to eight processes begin one file at once, and as many threads."""
    for count in range(rounds):
        with tempfile.TemporaryDirectory() as name:
            path, number = Path(name) / "run.h5", chance.randrange(2, 9)
            acknowledged = in_threads(path, number) if count % 2 else in_processes(path, number)
            steps = steps_of(path)
            lost = sorted(set(acknowledged) - set(steps))
            others = sorted(set(os.listdir(name)) - {"run.h5"})
            yield f"{number} at once", f"lost {lost}, left {others}" if lost or others else ""


def in_processes(path: Path, number: int) -> list[int]:
    """Return the steps acknowledged to writers in processes of their own."""
    go, gone = os.pipe()

    recorders = [Recorder(path) for _ in range(number)]

    def write(rank: int, tell: Callable[[int], None]) -> None:
        recorder = recorders[rank]
        os.read(go, 1)
        for step in range(rank, 5 * number, number):
            if recorder.snapshot(step, weights(step)):
                tell(step)
        recorder.close()

    acknowledged: list[int] = []
    running = []
    for rank in range(number):
        context = child(lambda tell, rank=rank: write(rank, tell))
        running.append((context, context.__enter__()))
    os.write(gone, b"x" * number)
    for context, (pid, told) in running:
        acknowledged += told()
        os.waitpid(pid, 0)
        context.__exit__(None, None, None)
    os.close(go)
    os.close(gone)
    return acknowledged


def in_threads(path: Path, number: int) -> list[int]:
    """Return the steps acknowledged to writers in threads."""
    ready, acknowledged = threading.Barrier(number), []

    def write(rank: int) -> None:
        recorder = Recorder(path)
        ready.wait()
        if recorder.snapshot(rank, weights(rank)):
            acknowledged.append(rank)
        ready.wait()
        recorder.close()

    threads = [threading.Thread(target=write, args=(rank,)) for rank in range(number)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    return acknowledged


def forks(rounds: int, chance: random.Random) -> Iterator[tuple[str, str]]:
    """Fork while snapshots are kept back: only the parent may write them, and once."""
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as name:
            path = Path(name) / "run.h5"
            count, at = 8, chance.randrange(1, 8)
            tracker = Tracker(path, every_n_steps=1, write_every_seconds=1000)
            for step in range(1, count + 1):
                tracker.after_step(step, weights(step))
                if step == at:
                    pid = os.fork()
                    if pid == 0:
                        tracker.close()
                        del tracker
                        os._exit(0)
                    os.waitpid(pid, 0)
                    if len(steps_of(path)) != 1:
                        yield "callbacks", "the child wrote what its parent kept back"
                        break
            else:
                tracker.close()
                whole = steps_of(path) == list(range(1, count + 1))
                yield "callbacks", "" if whole else "steps are lost or twice"


def locks(rounds: int, chance: random.Random) -> Iterator[tuple[str, str]]:
    """Let a reader hold HDF5's lock while a recorder writes."""
    import fcntl

    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as name:
            path = Path(name) / "run.h5"
            with Recorder(path) as recorder:
                recorder.snapshot(0, weights(0))
                with path.open("rb") as reader:
                    fcntl.flock(reader, fcntl.LOCK_SH)
                    steps = range(1, chance.randrange(3, 6))
                    for step in steps:
                        recorder.snapshot(step, weights(step))
            yield "recorder", "" if steps_of(path) == [0, *steps] else "a snapshot was not recorded"


FAULTS = {
    "killed": kills,
    "interrupted": interrupts,
    "disk full": full_disks,
    "file cut, emptied, replaced, removed, or a link": harmed_files,
    "several writers": writers,
    "forked": forks,
    "locked by a reader": locks,
}


def tally(fault: str, rounds: int, seed: int) -> tuple[int, list[str]]:
    """Return how many rounds of a fault were tried, and what went wrong in which."""
    failures, tried = [], 0
    for subject, wrong in FAULTS[fault](rounds, random.Random(f"{fault} {seed}")):
        tried += 1
        if wrong:
            failures.append(f"{subject}: {wrong}")
    return tried, failures


def main() -> None:
    """Print a table of all faults."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    print("| fault | tried | failed |\n|---|---|---|")
    for fault in FAULTS:
        count = rounds if fault in ("killed", "interrupted") else max(1, rounds // 5)
        tried, failures = tally(fault, count, seed)
        print(f"| {fault} | {tried} | {len(failures)} |", flush=True)
        for failure in failures:
            print(failure, file=sys.stderr)


if __name__ == "__main__":
    main()
