"""The leading eigenpairs of large matrices, held against LAPACK's and against the matrix itself."""

from __future__ import annotations

import numpy as np
import pytest

from koopscope.spectra import leading, roots, stacks
from koopscope.spectra.accumulating import gram_of
from koopscope.spectra.dmd import dmd, dmd_all
from koopscope.spectra.gram import SnapshotGram
from koopscope.spectra.leading import TOLERANCE, VALUE_TOLERANCE, leading_pairs

SIZE = 400


def spread(values: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return a symmetric matrix with these eigenvalues."""
    turned = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(values),) * 2))[0]
    return (turned * values) @ turned.T


@pytest.mark.parametrize(
    "values",
    [
        np.concatenate([[9.0, 3.0, 2.5], np.linspace(1.0, 0.1, SIZE - 3)]),
        np.concatenate([[9.0, 9.0, 9.0, 9.0 - 1e-9], np.linspace(1.0, 0.1, SIZE - 4)]),
        0.5 ** np.arange(SIZE),
        np.concatenate([[4.0, 2.0, 1.0], np.zeros(SIZE - 3)]),
        np.concatenate([[1.0], np.zeros(SIZE - 1)]),
    ],
    ids=["above a bulk", "nearly alike", "decaying", "of rank three", "of rank one"],
)
def test_leading_pairs_are_those_of_the_whole_decomposition(values: np.ndarray) -> None:
    matrix = spread(values)
    scales = np.random.default_rng(1).uniform(0.5, 2.0, SIZE)
    found = leading_pairs(matrix * scales[:, None] * scales, scales, 3)
    assert found is not None
    whole = np.linalg.eigvalsh(matrix)[::-1]
    np.testing.assert_allclose(found.values[:3], whole[:3], atol=1e-11 * whole[0])
    known = len(found.values)
    rtol, atol = 2.0 * VALUE_TOLERANCE, 1e-13 * whole[0]
    np.testing.assert_allclose(found.values, whole[:known], rtol=rtol, atol=atol)
    assert found.vectors.shape == (SIZE, 3)
    np.testing.assert_allclose(found.vectors.T @ found.vectors, np.eye(3), atol=1e-11)
    off = matrix @ found.vectors - found.values[:3] * found.vectors
    assert np.linalg.norm(off, axis=0).max() <= 20.0 * TOLERANCE * whole[0]


def test_a_flat_spectrum_is_left_to_the_direct_solver() -> None:
    noise = np.random.default_rng(0).standard_normal((SIZE, 2 * SIZE))
    assert leading_pairs(noise @ noise.T, np.ones(SIZE), 20) is None


def long_run(snapshots: int, seed: int = 0) -> SnapshotGram:
    rng = np.random.default_rng(seed)
    decays = np.array([0.99, 0.97, 0.9])
    path = decays ** np.arange(snapshots)[:, None] @ rng.standard_normal((3, 700))
    return gram_of(path + 1e-3 * rng.standard_normal((snapshots, 700)).cumsum(axis=0))


@pytest.mark.parametrize("observable", ["increments", "weights"])
def test_a_long_run_has_the_same_spectrum_with_and_without_the_leading_part(
    observable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gram = long_run(360)
    found = dmd(gram, observable, rank=3)  # type: ignore[arg-type]
    monkeypatch.setattr(roots, "DIRECT_UP_TO", 10**6)
    whole = dmd(gram, observable, rank=3)  # type: ignore[arg-type]
    known = len(found.singular_values)
    assert 3 <= known + 1 < len(whole.singular_values) == found.pairs == whole.pairs
    np.testing.assert_allclose(found.eigenvalues, whole.eigenvalues, atol=1e-10)
    np.testing.assert_allclose(found.amplitudes, whole.amplitudes, rtol=1e-9)
    np.testing.assert_allclose(found.residuals, whole.residuals, atol=1e-10)
    np.testing.assert_allclose(found.singular_values, whole.singular_values[:known], rtol=1e-3)


def test_rules_that_rest_on_every_singular_value_get_them() -> None:
    gram = long_run(330)
    for rule in (0, -1, 0.9):
        assert len(dmd(gram, rank=rule).singular_values) == 328


def test_a_space_of_bounded_size_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = spread(np.concatenate([[9.0, 3.0, 2.5], np.linspace(1.0, 0.1, SIZE - 3)]))
    assert leading_pairs(matrix, np.ones(SIZE), 3, largest=12) is None
    monkeypatch.setattr(leading, "_LARGEST_PART", 0.0)
    assert leading_pairs(matrix, np.ones(SIZE), 3) is None


@pytest.mark.parametrize("observable", ["increments", "weights", "raw"])
def test_spectra_in_a_stack_are_those_one_by_one(
    observable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stacks, "WORTH_THREADS", 0.0)
    monkeypatch.setattr(stacks, "cores", lambda: 2)
    rng = np.random.default_rng(3)
    runs = [rng.standard_normal((30, size)).cumsum(axis=0) for size in (5, 40, 200)]
    runs.append(np.zeros((30, 7)))
    grams = [gram_of(run) for run in runs]
    together = dmd_all(grams, observable)  # type: ignore[arg-type]
    for gram, found in zip(grams, together, strict=True):
        alone = dmd(gram, observable)  # type: ignore[arg-type]
        assert found.rank == alone.rank
        np.testing.assert_allclose(found.eigenvalues, alone.eigenvalues, atol=1e-12)
        np.testing.assert_allclose(found.singular_values, alone.singular_values, rtol=1e-12)
