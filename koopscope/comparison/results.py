"""What a comparison says: frozen records that reports show and tests rest on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from koopscope._types import Complex128, Float64
from koopscope._views import shown
from koopscope.comparison.alignment import Alignment
from koopscope.comparison.distances import Distance
from koopscope.comparison.motions import Motions
from koopscope.comparison.parting import Parting
from koopscope.comparison.permutation import PermutationTest
from koopscope.comparison.timeline import Timeline
from koopscope.comparison.verdicts import Rule, Score, Verdict
from koopscope.markup import table
from koopscope.runs.run import RunDescription

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame

#: What ``Comparison.plot`` can draw.
Panel = Literal["weights", "speed", "directness", "remaining", "spectra", "layers"]


@dataclass(frozen=True)
class Side:
    """One side of a comparison: a run, or repeats of one recipe.

    Attributes
    ----------
    name
        Of the group, or the run's path.
    runs
        Descriptions of its runs.
    breaks_at_steps
        Of each run, the first step at which a weight is not finite, or ``None``.
    courses
        Of each run, float64 [K] of the network by name: speed, directness, remaining.
    eigenvalues
        Of each run, complex128, the network's spectrum at its own rank.
    """

    name: str
    runs: tuple[RunDescription, ...]
    breaks_at_steps: tuple[int | None, ...]
    courses: tuple[Mapping[str, Float64], ...]
    eigenvalues: tuple[Complex128, ...]


@dataclass(frozen=True)
class LayerComparison:
    """One layer of two sides.

    Attributes
    ----------
    name, size
        As the first run calls it, and its number of weights.
    distance
        Its parts are means over pairs of runs, one from each side.
    parts_at_step
        The first step at which its weights are apart by more than rounding; ``None`` if never, or
        where weights were not held against weights.
    """

    name: str
    size: int
    distance: Distance
    parts_at_step: int | None


@dataclass(frozen=True)
class PairComparison:
    """Two sides held against each other.

    Attributes
    ----------
    first, second
        The sides.
    verdict, rule
        What it comes to, and what decided: the weights themselves, the permutation test, the
        yardstick's spread of seeds, or a run that breaks off.
    reason
        One sentence that says so, with its number.
    distance
        Of the networks, in usual seed distances: 1 is what another seed makes.
    level
        Whether it is the median over layers (``layers``) or the network's own (``network``).
    score
        Where it lies in the yardstick.
    test
        The permutation test; ``None`` with fewer than three runs a side.
    network
        The network's own distance with its parts.
    layers
        In model order; none where the networks differ.
    timeline
        Which snapshots were held against each other.
    parting, motions
        Of two single runs of one network; else ``None``.
    alignment
        How hidden units of the second run were brought into the first's order before weights were
        held against weights; ``None`` where they were not, or no unit may change places.
    interval
        90% interval of the distance that sketches leave; ``None`` where nothing was sketched.
    notes
        What a reader has to know, in sentences.
    """

    first: Side
    second: Side
    verdict: Verdict
    rule: Rule
    reason: str
    distance: float
    level: str
    score: Score
    test: PermutationTest | None
    network: Distance
    layers: tuple[LayerComparison, ...]
    timeline: Timeline
    parting: Parting | None
    motions: Motions | None
    notes: tuple[str, ...]
    alignment: Alignment | None = None
    interval: tuple[float, float] | None = None

    @property
    def p_value(self) -> float | None:
        """Of the permutation test, ``None`` where there is none."""
        return self.test.p_value if self.test is not None else None

    @property
    def parts_at_step(self) -> int | None:
        """The first step at which the weights are apart by more than rounding."""
        return self.parting.parts_at_step if self.parting is not None else None


@dataclass(frozen=True)
class Comparison:
    """The first side held against each of the others.

    Attributes
    ----------
    pairs
        In the order in which the others were named; at least one.
    """

    pairs: tuple[PairComparison, ...]

    @property
    def verdict(self) -> Verdict:
        """``different`` if any pair is, ``same`` if all are, else ``inconclusive``."""
        verdicts = {pair.verdict for pair in self.pairs}
        if "different" in verdicts:
            return "different"
        return "same" if verdicts == {"same"} else "inconclusive"

    @property
    def foremost(self) -> PairComparison:
        """The pair that decides: of those with the verdict, the one farthest apart."""
        deciding = [pair for pair in self.pairs if pair.verdict == self.verdict]
        return max(deciding, key=lambda pair: pair.distance)

    @property
    def p_value(self) -> float | None:
        """Of the foremost pair."""
        return self.foremost.p_value

    @property
    def distance(self) -> float:
        """Of the foremost pair."""
        return self.foremost.distance

    @property
    def layers(self) -> tuple[LayerComparison, ...]:
        """Of the foremost pair."""
        return self.foremost.layers

    @property
    def parts_at_step(self) -> int | None:
        """Of the foremost pair."""
        return self.foremost.parts_at_step

    def __repr__(self) -> str:
        said = f"{len(self.pairs)} pairs" if len(self.pairs) > 1 else self.foremost.reason
        return f"Comparison({self.verdict}: {said})"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: a row for each pair."""
        rows = [
            (pair.first.name, pair.second.name, pair.verdict, f"{pair.distance:.2f}", pair.reason)
            for pair in self.pairs
        ]
        heads = ("first", "second", "verdict", "seed distances", "reason")
        return table(f"Comparison: {self.verdict}", heads, rows, right=frozenset({3}))

    def to_dict(self) -> dict[str, Any]:
        """Return what ``koopscope compare --format json`` writes.

        Keys and order are those of the JSON report; arrays over the K compared snapshots (int64
        ``steps`` [K], float64 ``distances`` [K]) stay NumPy arrays, and NaN stays NaN.
        """
        content: dict[str, Any] = shown(self, "to_dict")(self)
        return content

    def to_frame(self) -> DataFrame:
        """Return one row for each layer of each pair, or for its network where layers differ.

        Columns: first, second, verdict, layer, parameters (weights), distance (in usual seed
        distances), one for each part of it, and parts_at_step (optimizer steps).

        Raises
        ------
        KoopscopeError
            If pandas is not installed.
        """
        rows: DataFrame = shown(self, "to_frame")(self)
        return rows

    def plot(self, panel: Panel = "weights", *, ax: Axes | None = None) -> Axes:
        """Draw the foremost pair, and return the axes.

        Parameters
        ----------
        panel
            ``weights``: their distance over optimizer steps; ``speed``, ``directness`` or
            ``remaining``: that course of both networks; ``spectra``: both in the unit circle;
            ``layers``: the distance of each layer and its parts, in usual seed distances.
        ax
            Where to draw; on new axes if not given.

        Raises
        ------
        KoopscopeError
            If there is no such panel.
        """
        axes: Axes = shown(self, "plot")(self, panel, ax)
        return axes
