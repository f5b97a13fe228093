"""Scales of functions whose frequencies are known, and the error drop they predict."""

from __future__ import annotations

import numpy as np
import pytest

from koopscope.errors import KoopscopeError
from koopscope.spectra.scales import SCALES_PER_PERIOD, scales_of, thinned
from tests.frameworks import framework

X = np.linspace(0.0, 2.0, 400, endpoint=False)
SPACING = X[1] - X[0]


@pytest.mark.parametrize("method", ["fft", "dmd"])
@pytest.mark.parametrize("cycles", [[1], [1, 20], [2, 8, 32], [5, 6, 7]])
def test_a_sum_of_sines_needs_one_layer_for_every_octave_it_reaches(method, cycles):
    found = scales_of(sum(np.sin(2 * np.pi * k * X) for k in cycles), SPACING, method)
    assert found.frequencies == pytest.approx(cycles, rel=1e-6)
    octaves = thinned(1.0 / (SCALES_PER_PERIOD * np.array(cycles, float)))
    assert found.scales == pytest.approx(octaves)


def test_hankel_dmd_finds_a_frequency_that_does_not_fit_the_grid():
    y = np.sin(2 * np.pi * 3.3 * X) + 0.5 * np.sin(2 * np.pi * 21.7 * X)
    assert scales_of(y, SPACING, "dmd").frequencies == pytest.approx([3.3, 21.7])
    assert scales_of(y, SPACING, "dmd").layers < scales_of(y, SPACING, "fft").layers


@pytest.mark.parametrize("y", [X**2 - X, np.exp(X)])
def test_hankel_dmd_has_no_frequency_on_polynomials_and_exponentials(y):
    assert scales_of(y, SPACING, "dmd").layers == 0
    assert scales_of(y, SPACING, "fft").layers > 2


def test_consecutive_scales_differ_by_the_decay_factor():
    kept = thinned(np.array([16.0, 9.0, 8.0, 5.0, 4.0, 1.0]))
    assert kept.tolist() == [16.0, 8.0, 4.0, 1.0]


def test_scales_are_in_the_unit_of_x():
    y = np.sin(2 * np.pi * 3 * X)
    assert scales_of(y, 10 * SPACING, "fft").scales == pytest.approx(
        10 * scales_of(y, SPACING, "fft").scales
    )


@pytest.mark.parametrize("values", [np.ones(5), np.array([0.0] * 9 + [np.nan])])
def test_too_few_or_broken_samples_are_refused(values):
    with pytest.raises(KoopscopeError):
        scales_of(values, 1.0, "fft")


@pytest.mark.parametrize(
    "y",
    [
        np.sin(2 * np.pi * X) + np.sin(2 * np.pi * 16 * X),
        X + np.sin(2 * np.pi * X**4),
        np.cos(2 * np.pi * 2 * X) + 0.5 * np.cos(2 * np.pi * 24 * X),
    ],
)
def test_hierarchical_regression_drops_its_error_with_the_predicted_layers(y):
    """Algorithm 3 of the paper: the last predicted layer takes the error to the noise floor."""
    svm = framework("sklearn.svm")
    found = scales_of(y, SPACING, "fft")
    span = float(y.max() - y.min())
    residual, errors = y.copy(), []
    for scale in found.scales:
        box = 5.0 * float(residual.max() - residual.min())
        layer = svm.SVR(kernel="rbf", gamma=0.5 / scale**2, C=box, epsilon=0.01 * span)
        residual = residual - layer.fit(X[:, None], residual).predict(X[:, None])
        errors.append(float(np.abs(residual).max()) / span)
    assert errors[-1] < 0.05
    assert errors[0] > 5.0 * errors[-1]


def test_zeros_have_no_frequency():
    for method in ("fft", "dmd"):
        assert scales_of(np.zeros(50), 1.0, method).layers == 0
