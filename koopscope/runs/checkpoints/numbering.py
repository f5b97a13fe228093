"""Which training step a checkpoint stands for, read from file names.

Works on text alone; a name that can be read in two ways is refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from os.path import commonpath
from pathlib import PurePath

from koopscope.errors import KoopscopeError
from koopscope.runs.names import (
    Unit,
    counted_in_name,
    counter_of,
    is_role,
    never_a_step,
    tells_runs_apart,
)

_SUFFIXES = re.compile(
    r"(\.weights\.h5|\.weights\.json|\.keras|\.h5|\.hdf5|\.safetensors|\.npz|\.pt|\.pth|\.bin|\.ckpt)$",
    re.IGNORECASE,
)
#: A word, and the number after it with what is attached to it: 07.0.2718, 1e-3, 20k, 2BT.
_NUMBER = re.compile(
    r"(?P<word>[^\W\d_]*)[-_=.: ([]*?(?P<digits>[0-9]+(?:\.[0-9]+)*)(?P<exponent>e[-+]?[0-9]+)?"
    r"(?P<unit>(?:[kmbt]|bt)(?![^\W_]))?",
)
_WORD_AFTER = re.compile(r"[-_ ]?([^\W\d_]+)(?![-_=.: ]*[0-9])")
_DATE = re.compile(
    r"(?<![0-9])(19|20)[0-9]{2}([-_.]?)(0[1-9]|1[0-2])\2(0[1-9]|[12][0-9]|3[01])(?![0-9])"
)
_CHUNK = re.compile(r"[0-9a-z]{6,64}")

#: No training has taken more steps than this has digits.
_LONGEST = 18

_HOW_TO_SETTLE = (
    "give `koopscope convert` a pattern whose group is the step, for example "
    "--step-pattern 'epoch_(\\d+)'"
)


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Return a sorting key under which ``dense_2`` comes before ``dense_10``."""
    return tuple(
        (0, int(part), "") if part.isdecimal() else (1, 0, part)
        for part in re.split(r"(\d+)", name)
        if part
    )


def steps_from_names(
    paths: Sequence[str], pattern: str | None = None
) -> tuple[tuple[int, ...], Unit]:
    """Return the number in each name and what it counts.

    Parameters
    ----------
    paths
        Files or folders; only what differs between them, and its folder, is looked at.
    pattern
        A regular expression whose first group is the step, searched in each whole path.

    Raises
    ------
    KoopscopeError
        If a name has no number, or more than one could be the step.
    """
    if pattern is not None:
        return tuple(_matched(path, pattern) for path in paths), "step"
    numbered = [_numbers(label) for label in _labels(paths)]
    constant: tuple[tuple[int, ...], Unit] | None = None
    for unit in ("step", "epoch"):
        counted = [
            {number.value for number in numbers if number.counts == unit} for numbers in numbered
        ]
        if all(len(values) == 1 for values in counted):
            steps = tuple(values.pop() for values in counted)
            if len(set(steps)) > 1 or len(steps) == 1:
                return steps, unit
            constant = constant or (steps, unit)
    plain = [[number.value for number in numbers if number.may_count] for numbers in numbered]
    if len({len(numbers) for numbers in plain}) == 1:
        columns = list(zip(*plain, strict=True))
        varying = {column for column in columns if len(set(column)) > 1}
        if len(varying) == 1 or (len(columns) == 1 and constant is None):
            return (varying.pop() if varying else columns[0]), "step"
    if constant is not None:
        return constant
    for path, numbers in zip(paths, numbered, strict=True):
        if not any(number.counts or number.may_count for number in numbers):
            raise KoopscopeError(
                f"the step of {path} is not known: its name has no number that counts steps",
                _HOW_TO_SETTLE,
            )
    possible = [[n.value for n in numbers if n.counts or n.may_count] for numbers in numbered]
    path, several = max(zip(paths, possible, strict=True), key=lambda pair: len(pair[1]))
    listed = ", ".join(map(str, several))
    raise KoopscopeError(
        f"the step of {path} is ambiguous: its name holds {listed}", _HOW_TO_SETTLE
    )


def has_role_for_number(path: str) -> bool:
    """Return whether a checkpoint is called ``last`` or ``best`` and has no number of its own."""
    name = _SUFFIXES.sub("", PurePath(path).name).lower()
    counted = any(number.counts or number.may_count for number in _numbers(name))
    return not counted and any(is_role(word) for word in re.split(r"[\W\d_]+", name))


