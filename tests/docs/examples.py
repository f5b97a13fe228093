"""The console examples of README.md and docs/*.md: find them, run them, compare, write them anew.

A fenced block marked ``console`` with a command that starts with ``$ koopscope`` or ``$ python`` is
an example. Its commands run one after the other, and what they print must be what the page shows:

- All examples of a page share one scratch folder, which holds the sample runs the page names.
- stdout is a terminal of 80 columns without colour; stderr is shown after it.
- Numbers with decimals and percentages must agree to within one unit of their last printed digit,
  counts exactly; durations (``0.3 s``) and runs of spaces may differ. A line ``...`` stands for
  any number of lines.
- ``<!-- not run: REASON -->`` on the line before the block takes it out.
- A Python block after ``<!-- file: NAME -->`` lies in the folder under that name; ``python`` is the
  interpreter that runs the tests.
- ``...`` inside a line stands for the rest of it.

``python tests/docs/examples.py PAGE...`` runs the examples of these pages and puts their real
output in place of what is wrong.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
COLUMNS = 80

_BLOCK = re.compile(
    r"(?P<mark><!-- not run: (?P<reason>.*?) -->\n)?```console\n(?P<body>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
_FILE = re.compile(
    r"<!-- file: (?P<name>[\w.-]+) -->\n```\w+\n(?P<body>.*?)^```$", re.DOTALL | re.MULTILINE
)
_DURATION = re.compile(r"\b\d+(\.\d+)? s\b")
_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?%?")


@dataclass
class Step:
    """One command and the lines it is shown to print."""

    command: str
    shown: list[str]


@dataclass
class Example:
    """One block of a page."""

    page: Path
    line: int
    steps: list[Step]

    @property
    def name(self) -> str:
        return f"{self.page.relative_to(REPOSITORY)}:{self.line}"


def pages() -> list[Path]:
    return [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("**/*.md"))]


def examples(page: Path) -> list[Example]:
    """Return the blocks of a page that are to be run."""
    text = page.read_text(encoding="utf-8")
    found = []
    for block in _BLOCK.finditer(text):
        steps = _steps(block["body"])
        if block["mark"] is None and any(_is_ours(step) for step in steps):
            line = text.count("\n", 0, block.start("body")) + 1
            found.append(Example(page, line, steps))
    return found


def _is_ours(step: Step) -> bool:
    return step.command.split()[:1] in (["koopscope"], ["python"])


def _steps(body: str) -> list[Step]:
    steps: list[Step] = []
    for line in body.splitlines():
        if line.startswith("$ "):
            steps.append(Step(line[2:], []))
        elif steps and steps[-1].command.endswith("\\") and not steps[-1].shown:
            steps[-1].command += "\n" + line
        elif steps:
            steps[-1].shown.append(line)
    return steps


class Shell:
    """A folder with the sample runs a page names, and a ``koopscope`` that is this checkout."""

    def __init__(self, page: Path, folder: Path) -> None:
        self.folder, self._status = folder, 0
        text = page.read_text(encoding="utf-8")
        (folder / "sample_runs").mkdir()
        for run in sorted((REPOSITORY / "sample_runs").rglob("*.*")):
            place = folder / run.relative_to(REPOSITORY).parent
            if run.name in text and run.is_file():
                place.mkdir(parents=True, exist_ok=True)
                shutil.copy(run, place)
        for file in _FILE.finditer(text):
            (folder / file["name"]).write_text(file["body"], encoding="utf-8")
        self._programs = Path(tempfile.mkdtemp(dir=folder, prefix=".programs"))
        for name, arguments in (("koopscope", "-m koopscope"), ("python", "")):
            program = self._programs / name
            program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n')
            program.chmod(0o755)

    def run(self, command: str) -> list[str]:
        """Run a command and return the lines of its stdout, then those of its stderr."""
        environment = os.environ | {
            "PATH": f"{self._programs}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(REPOSITORY),
            "PYTHONUTF8": "1",
            "NO_COLOR": "1",
            "TERM": "dumb",
            "COLUMNS": str(COLUMNS),
        }
        ours, theirs = os.openpty()
        with tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(
                ["bash", "-c", f"(exit {self._status}); {command}"],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=theirs,
                stderr=errors,
            )
            os.close(theirs)
            output = b"".join(_chunks(ours))
            os.close(ours)
            self._status = process.wait()
            errors.seek(0)
            output += errors.read()
        return output.decode().replace("\r\n", "\n").splitlines()


def _chunks(descriptor: int) -> Iterator[bytes]:
    while True:
        try:
            chunk = os.read(descriptor, 65536)
        except OSError:  # what Linux says when the other side of a terminal has gone
            return
        if not chunk:
            return
        yield chunk


def difference(shown: list[str], printed: list[str]) -> str | None:
    """Return the first line in which a page and reality differ, or ``None``."""
    at = 0
    for k, line in enumerate(shown):
        if line.strip() == "...":
            rest = shown[k + 1 :]
            last = len(printed) - len([line for line in rest if line.strip() != "..."])
            ends = (j for j in range(at, last + 1) if difference(rest, printed[j:]) is None)
            return None if next(ends, None) is not None else f"nothing fits after: {shown[k - 1]}"
        if at >= len(printed):
            return f"shown but not printed: {line}"
        if not same_line(line, printed[at]):
            return f"shown:   {line}\nprinted: {printed[at]}"
        at += 1
    return f"printed but not shown: {printed[at]}" if at < len(printed) else None


def same_line(shown: str, printed: str) -> bool:
    """Whether two lines say the same, up to the last digit of each number."""
    if shown.endswith(" ..."):
        shown, printed = shown.removesuffix("..."), printed[: len(shown) - 3]
    shown, printed = (_DURATION.sub("some s", line) for line in (shown, printed))
    words = [_NUMBER.sub("0", " ".join(line.split())) for line in (shown, printed)]
    numbers = zip(_NUMBER.findall(shown), _NUMBER.findall(printed), strict=False)
    return words[0] == words[1] and all(_close(first, second) for first, second in numbers)


def _close(first: str, second: str) -> bool:
    return abs(_value(first) - _value(second)) <= 1.001 * max(_unit(first), _unit(second))


def _value(number: str) -> float:
    return float(number.replace(",", "").rstrip("%"))


def _unit(number: str) -> float:
    """Return one unit in the last printed place; counts have none to spare."""
    mantissa, _, exponent = number.rstrip("%").partition("e")
    _, point, decimals = mantissa.partition(".")
    if not point and not exponent:
        return float(number.endswith("%"))
    return float(10.0 ** (int(exponent or 0) - len(decimals)))


def rewritten(page: Path) -> str:
    """Return a page with the real output of its examples in place of what it shows."""
    text = page.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        shell = Shell(page, Path(folder))

        def anew(block: re.Match[str]) -> str:
            steps = _steps(block["body"])
            if block["mark"] is not None or not any(_is_ours(step) for step in steps):
                return block[0]
            for step in steps:
                printed = shell.run(step.command)
                if difference(step.shown, printed) is not None:
                    step.shown = printed
            parts = ["\n".join([f"$ {step.command}", *step.shown]) for step in steps]
            return "```console\n" + "\n".join(parts) + "\n```"

        return _BLOCK.sub(anew, text)


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        path = Path(argument).resolve()
        path.write_text(rewritten(path), encoding="utf-8")
