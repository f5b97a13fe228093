"""What a user can ask of an analysis, checked once and carried as one value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from numbers import Integral
from typing import Any, Literal

from koopscope.analysis.metric_choice import parsed_choice
from koopscope.analysis.scope import LEVELS, Level
from koopscope.engine.sampled import Measuring
from koopscope.errors import KoopscopeError
from koopscope.spectra.gram import OBSERVABLES, Observable
from koopscope.spectra.measured import Measurement
from koopscope.spectra.noise import NOISE_FILTERS, NoiseFilter
from koopscope.spectra.rank import AUTO, RankRule, check_rank_rule

Method = Literal["auto", "exact", "compressed", "sketch"]
METHODS: tuple[Method, ...] = ("auto", "exact", "compressed", "sketch")

#: In place of groups: judge a run as one network, whatever its names look like.
NO_GROUPS = "none"

Intervals = Literal["network", "all"]
INTERVALS: tuple[Intervals, ...] = ("network", "all")


@dataclass(frozen=True)
class Settings:
    """What the user asked for, as used.

    Attributes
    ----------
    observable, rank, delay
        See ``koopscope.spectra.dmd.dmd``.
    window
        First and last step to look at, both included; either may be ``None``.
    until
        Pretend the run ended at this step.
    level
        The finest scopes to report.
    intervals
        Whose eigenvalues get intervals and a test on held-out snapshots in reports: the network's
        alone, or those of ``all`` layers and tensors too, which takes twice as long.
    include, exclude
        Globs on tensor names.
    noise_filter
        Filter along time before a spectrum is computed; see ``koopscope.spectra.noise``.
    method
        ``exact`` reads every weight, ``compressed`` measures some, ``auto`` reads every weight
        unless that would take long. A run that holds sketches is read by ``sketch`` alone, which
        ``auto`` means there.
    measurement, measurements, seed, tolerance
        See ``koopscope.engine.sampled.Measuring``; they matter where the method is compressed.
    metric
        The recorded metric that says how good the run is, as ``NAME:min`` or ``NAME:max``; by
        default it is guessed: see ``koopscope.analysis.metric_choice``.
    groups
        Networks that are judged apart as well as together, each ``NAME=GLOB``; by default those
        that ``koopscope.analysis.groups`` recognises by name, and none with ``("none",)``.
    """

    observable: Observable = "increments"
    rank: RankRule = AUTO
    delay: int = 1
    window: tuple[int | None, int | None] = (None, None)
    until: int | None = None
    level: Level = "layer"
    intervals: Intervals = "network"
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    noise_filter: NoiseFilter = "none"
    method: Method = "auto"
    measurement: Measurement = "sample"
    measurements: int | None = None
    seed: int = 0
    tolerance: float | None = None
    metric: str | None = None
    groups: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_rank_rule(self.rank)
        for name in ("include", "exclude", "groups"):
            if isinstance(getattr(self, name), str):  # its letters would each be a glob
                object.__setattr__(self, name, (getattr(self, name),))
        bounds = self.window if isinstance(self.window, (tuple, list)) else ()
        if len(bounds) != 2 or not all(b is None or isinstance(b, Integral) for b in bounds):
            raise KoopscopeError(
                f"a window of {self.window!r} is not possible",
                "give its first and last step; None leaves a side open",
            )
        for what, value, known in (
            ("observable", self.observable, OBSERVABLES),
            ("level", self.level, LEVELS),
            ("noise filter", self.noise_filter, NOISE_FILTERS),
            ("method", self.method, METHODS),
            ("choice of intervals", self.intervals, INTERVALS),
        ):
            if value not in known:
                raise KoopscopeError(
                    f"unknown {what} {value!r}", f"choose one of {', '.join(known)}"
                )
        if self.delay < 1:
            raise KoopscopeError(
                f"a delay of {self.delay} is not possible", "use 1 (no delay) or more"
            )
        _ = self.measuring
        if self.metric is not None:
            parsed_choice(self.metric)
        asked_groups(self.groups)

    @property
    def asks_for_a_spectrum(self) -> bool:
        """Whether something was chosen that only matters to a spectrum."""
        usual = Settings()
        names = ("observable", "rank", "delay", "noise_filter")
        return any(getattr(self, name) != getattr(usual, name) for name in names)

    @property
    def asked_steps(self) -> tuple[int | None, int | None]:
        """First and last step to look at, by ``window`` and ``until`` together."""
        low, high = self.window
        bounds = [bound for bound in (high, self.until) if bound is not None]
        return low, min(bounds, default=None)

    @property
    def measuring(self) -> Measuring:
        """How to measure where the method is compressed."""
        return Measuring(self.measurement, self.measurements, self.seed, self.tolerance)

    @classmethod
    def chosen(cls, values: Mapping[str, Any]) -> Settings:
        """Return settings with these fields, the others as they are by default.

        Raises
        ------
        KoopscopeError
            If there is no such field, or a value is not possible.
        """
        known = [field.name for field in fields(cls)]
        for name in values:
            if name not in known:
                raise KoopscopeError(
                    f"there is no setting {name!r}", f"there are: {', '.join(known)}"
                )
        return cls(**values)


def asked_groups(texts: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Return the globs of each group by its name, as ``NAME=GLOB`` says; several may be one.

    Raises
    ------
    KoopscopeError
        If a text is neither ``NAME=GLOB`` nor, alone, ``none``.
    """
    globs: dict[str, list[str]] = {}
    for text in () if texts == (NO_GROUPS,) else texts:
        name, equals, glob = text.partition("=")
        if not (name and equals and glob):
            raise KoopscopeError(
                f"the group {text!r} does not say which tensors it has",
                "write NAME=GLOB, for example generator='netG.*', or none alone",
            )
        globs.setdefault(name, []).append(glob)
    return {name: tuple(members) for name, members in globs.items()}
