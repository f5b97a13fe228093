"""Try mutants: ``python -m studies.fuzzing.campaign --mutants 10000 --seed 0``.

Everything is loaded once; each mutant is read by a fork of this process, which works like the
command's own child (``koopscope.cli.containment``): with limits on reading the structure, so that a
hang or a crash that the command turns into a sentence counts as contained. With ``--output`` the
counts are written every hundred mutants, and the same command goes on after the last of them.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import koopscope
from studies.fuzzing.mutations import mutate
from studies.fuzzing.seeds import Seed, seeds

#: What no mutant may cost: seconds of processor time, and bytes.
SECONDS = 10.0
BYTES = 500 * 2**20


#: Modules that load frameworks, and those that draw.
UNNEEDED = ("koopscope.__main__", "koopscope.integrations", "koopscope.sobolev",
            "koopscope.report.figures", "koopscope.report.pictures")  # fmt: skip

#: Caches are of files by their time of change, so every file gets the same.
TIME_OF_CHANGE = (10**9, 10**9)


@dataclass(frozen=True)
class Outcome:
    """How one command took one mutant: ``kind`` is one of ``KINDS``."""

    kind: str
    what: str
    seconds: float
    bytes: int


#: Right, refused in a sentence, or stopped by the limits; and what must not happen.
KINDS = ("answered", "refused", "contained hang", "contained crash",
         "hang", "signal", "traceback", "memory", "no sentence", "control")  # fmt: skip
FAULTS = KINDS[4:]

#: By the kind of file, and by verb.
Counts = dict[str, dict[str, Counter[str]]]

#: Mutants after which the counts are written.
AT_ONCE = 100


def load() -> None:
    """Import what the verbs import, so that a fork starts at once.

    What no verb needs for a report without pictures is left out: a large process forks slowly.
    """
    global LOADED
    before = _resident()
    for module in walk_packages(koopscope.__path__, "koopscope."):
        if not module.name.startswith(UNNEEDED):
            import_module(module.name)
    LOADED = max(LOADED, _resident() - before)
    with_small_caches()
    gc.collect()
    gc.freeze()


def with_small_caches() -> None:
    """Let this process keep and use caches of runs of any size."""
    from koopscope.engine import cache

    cache.LEAST_BYTES, cache.LARGEST_PART = 0, float("inf")


def _resident() -> int:
    """Return the bytes of memory this process holds."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


#: What the loading of koopscope takes, as ``load`` measured it.
LOADED = 0


def tried(words: list[str], folder: Path) -> Outcome:
    """Run a command in a fork and tell how it went."""
    output = folder / "output"
    # A fork has what this process holds beside koopscope, frameworks of other tests too, and needs
    # none of it.
    beside = _resident() - LOADED
    child = os.fork()
    if child == 0:
        _work(words, output)
    _, status, usage = os.wait4(child, 0)
    seconds, size = usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 - beside
    said = output.read_bytes()
    kind, what = _judged(status, seconds, size, said)
    return Outcome(kind, what, seconds, size)


def _work(words: list[str], output: Path) -> None:
    code = 99
    try:
        gc.disable()
        stream = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(stream, 1)
        os.dup2(stream, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (int(2 * SECONDS), int(2 * SECONDS) + 1))
        from koopscope.cli import console, main
        from koopscope.runs.hdf5 import structure

        structure.contained(lambda name: None)
        console.set_up()
        code = main._done(words)
        sys.stderr.flush()
    finally:
        os._exit(code)


def _judged(status: int, seconds: float, size: int, said: bytes) -> tuple[str, str]:
    from koopscope.runs.hdf5 import structure

    text = said.decode("utf-8", "replace")
    first = next((line for line in text.splitlines() if line.startswith("error:")), "")
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number == structure.OUT_OF_TIME:
            return ("contained hang" if seconds <= SECONDS else "hang"), f"{seconds:.1f} s"
        if number in structure.CRASHES:
            return "contained crash", signal.Signals(number).name
        return ("hang" if number == signal.SIGXCPU else "signal"), signal.Signals(number).name
    if "Traceback (most recent call last)" in text or "fault of koopscope" in text:
        return "traceback", first or text[-300:]
    if size > BYTES:
        return "memory", f"{size / 2**20:.0f} MiB"
    if seconds > SECONDS:
        return "hang", f"{seconds:.1f} s"
    if re.search(rb"[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]", said):
        return "control", first
    if os.WEXITSTATUS(status) == 2:
        return ("refused", first) if first else ("no sentence", text[-200:])
    return "answered", ""


