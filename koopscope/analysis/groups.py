"""Several networks in one run: which tensors are whose, and the analysis of one of them.

They are told by the user, or by pairs of names that go together: generator and discriminator, actor
and critic, teacher and student, a model and its moving average. Judges nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from koopscope.analysis.analysis import Analysis
from koopscope.analysis.metric_choice import parsed_choice
from koopscope.analysis.settings import NO_GROUPS, asked_groups
from koopscope.errors import KoopscopeError
from koopscope.runs.names import TRAINING_LOSSES, VALIDATION_LOSSES, plain_names
from koopscope.spectra.gram import SnapshotGram

_COPY = r"(_?(a|b|ab|ba|x|y|xy|yx|s|t|\d+))?"

#: Roles that go together; a run holds several networks if names at its top level match every role
#: of one line.
PAIRS: tuple[tuple[str, ...], ...] = (
    (rf"(net_?)?g(en(erator)?)?{_COPY}", rf"(net_?)?d(isc(riminator)?)?{_COPY}|critic"),
    (r"(actor|policy|pi)(_?net(work)?)?", r"(critic|value|q|qf|v|vf)(_?net(work)?)?_?\d*"),
    (r"teacher(_.*)?", r"student(_.*)?"),
    (
        r"model|net(work)?|online(_.*)?|encoder_q|base_encoder",
        r"(.*_)?(ema|swa)(_.*)?|averaged(_.*)?|target(_.*)?|momentum_encoder|encoder_k",
    ),
)

#: The first so many lines are of networks that play against each other.
GAMES = 2

#: Names in front of all others that are looked behind, such as ``module``.
_DEEP = 2


@dataclass(frozen=True)
class Group:
    """One of several networks.

    Attributes
    ----------
    name
        As the user says, or its name at the top level.
    tensors
        Names of its tensors, in model order.
    recognised
        Whether it was told by its name alone.
    plays
        Whether it is one of networks that play against each other: then a loss that rises is no
        sign of getting worse.
    """

    name: str
    tensors: tuple[str, ...]
    recognised: bool
    plays: bool = False


def groups_of(analysis: Analysis) -> tuple[Group, ...]:
    """Return the networks of a run; none where it holds a single one.

    Raises
    ------
    KoopscopeError
        If a group that was asked for has no tensor.
    """
    names = [tensor.name for tensor in analysis.tensors]
    asked = asked_groups(analysis.settings.groups)
    if analysis.settings.groups == (NO_GROUPS,):
        return ()
    if not asked:
        return tuple(_recognised(names))
    found = []
    for name, globs in asked.items():
        members = tuple(n for n in names if any(fnmatchcase(n, glob) for glob in globs))
        if not members:
            raise KoopscopeError(
                f"no tensor of {analysis.description.path} belongs to the group {name}",
                "list the names with `koopscope inspect`, and quote globs for the shell",
            )
        found.append(Group(name, members, recognised=False))
    return tuple(found)


def _recognised(names: Sequence[str]) -> Iterator[Group]:
    """Yield the networks whose names at the top level go together."""
    tops = _tops(names)
    for index, roles in enumerate(PAIRS):
        patterns = [re.compile(role, re.IGNORECASE) for role in roles]
        matched = [top for top in tops if any(role.fullmatch(top) for role in patterns)]
        if all(any(role.fullmatch(top) for top in matched) for role in patterns):
            for top in matched:
                yield Group(top, tuple(tops[top]), recognised=True, plays=index < GAMES)
            return


def _tops(names: Sequence[str]) -> dict[str, list[str]]:
    """Return tensors by the first part of their names that is not the same for all."""
    plain = plain_names(names)
    tops: dict[str, list[str]] = {}
    for place in range(_DEEP):
        tops = {}
        for name in names:
            parts = re.split(r"[./]", plain[name])
            tops.setdefault(parts[min(place, len(parts) - 1)], []).append(name)
        if len(tops) > 1:
            break
    return tops


class _Members(Mapping[str, SnapshotGram]):
    """The inner products of some tensors, each looked up when it is asked for."""

    def __init__(self, grams: Mapping[str, SnapshotGram], names: Sequence[str]) -> None:
        self._grams, self._names = grams, dict.fromkeys(names)

    def __getitem__(self, name: str) -> SnapshotGram:
        if name not in self._names:
            raise KeyError(name)
        return self._grams[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def analysis_of(analysis: Analysis, group: Group) -> Analysis:
    """Return the analysis of one group: its tensors alone, nothing read anew.

    Recorded losses are left out: they are of the run as a whole, or of a game between networks.
    """
    description = analysis.description
    own = set(group.tensors)
    part = replace(
        description,
        tensors=tuple(tensor for tensor in description.tensors if tensor.name in own),
        metrics={},
        skipped=(),
        notes=(),
    )
    settings = replace(analysis.settings, groups=(NO_GROUPS,), metric=None)
    return Analysis(part, _Members(analysis.grams, group.tensors), settings)


def without_losses(analysis: Analysis) -> Analysis:
    """Return the same analysis of a run whose losses decide nothing, unless one was asked for."""
    asked = analysis.settings.metric
    kept = None if asked is None else parsed_choice(asked).name
    metrics = analysis.description.metrics
    dropped = {*TRAINING_LOSSES, *VALIDATION_LOSSES} - {kept}
    changed = copy(analysis)
    changed.description = replace(
        analysis.description,
        metrics={name: values for name, values in metrics.items() if name not in dropped},
    )
    return changed
