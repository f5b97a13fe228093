"""What an analysis computes grows with the run: counted in calls, not in seconds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from koopscope.analysis import kept_spectra, scope_spectra
from koopscope.analysis.analysis import Analysis
from koopscope.analysis.settings import Settings
from koopscope.diagnostics.diagnosis import Diagnosis
from koopscope.report.analysis_json import run_document
from koopscope.runs.run import RunDescription, TensorInfo
from koopscope.spectra.accumulating import gram_of
from koopscope.spectra.dmd import Spectrum, dmd_all
from koopscope.spectra.gram import SnapshotGram

SNAPSHOTS = 24


class Counted(Mapping[str, SnapshotGram]):
    """Gram matrices that count how often each was asked for."""

    def __init__(self, grams: dict[str, SnapshotGram]) -> None:
        self.grams, self.asked = grams, Counter[str]()

    def __getitem__(self, name: str) -> SnapshotGram:
        self.asked[name] += 1
        return self.grams[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.grams)

    def __len__(self) -> int:
        return len(self.grams)


def analysed(names: list[str]) -> tuple[Diagnosis, Counted]:
    rng = np.random.default_rng(0)
    grams = Counted(
        {name: gram_of(rng.standard_normal((SNAPSHOTS, 40)).cumsum(axis=0)) for name in names}
    )
    description = RunDescription(
        path="made",
        format="made",
        steps=np.arange(SNAPSHOTS),
        tensors=tuple(TensorInfo(name, (8, 5), "float32") for name in names),
    )
    return Diagnosis(Analysis(description, grams, Settings(level="tensor")), ()), grams


@pytest.fixture
def spectra(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of snapshots of every spectrum that is computed."""
    computed: list[int] = []
    real = dmd_all

    def counting(grams: Sequence[SnapshotGram], *args: Any, **options: Any) -> list[Spectrum]:
        computed.extend(gram.snapshots for gram in grams)
        return real(grams, *args, **options)

    monkeypatch.setattr(scope_spectra, "dmd_all", counting)
    return computed


def of_two(count: int) -> list[str]:
    return [f"layers.{k // 2}.{('weight', 'bias')[k % 2]}" for k in range(count)]


@pytest.mark.parametrize("count", [10, 150])
def test_table_and_json_compute_every_spectrum_once(spectra: list[int], count: int) -> None:
    diagnosis, _ = analysed(of_two(count))
    assert len(diagnosis.summary.tensors) == count
    written = run_document(diagnosis)["spectra"]
    assert [each["scope"] for each in written].count("tensor") == count
    # The network's two observables, a spectrum per layer and one per tensor.
    assert len(spectra) == 2 + count // 2 + count


@pytest.mark.parametrize("count", [10, 150])
def test_a_gram_matrix_is_asked_for_a_bounded_number_of_times(count: int) -> None:
    diagnosis, grams = analysed(of_two(count))
    grams.asked.clear()
    assert diagnosis.summary
    assert max(grams.asked.values()) <= 4


def test_a_layer_of_one_tensor_shares_its_numbers(spectra: list[int]) -> None:
    names = [f"layers.{k}.weight" for k in range(20)]
    summary = analysed(names)[0].summary
    assert len(spectra) == 2 + 20
    for layer, tensor in zip(summary.layers, summary.tensors, strict=True):
        assert layer.spectrum is not None
        assert tensor.spectrum is not None
        assert tensor.spectrum.scope == tensor.scope
        assert tensor.motion.name == tensor.scope.name != layer.motion.name
        np.testing.assert_array_equal(tensor.spectrum.eigenvalues, layer.spectrum.eigenvalues)


def test_what_is_kept_of_spectra_is_bounded(
    spectra: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_spectra, "SPECTRA_BYTES", 20_000)
    analysis = analysed(of_two(60))[0].analysis
    kept = [analysis.spectrum(scope).nbytes for scope in analysis.scopes("tensor")]
    assert sum(kept) > 20_000
    again = len(spectra)
    for scope in analysis.scopes("tensor")[-3:]:
        analysis.spectrum(scope)
    assert len(spectra) == again
    analysis.spectrum(analysis.scopes("tensor")[0])
    assert len(spectra) == again + 1
