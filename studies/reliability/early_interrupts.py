"""Press Ctrl-C while the command starts, and count what the terminal shows.

Run by hand: ``python -m studies.reliability.early_interrupts [TIMES] [MILLISECONDS] [SEED]`` starts
``koopscope analyze`` on a sample run in a terminal of its own, sends Ctrl-C at a random moment of
the first so many milliseconds, and prints the table of ``docs/security.md``.

Until the first line of ``koopscope_command`` has run, Ctrl-C has the meaning that Python gives it,
a traceback: while Python itself starts, and while it looks for the package. Neither runs a line of
koopscope's.
"""

from __future__ import annotations

import os
import random
import re
import select
import shutil
import signal
import sys
import time
from collections import Counter
from pathlib import Path

RUN = Path(__file__).parents[2] / "sample_runs" / "cnn_adam.h5"

#: What the terminal may show, the best first.
QUIET, SAID, PYTHON, FINDING, OURS, LATE = (
    "nothing but the end",
    "error: interrupted",
    "a traceback from Python's own start",
    "a traceback from finding the package",
    "a traceback from koopscope's modules",
    "the result, since the command was ready before",
)

#: Seconds after which a command that was interrupted counts as hanging.
PATIENCE = 60.0


def interrupted(words: list[str], delay: float) -> tuple[int, str]:
    """Start a command in a terminal, press Ctrl-C after a while; return status and output."""
    started, starting = os.pipe()  # not inherited, so it closes when the command begins
    child, terminal = os.forkpty()
    if child == 0:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.execv(words[0], words)
    os.close(starting)
    os.read(started, 1)
    os.close(started)
    time.sleep(delay)
    os.write(terminal, b"\x03")
    shown = b""
    end = time.monotonic() + PATIENCE
    while (left := end - time.monotonic()) > 0 and select.select([terminal], [], [], left)[0]:
        try:
            got = os.read(terminal, 65536)
        except OSError:  # nobody has the terminal any more
            break
        if not got:
            break
        shown += got
    else:
        os.kill(child, signal.SIGKILL)
    os.close(terminal)
    return os.waitpid(child, 0)[1], shown.decode("utf-8", "replace")


def judged(status: int, shown: str) -> str:
    """Say what a user saw."""
    if "Traceback" in shown or "Fatal Python error" in shown or "KeyboardInterrupt" in shown:
        if re.search(r'File "[^"]*(koopscope[/\\](\w+[/\\])*\w+|koopscope_command)\.py"', shown):
            return OURS
        return FINDING if "from koopscope_command import main" in shown else PYTHON
    if "error: interrupted" in shown:
        return SAID
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGINT:
        return QUIET
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0:
        return LATE
    return f"another end ({status}): {shown[-200:]}"


def counts(times: int, milliseconds: float, seed: int = 0) -> Counter[str]:
    """Interrupt the installed command at random moments."""
    command = shutil.which("koopscope", path=os.path.dirname(sys.executable))
    if command is None:
        sys.exit("koopscope is not installed beside this Python")
    chance = random.Random(seed)
    found: Counter[str] = Counter()
    for _ in range(times):
        words = [command, "analyze", "--no-cache", str(RUN)]
        found[judged(*interrupted(words, chance.random() * milliseconds / 1000))] += 1
    return found


def main() -> None:
    """Print what was seen, and how often."""
    given = [float(word) for word in sys.argv[1:]]
    times, milliseconds, seed = (*given, *(40, 300, 0)[len(given) :])
    found = counts(int(times), milliseconds, int(seed))
    print(f"| Ctrl-C in the first {milliseconds:g} ms: the terminal shows | of {int(times)} |")
    print("|---|---:|")
    known = (QUIET, SAID, PYTHON, FINDING, OURS, LATE)
    for what in [*known, *sorted(set(found) - set(known))]:
        print(f"| {what} | {found[what]} |")


if __name__ == "__main__":
    main()
