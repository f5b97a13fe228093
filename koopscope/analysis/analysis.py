"""The pipeline: a run becomes Gram matrices in one pass, and spectra of any scope on demand.

Decides which snapshots and which weights a number rests on; gives no verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import cached_property
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from koopscope._threads import product_threads
from koopscope._types import Float64
from koopscope.analysis.metric_choice import validation_choice
from koopscope.analysis.motion import Motion
from koopscope.analysis.plan import (
    chosen_method,
    exact_grams,
    measured_grams,
    what_was_measured,
)
from koopscope.analysis.scope import LEVELS, NETWORK, Level, Scope, members_of
from koopscope.analysis.scope_grams import ScopeGrams
from koopscope.analysis.scope_spectra import ScopeSpectra
from koopscope.analysis.settings import Settings
from koopscope.engine.local import LocalPass
from koopscope.engine.sampled import MeasuredGrams
from koopscope.engine.sketched import sketched_grams
from koopscope.engine.source import GramSource, ProgressListener
from koopscope.engine.store import GramStore
from koopscope.errors import KoopscopeError
from koopscope.runs.run import Run, RunDescription, TensorInfo, select_tensors
from koopscope.spectra.changes import ChangeCounts
from koopscope.spectra.confidence import Confidence, confidence
from koopscope.spectra.dmd import Spectrum
from koopscope.spectra.fit import fewest_snapshots
from koopscope.spectra.gram import Observable, SnapshotGram
from koopscope.spectra.measured import GROUPS, MeasuredGram, jackknife_error, joined
from koopscope.spectra.modes import ModeBlock, modes
from koopscope.spectra.noise import NoiseFilter, filtered, lost_snapshots, sobolev_kernel
from koopscope.spectra.rank import RankRule
from koopscope.spectra.window import Window, usable_window

T = TypeVar("T")

#: Bytes of matrices of scopes that are decomposed together.
STACK_BYTES = 2 * 2**20

#: Eigenvalues with at least this share of the amplitude decide whether a sample is large enough.
LEAST_SHARE = 0.01


class Analysis:
    """A run's Gram matrices and everything that follows from them without reading again.

    Parameters
    ----------
    description
        The run.
    grams
        Each analysed tensor's ``SnapshotGram`` by name, in model order.
    settings
        What was asked for.
    """

    def __init__(
        self, description: RunDescription, grams: Mapping[str, SnapshotGram], settings: Settings
    ) -> None:
        self.description = description
        self.grams = grams
        self._whole: Analysis | None = None
        self.method_reason = "the inner products were given"
        self._counts = {
            name: grams.counts(name)
            if isinstance(grams, GramStore)
            else (grams[name].nonfinite, grams[name].changes)
            for name in grams
        }
        self._finite = {name: nonfinite == 0 for name, (nonfinite, _) in self._counts.items()}
        self._look(settings)

    def _look(self, settings: Settings) -> None:
        self.settings = settings
        low, high = settings.asked_steps
        finite = np.ones(self.description.snapshots, np.bool_)
        for tensor in self.finite_tensors:
            finite &= self._finite[tensor.name]
        self.window: Window = usable_window(self.description.steps, finite, low, high)
        self._scope_grams = ScopeGrams(self.grams, self._members, self.window)
        self._spectra = ScopeSpectra(self._scope_grams, settings, self.window.spacing_steps)
        self._confidences: dict[tuple[object, ...], Confidence] = {}
        self._spreads: dict[str, Float64] = {}
        self._computed: dict[str, Any] = {}
        self._parts: dict[int, Analysis] = {}

    @classmethod
    def of(
        cls,
        run: Run,
        settings: Settings | None = None,
        on_progress: ProgressListener | None = None,
        source: GramSource | None = None,
    ) -> Analysis:
        """Analyse a run: one pass over its weights, or over a sample of them.

        Parameters
        ----------
        source
            Who carries the pass out: this process by default; see ``koopscope.engine``.

        Raises
        ------
        KoopscopeError
            If the file cannot be read or the settings leave nothing.
        """
        settings = settings or Settings()
        source = source or LocalPass()
        if settings.metric is not None:
            validation_choice(run.description.metrics, settings.metric)
        tensors = select_tensors(run.description, settings.include, settings.exclude)
        method, why = chosen_method(run, tensors, settings, source)
        settings = replace(settings, method=method)
        grams: MeasuredGrams | GramStore
        if method == "exact":
            grams = exact_grams(run, tensors, settings, source, on_progress)
        elif method == "sketch":
            grams = sketched_grams(run, tensors, on_progress)
        else:

            def error_of(sample: MeasuredGrams) -> float:
                return cls(run.description, sample, settings)._largest_error()

            grams = measured_grams(run, tensors, settings, error_of, on_progress)
            why = f"{why}: {what_was_measured(grams, settings)}"
        if method == "sketch":
            why = f"rests on {why}"
        shown = () if method == "exact" else (why,)
        notes = (*run.description.notes, *shown, *grams.notes)
        analysis = cls(replace(run.description, notes=notes), grams, settings)
        analysis.method_reason = why
        return analysis

    @cached_property
    def tensors(self) -> tuple[TensorInfo, ...]:
        """The analysed tensors, in model order."""
        return tuple(tensor for tensor in self.description.tensors if tensor.name in self.grams)

    @cached_property
    def finite_tensors(self) -> tuple[TensorInfo, ...]:
        """The analysed tensors that are finite in at least one snapshot."""
        return tuple(tensor for tensor in self.tensors if self._finite[tensor.name].any())

    @cached_property
    def _members(self) -> dict[Scope, tuple[TensorInfo, ...]]:
        return members_of(self.finite_tensors)

    def scopes(self, level: Level) -> tuple[Scope, ...]:
        """Return the scopes of one level, in model order."""
        return tuple(scope for scope in self._members if scope.level == level)

    def scope(self, named: Scope | str) -> Scope:
        """Return the scope of this name: of two with one name, the coarser.

        Raises
        ------
        KoopscopeError
            If there is none.
        """
        if isinstance(named, Scope):
            return named
        for level in LEVELS:
            if Scope(level, named) in self._members:
                return Scope(level, named)
        raise KoopscopeError(
            f"{self.description.path} has no layer or tensor named {named!r}",
            "list the names with `koopscope inspect`",
        )

    def members(self, scope: Scope | str = NETWORK) -> tuple[TensorInfo, ...]:
        """Return the tensors that make up a scope."""
        return self._members.get(self.scope(scope), ())

    def gram(self, scope: Scope | str = NETWORK) -> SnapshotGram:
        """Return the Gram matrix of the network, a layer or a tensor inside the window."""
        return self._scope_grams[self.scope(scope)]

    def gram_of(self, tensors: Sequence[TensorInfo]) -> SnapshotGram:
        """Return the Gram matrix of some tensors together inside the window; it is not kept."""
        return self._scope_grams.of(tensors)

    def nonfinite(self, tensor: str) -> npt.NDArray[np.int64]:
        """Return int64 [T], a tensor's non-finite entries in every recorded snapshot."""
        return self._counts[tensor][0]

    def changes(self, tensor: str) -> ChangeCounts:
        """Return the counts of a tensor's entries that did not change, over the whole run."""
        return self._counts[tensor][1]

    @product_threads(1)
    def spectrum(
        self,
        scope: Scope | str = NETWORK,
        observable: Observable | None = None,
        *,
        rank: RankRule | None = None,
        part: tuple[int, int] | None = None,
        noise_filter: NoiseFilter | None = None,
    ) -> Spectrum:
        """Return the spectrum of a scope.

        Parameters
        ----------
        scope
            The network, or a layer or tensor, as a ``Scope`` or by its name.
        observable, rank, noise_filter
            In place of the settings' own.
        part
            A sliding window ``(first, stop)`` inside the window, in snapshots counted from the
            window's first; too short for a noise filter, so never filtered.

        Raises
        ------
        KoopscopeError
            If there is no such scope, or too few snapshots.
        """
        usual = self._spectra.usual(self.scope(scope))
        asked = replace(
            usual,
            observable=observable or usual.observable,
            rank=usual.rank if rank is None else rank,
            part=part,
            noise_filter=noise_filter or usual.noise_filter,
        )
        return self._spectra[asked]

    def walk(self, scopes: Sequence[Scope]) -> Iterator[Scope]:
        """Yield layers or tensors one by one, with the matrices and spectra of a few at hand.

        Whoever asks for each scope's spectrum as it comes gets it many times as fast as one by one.
        """
        together = max(1, STACK_BYTES // (8 * self.window.snapshots**2))
        for first in range(0, len(scopes), together):
            some = scopes[first : first + together]
            self._scope_grams.hold(some)
            if self.has_spectrum:
                self._spectra.ahead(some)
            yield from some
        self._scope_grams.hold(())

    @product_threads(1)
    def confidence(
        self,
        scope: Scope | str = NETWORK,
        observable: Observable | None = None,
        *,
        noise_filter: NoiseFilter | None = None,
    ) -> Confidence:
        """Return how good a scope's spectrum is: intervals, compression errors, held-out test."""
        scope = self.scope(scope)
        observable = observable or self.settings.observable
        noise_filter = noise_filter or self.settings.noise_filter
        key = (scope, observable, noise_filter)
        if key in self._confidences:
            return self._confidences[key]
        spectrum = self.spectrum(scope, observable, noise_filter=noise_filter)
        measured = self.measured(scope)
        if noise_filter == "sobolev":
            measured = measured.each(lambda gram: filtered(gram, sobolev_kernel()))
        judged = confidence(spectrum, measured)
        if scope == NETWORK:
            self._confidences[key] = judged
        return judged

    @property
    def read_share(self) -> float:
        """Share of the weights that were read; below 1 where only a sample was."""
        grams = self.grams
        return grams.weights_read / grams.weights if isinstance(grams, MeasuredGrams) else 1.0

    def measured(self, scope: Scope = NETWORK) -> MeasuredGram:
        """Return a scope's Gram matrix inside the window with the groups that tell its error."""
        if not isinstance(self.grams, MeasuredGrams):
            return MeasuredGram.of_all_weights(self.gram(scope))
        parts = (self.grams.measured(tensor.name) for tensor in self.members(scope))
        return joined(parts).each(lambda gram: gram.window(self.window.first, self.window.stop))

    @property
    def is_exact(self) -> bool:
        """Whether every weight went into the numbers; a sample or a sketch leaves an error."""
        if self._whole is not None:
            return self._whole.is_exact
        return not isinstance(self.grams, MeasuredGrams) or self.grams.is_exact()

    def without(self, group: int) -> Analysis:
        """Return the same analysis of what was measured without one of its ``GROUPS`` groups."""
        if group not in self._parts:
            other = copy(self)
            if isinstance(self.grams, MeasuredGrams):
                other.grams = self.grams.without(group)
                other._whole = self
            other._look(self.settings)
            self._parts[group] = other
        return self._parts[group]

    def once(self, name: str, compute: Callable[[Analysis], T]) -> T:
        """Return what was computed of this analysis under a name, computed on first use."""
        if name not in self._computed:
            self._computed[name] = compute(self)
        found: T = self._computed[name]
        return found

    def measured_spread(self, name: str, statistic: Callable[[Analysis], Float64]) -> Float64:
        """Return the standard error of a statistic from having measured and not read weights.

        The jackknife over groups, as for eigenvalues (``compression_errors``).

        Parameters
        ----------
        name
            Of the statistic: it is computed once. What was measured without a group has the error
            of the whole.
        statistic
            Of an analysis; a number, or an array of always the same shape.

        Returns
        -------
        In the statistic's shape; zeros where every weight went into the numbers.
        """
        if self._whole is not None:
            return self._whole.measured_spread(name, statistic)
        if name in self._spreads:
            return self._spreads[name]
        if self.is_exact:
            return np.zeros_like(np.asarray(statistic(self), float))
        replicates = np.array([statistic(self.without(group)) for group in range(GROUPS)], float)
        self._spreads[name] = jackknife_error(replicates)
        return self._spreads[name]

    def _largest_error(self) -> float:
        """Return the largest error that compression caused in an eigenvalue that matters."""
        if not self.has_spectrum:
            return 0.0
        matter = self.spectrum().shares >= LEAST_SHARE
        return float(np.max(self.confidence().compression_errors[matter], initial=0.0))

    @property
    def has_spectrum(self) -> bool:
        """Whether the window holds enough snapshots for a spectrum of either observable."""
        return bool(self.finite_tensors) and self.window.snapshots >= self.snapshots_needed

    @property
    def snapshots_needed(self) -> int:
        """How many snapshots a spectrum of either observable takes."""
        fewest = fewest_snapshots("increments", self.settings.delay)
        return fewest + lost_snapshots(self.settings.noise_filter)

    @property
    def breaks_off(self) -> bool:
        """Whether weights were not finite any more in a snapshot asked for, after the window."""
        later = slice(self.window.stop, self.window.asked_stop)
        return any(not self._finite[tensor.name][later].all() for tensor in self.finite_tensors)

    def motion(self, scope: Scope | str = NETWORK) -> Motion:
        """Return how a scope moved inside the window."""
        return self._scope_grams.motion(self.scope(scope))

    def modes(
        self,
        run: Run,
        scope: Scope | str = NETWORK,
        *,
        which: Sequence[int] | None = None,
        observable: Observable | None = None,
        kind: Literal["exact", "projected"] = "exact",
    ) -> Iterator[ModeBlock[TensorInfo]]:
        """Stream the modes of a scope's unfiltered spectrum: the second pass over the same run."""
        spectrum = self.spectrum(scope, observable, noise_filter="none")
        return modes(
            spectrum,
            run.blocks(self.members(scope)),
            slice(self.window.first, self.window.stop),
            which=which,
            kind=kind,
        )

    def until(self, step: int) -> Analysis:
        """Return the same analysis as if the run had ended at ``step``; nothing is read again."""
        earlier = copy(self)
        if self._whole is not None:
            earlier._whole = self._whole.until(step)
        earlier._look(replace(self.settings, until=step))
        return earlier
