"""The trained runs as the comparison sees them, and the distances between those of one base."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path

import numpy as np

from koopscope._threads import product_threads
from koopscope.comparison.distances import parts_of
from koopscope.comparison.reading import read_each
from koopscope.comparison.subjects import Choice
from koopscope.comparison.traits import Traits, traits
from koopscope.runs.detect.opening import open_run
from koopscope.spectra.geometry import Geometry
from studies.comparison.recipes import Variant, all_variants, seeds


@dataclass(frozen=True)
class Trained:
    """One run: traits of the network, then of its layers, and what baselines need."""

    name: str
    scopes: tuple[Traits, ...]
    losses: np.ndarray
    motion: np.ndarray  # [K, K], centred inner products of the snapshots
    last: np.ndarray


def trained(path: Path) -> Trained | None:
    """Read one run; ``None`` where a weight is not finite."""
    with product_threads(1), open_run(path) as run:
        blocks = [block.values[-1].astype(float) for block in run.blocks()]
        losses = run.description.metrics["loss"]
        subject = read_each([lambda: open_run(path)], Choice()).runs[0]
        if not subject.finite.all():
            return None
        layers: dict[str, list] = {}
        for tensor in subject.network:
            layers.setdefault(tensor.layer, []).append(tensor)
        whole = subject.gram(subject.network)
        anchored = Geometry(whole).anchored
        centred = anchored - anchored.mean(axis=0)
        return Trained(
            path.stem,
            (
                traits("network", whole),
                *(traits(name, subject.gram(members)) for name, members in layers.items()),
            ),
            losses,
            centred - centred.mean(axis=1)[:, None],
            np.concatenate(blocks),
        )


@dataclass
class Base:
    """One recipe with its changes, trained with several seeds each."""

    name: str
    runs: dict[str, list[Trained]]

    @cached_property
    def _known(self) -> dict[tuple[str, str], np.ndarray]:
        return {}

    def parts(self, one: Trained, other: Trained) -> np.ndarray:
        """Return [2, parts]: of the network, and the median over the layers."""
        key = (min(one.name, other.name), max(one.name, other.name))
        if key not in self._known:
            with product_threads(1):
                found = [parts_of(x, y) for x, y in zip(one.scopes, other.scopes, strict=True)]
            self._known[key] = np.array([found[0], np.median(found[1:], axis=0)])
        return self._known[key]

    @property
    def seeds(self) -> list[Trained]:
        """The runs of the unchanged recipe."""
        return self.runs["none"]

    @property
    def changes(self) -> list[str]:
        """What was changed."""
        return [change for change in self.runs if change != "none"]

    def same_pairs(self) -> list[tuple[Trained, Trained]]:
        return list(combinations(self.seeds, 2))

    def different_pairs(self, change: str) -> list[tuple[Trained, Trained]]:
        return [(one, other) for one in self.seeds for other in self.runs[change]]


def bases(folder: Path, side: str) -> list[Base]:
    """Return the bases of the ``tuning`` or ``held-out`` families whose runs the folder holds."""
    found: dict[str, dict[str, list[Trained]]] = {}
    for variant in all_variants(side):
        for run in _runs(folder, variant):
            found.setdefault(variant.base, {}).setdefault(variant.change, []).append(run)
    return [Base(name, runs) for name, runs in found.items() if len(runs.get("none", [])) >= 6]


def _runs(folder: Path, variant: Variant) -> Sequence[Trained]:
    paths = [folder / f"{variant.name(seed)}.h5" for seed in seeds(variant)]
    runs = [trained(path) for path in paths if path.exists()]
    return [run for run in runs if run is not None]
