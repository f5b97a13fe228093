from itertools import pairwise

import numpy as np
import pytest

from koopscope.errors import KoopscopeError
from koopscope.spectra.accumulating import gram_of
from koopscope.spectra.dmd import dmd
from koopscope.spectra.iterates.acceleration import (
    anderson_step,
    iterations_worth,
    newton_step,
    relaxation,
)
from koopscope.spectra.iterates.fixed_point import fixed_point
from tests import iterated_maps as maps


def measured_factor(operator, start, weight=0.0, count=1500):
    """Late contraction factor of the relaxed iteration, by running it."""
    x, lengths = start, []
    for _ in range(count):
        moved = weight * x + (1 - weight) * operator(x)
        lengths.append(np.linalg.norm(moved - x))
        x = moved
        if lengths[-1] < 1e-10 * lengths[0]:
            break
    half = len(lengths) // 2
    return (lengths[-1] / lengths[half]) ** (1 / (len(lengths) - 1 - half))


OPERATORS = {
    "tanh": lambda: maps.tanh_layer(0.9),
    "positive": lambda: maps.affine(maps.symmetric(0.9, lowest=0.0)),
    "negative": lambda: maps.affine(-maps.symmetric(0.95, lowest=0.0)),
    "rotation": lambda: maps.affine(maps.rotation(2.5)),
    "long steps": lambda: maps.affine(np.eye(40) - np.diag(np.linspace(0.05, 1.98, 40))),
}


@pytest.mark.parametrize("kind", OPERATORS)
def test_the_relaxed_iteration_contracts_as_predicted(kind):
    operator, start = OPERATORS[kind]()
    gram = gram_of(maps.iterate(operator, start, 40))
    advice = relaxation(dmd(gram, rank=min(fixed_point(gram).spectrum.rank, 20)).eigenvalues)
    assert advice.factor < measured_factor(operator, start) - 0.02
    assert measured_factor(operator, start, advice.weight) == pytest.approx(advice.factor, abs=0.03)


def test_the_best_weight_is_the_textbook_s():
    q = 0.9
    over = relaxation(np.linspace(0.0, q, 7).astype(complex))
    assert over.weight == pytest.approx(-q / (2 - q), abs=1e-4)
    assert over.factor == pytest.approx(q / (2 - q), abs=1e-4)
    assert (over.damped_weight, over.damped_factor) == (0.0, q)
    alternating = relaxation(np.array([-0.9, 0.5], complex))
    assert alternating.damped_weight == pytest.approx(0.4 / 2.4, abs=1e-4)
    assert relaxation(np.array([1.0], complex)).factor >= 1.0 - 1e-9


@pytest.mark.parametrize("depth", [1, 3, 8])
def test_an_anderson_step_leaves_the_increment_that_was_predicted(depth):
    operator, start = maps.affine(maps.symmetric(0.95))
    iterates = maps.iterate(operator, start, 20)
    moves = np.diff(iterates, axis=0)[-depth - 1 :]
    weights = np.linalg.solve(moves @ moves.T, np.ones(depth + 1))
    x = weights / weights.sum() @ iterates[-depth - 2 : -1]
    left = np.linalg.norm(operator(x) - x) / np.linalg.norm(moves[-1])
    assert anderson_step(gram_of(iterates), depth).residual == pytest.approx(left, rel=1e-5)


def test_more_memory_never_leaves_more():
    gram = gram_of(maps.iterate(*maps.tanh_layer(0.9), 20))
    left = [anderson_step(gram, depth).residual for depth in range(1, 12)]
    assert all(after <= before * (1 + 1e-9) for before, after in pairwise(left))


def test_rounding_limits_what_an_anderson_step_can_do():
    gram = gram_of(maps.iterate(*maps.affine(maps.rotation(0.3)), 20))
    assert anderson_step(gram, 5).residual < 1e-6
    assert anderson_step(gram, 5, rounding_length=1e-2).residual > 1e-3


def test_a_newton_step_s_error_is_that_of_the_early_prediction():
    operator, start = maps.affine(maps.symmetric(0.95))
    iterates = maps.iterate(operator, start, 40)
    gram = gram_of(iterates)
    step = newton_step(gram, fixed_point(gram))
    early = fixed_point(gram_of(iterates[: step.at + 1]))
    guess = iterates[step.at] + early.combination @ np.diff(iterates[: step.at + 1], axis=0)
    exact = maps.iterate(operator, start, 2000)[-1]
    true = np.linalg.norm(guess - exact) / np.linalg.norm(iterates[step.at] - exact)
    assert step.error == pytest.approx(true, rel=0.05)
    assert step.error < 0.01


def test_worth_is_counted_in_plain_iterations():
    assert iterations_worth(0.25, 0.5) == pytest.approx(2.0)
    assert iterations_worth(0.5, 1.0) is None


def test_a_depth_beyond_the_iterates_is_refused():
    with pytest.raises(KoopscopeError, match="depth 9 needs 10 increments, there are 5"):
        anderson_step(gram_of(maps.iterate(*maps.affine(maps.symmetric(0.5)), 5)), 9)