def must_be_one_run(paths: Sequence[str]) -> None:
    """Refuse checkpoints that their names assign to several stages, seeds or folds.

    Raises
    ------
    KoopscopeError
        If there are several.
    """
    members: dict[str, list[str]] = {}
    for path, label in zip(paths, _labels(paths), strict=True):
        parts = [f"{n.word}{n.value}" for n in _numbers(label) if tells_runs_apart(n.word)]
        members.setdefault("-".join(parts), []).append(path)
    if len(members) < 2:
        return
    listed = ", ".join(f"{name or 'the others'} ({len(found)})" for name, found in members.items())
    first = next(found[0] for name, found in members.items() if name)
    raise KoopscopeError(
        f"the names tell of {len(members)} runs, which are not joined: {listed}",
        f"name the checkpoints of one, such as all that begin like {first}",
    )


def _matched(path: str, pattern: str) -> int:
    try:
        match = re.search(pattern, path)
    except re.error as error:
        raise KoopscopeError(
            f"{pattern!r} is not a regular expression: {error}", _HOW_TO_SETTLE
        ) from None
    try:
        if match is not None:
            return int(match[1])
    except (IndexError, TypeError, ValueError):
        pass
    raise KoopscopeError(f"the pattern {pattern!r} finds no whole number in {path}", _HOW_TO_SETTLE)


def _labels(paths: Sequence[str]) -> list[str]:
    """Return what tells the paths apart: the part below their common folder, without suffix."""
    try:
        shared = len(PurePath(commonpath(paths)).parts) if len(paths) > 1 else -1
    except ValueError:
        shared = 0
    labels = []
    for path in paths:
        parts = PurePath(path).parts
        labels.append("/".join(parts[shared:] if shared >= 0 else parts[-1:]))
    return [_SUFFIXES.sub("", label) for label in labels]


@dataclass(frozen=True)
class _Number:
    """A number in a name.

    Attributes
    ----------
    word
        The letters before it, in lower case.
    value
        Whole; of a measurement, its whole part.
    counts
        What it counts, where its word says so.
    may_count
        Whether it can be a step where no word says so: whole, no version, loss, date or size.
    """

    word: str
    value: int
    counts: Unit | None = None
    may_count: bool = False


def _numbers(label: str) -> list[_Number]:
    """Return the numbers of a name, in order, and what each can stand for."""
    text = _CHUNK.sub(lambda match: "" if _is_hash(match[0]) else match[0], label.lower())
    text = _DATE.sub(_unless_it_counts, text)
    numbers: list[_Number] = []
    for match in _NUMBER.finditer(text):
        word, unit = match["word"], match["unit"] or ""
        counts = counted_in_name(word)
        after = _WORD_AFTER.match(text, match.end())
        if counts is None and after and not never_a_step(word):
            counts = counter_of(after[1])
        parts = _dotted(match["digits"])
        for index, part in enumerate(parts):
            exponent = (match["exponent"] or "") if index == len(parts) - 1 else ""
            value = _whole(part + exponent, unit if index == len(parts) - 1 else "")
            said = counts if index == 0 else None
            if value is None or len(str(value)) > _LONGEST:
                numbers.append(_Number(word, 0))
            elif said is not None:
                numbers.append(_Number(word, value, counts=said))
            else:
                plain = not exponent and "." not in part and unit in ("", "k")
                numbers.append(_Number(word, value, may_count=plain and not never_a_step(word)))
    return numbers


def _unless_it_counts(date: re.Match[str]) -> str:
    """Return nothing in place of a date, and 20261126 in ``step_20261126`` as it is."""
    before = re.search(r"([^\W\d_]*)[-_=.: ]*$", date.string[: date.start()])
    return date[0] if before and counted_in_name(before[1]) else ""


def _dotted(digits: str) -> list[str]:
    """Split ``07.0.2718`` into 07 and 0.2718: an odd one out comes first, 07.5 are two numbers."""
    parts = digits.split(".")
    numbers = []
    if len(parts) % 2:
        numbers.append(parts.pop(0))
    while parts:
        first = parts.pop(0)
        if len(first) > 1 and first.startswith("0"):
            numbers.append(first)
        else:
            numbers.append(f"{first}.{parts.pop(0)}" if parts else first)
    return numbers


def _whole(text: str, unit: str) -> int | None:
    """Return the whole number that is written, ``None`` if it is none: 20k is 20,000."""
    factor = {"": 1, "k": 1000, "m": 1000000}.get(unit)
    if factor is None:
        return None
    if text.isdecimal():
        return int(text) * factor if len(text) <= 2 * _LONGEST else None
    value = float(text) * factor
    return int(value) if value < 10.0**_LONGEST and value == int(value) else None


def _is_hash(chunk: str) -> bool:
    """Return whether letters and digits alternate as in a commit's name."""
    changes = len(re.findall(r"[0-9][a-z]|[a-z][0-9]", chunk))
    return changes >= 3 and re.fullmatch(r"[0-9a-f]+", chunk) is not None