def campaign(mutants: int, seed: int, folder: Path, keep: Path | None = None,
             seconds: float = float("inf"), output: Path | None = None) -> Counts:  # fmt: skip
    """Try mutants of all seeds in turn, each with one command; return counts by seed and verb.

    What ``output`` counts already is not tried again.
    """
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    sources = seeds(folder)
    counts = _counted(output)
    began = time.monotonic()
    for number in range(tried_of(counts), mutants):
        if time.monotonic() - began > seconds:
            break
        if output is not None and number % AT_ONCE == 0:
            _write(counts, output)
        source = sources[number % len(sources)]
        chance = random.Random(f"{seed}:{number}")
        words, place = _laid_out(source, chance, folder)
        outcome = tried(words, folder)
        verb = words[0]
        count = counts.setdefault(source.name, {}).setdefault(verb, Counter())
        count[outcome.kind] += 1
        count["milliseconds"] = max(count["milliseconds"], round(1000 * outcome.seconds))
        count["mebibytes"] = max(count["mebibytes"], round(outcome.bytes / 2**20))
        if outcome.kind in FAULTS:
            print(f"{seed}:{number} {source.name}: {' '.join(words)}: {outcome.kind}: "
                  f"{outcome.what}", flush=True)  # fmt: skip
            if keep is not None:
                shutil.copytree(place, keep / f"{seed}-{number}", dirs_exist_ok=True)
    if output is not None:
        _write(counts, output)
    return counts


def tried_of(counts: Counts) -> int:
    """Return how many mutants the counts are of."""
    return sum(count[kind] for verbs in counts.values() for count in verbs.values()
               for kind in KINDS)  # fmt: skip


def _counted(output: Path | None) -> Counts:
    if output is None or not output.exists():
        return {}
    return {name: {verb: Counter(count) for verb, count in verbs.items()}
            for name, verbs in json.loads(output.read_text()).items()}  # fmt: skip


def _write(counts: Counts, output: Path) -> None:
    draft = output.with_suffix(".part")
    draft.write_text(json.dumps(counts, indent=1) + "\n")
    draft.replace(output)


def _laid_out(source: Seed, chance: random.Random, folder: Path) -> tuple[list[str], Path]:
    place, out = folder / "in", folder / "out"
    for each in (place, out):
        shutil.rmtree(each, ignore_errors=True)
        each.mkdir()
    for name, content in source.files.items():
        path = place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        damaged = mutate(content, chance, source.is_text) if name == source.damaged else content
        if name == source.damaged and source.wrap is not None:
            damaged = source.wrap(damaged)
        path.write_bytes(damaged)
        os.utime(path, TIME_OF_CHANGE)
    run = place / next(iter(source.files)).split("/")[0]
    command = chance.choice(source.commands)
    named = {"in": run, "out": out, "damaged": place / source.damaged}
    return ["-q", *(word.format(**named) for word in command.split())][1:], place


def table(counts: Counts) -> str:
    """Return the counts as a Markdown table, a row for each kind of file."""
    heads = ("damaged", "tried", *KINDS[:4], "faults", "longest, s", "most, MiB")
    lines = [f"| {' | '.join(heads)} |", "|---|" + 8 * "---:|"]
    whole: Counter[str] = Counter()
    for name, verbs in counts.items():
        total = sum(verbs.values(), Counter[str]())
        for most in ("milliseconds", "mebibytes"):
            total[most] = max(count[most] for count in verbs.values())
        lines.append(_row(name, total))
        for kind, value in total.items():
            is_most = kind in ("milliseconds", "mebibytes")
            whole[kind] = max(whole[kind], value) if is_most else whole[kind] + value
    return "\n".join([*lines, _row("all", whole)]) + "\n"


def _row(name: str, total: Counter[str]) -> str:
    cells = [sum(total[kind] for kind in KINDS), *(total[kind] for kind in KINDS[:4])]
    cells.append(sum(total[kind] for kind in FAULTS))
    texts = [*map(str, cells), f"{total['milliseconds'] / 1000:.1f}", str(total["mebibytes"])]
    return f"| {name} | " + " | ".join(texts) + " |"


def main() -> None:
    """Run a campaign by hand."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutants", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--keep", type=Path, help="folder for the mutants that were faults")
    parser.add_argument(
        "--output", type=Path, help="counts, as JSON; what it counts already is not tried again"
    )
    given = parser.parse_args()
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    load()
    # Each mutant is a folder of files: they lie in memory, where there is such a place.
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        counts = campaign(given.mutants, given.seed, Path(folder), given.keep, given.seconds,
                          given.output)  # fmt: skip
    print(table(counts))


if __name__ == "__main__":
    main()
