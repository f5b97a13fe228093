"""The PyTorch and JAX losses are the NumPy norms, and so are their gradients."""

import numpy as np
import pytest

from koopscope.sobolev import (
    gradient,
    kernel_matrix,
    scattered_gradient,
    scattered_squared_norm,
    squared_norm,
)
from tests.frameworks import framework

SHAPES = [(16,), (15,), (8, 6), (4, 6, 5)]
RNG = np.random.default_rng(0)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("s", [0.0, 0.5, 1.0])
def test_torch_on_a_grid(shape, s):
    torch = framework("torch")
    from koopscope.sobolev.torch import grid_loss

    f, g = RNG.standard_normal((2, *shape))
    prediction = torch.tensor(f, requires_grad=True)
    loss = grid_loss(prediction, torch.tensor(g), s, 1.5)
    loss.backward()
    assert loss.item() == pytest.approx(float(squared_norm(f - g, s, 1.5)), rel=1e-12)
    assert prediction.grad.numpy() == pytest.approx(gradient(f - g, s, 1.5), rel=1e-9, abs=1e-15)
    assert torch.autograd.gradcheck(lambda p: grid_loss(p, torch.tensor(g), s, 1.5), prediction)


def test_torch_batches_and_float32():
    torch = framework("torch")
    from koopscope.sobolev.torch import grid_loss

    f = RNG.standard_normal((3, 8, 8)).astype(np.float32)
    loss = grid_loss(torch.tensor(f), torch.zeros(3, 8, 8), 0.5, dimension=2)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(squared_norm(f, 0.5, dimension=2).mean(), rel=1e-5)


def test_torch_at_scattered_points():
    torch = framework("torch")
    from koopscope.sobolev.torch import scattered_loss

    kernel = kernel_matrix(RNG.random((20, 2)), 0.5)
    e = RNG.standard_normal(20)
    prediction = torch.tensor(e, requires_grad=True)
    loss = scattered_loss(prediction, torch.zeros(20, dtype=torch.float64), kernel)
    loss.backward()
    assert loss.item() == pytest.approx(scattered_squared_norm(e, kernel), rel=1e-12)
    assert prediction.grad.numpy() == pytest.approx(scattered_gradient(e, kernel), rel=1e-9)
    assert torch.autograd.gradcheck(
        lambda p: scattered_loss(p, torch.zeros(20), kernel), prediction
    )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("s", [0.0, 0.5, 1.0])
def test_jax_on_a_grid(shape, s):
    jax = framework("jax")
    from koopscope.sobolev.jax import grid_loss

    with jax.enable_x64(True):
        f, g = RNG.standard_normal((2, *shape))
        loss, slope = jax.value_and_grad(lambda p: grid_loss(p, jax.numpy.asarray(g), s, 1.5))(f)
        assert float(loss) == pytest.approx(float(squared_norm(f - g, s, 1.5)), rel=1e-12)
        assert np.asarray(slope) == pytest.approx(gradient(f - g, s, 1.5), rel=1e-9, abs=1e-15)


def test_jax_at_scattered_points_in_float32_and_compiled():
    jax = framework("jax")
    from koopscope.sobolev.jax import scattered_loss

    kernel = kernel_matrix(RNG.random((20, 2)), 0.5)
    e = RNG.standard_normal(20).astype(np.float32)
    compiled = jax.jit(jax.value_and_grad(lambda p: scattered_loss(p, 0.0, kernel)))
    loss, slope = compiled(e)
    assert loss.dtype == np.float32
    assert float(loss) == pytest.approx(scattered_squared_norm(e, kernel), rel=1e-5)
    assert np.asarray(slope) == pytest.approx(scattered_gradient(e, kernel), rel=1e-4, abs=1e-6)
