import numpy as np
import pytest

from tests.frameworks import framework

torch = framework("torch")

from studies.forecasting import oscillator  # noqa: E402


def test_the_loss_is_the_residual_of_hamiltons_equations_differentiated_by_autograd() -> None:
    parameters = oscillator.initial_weights(2)
    t = torch.rand(2, 30, 1, generator=torch.Generator().manual_seed(1)) * oscillator.END
    t.requires_grad_()
    hidden = t
    for layer in range(3):
        weight, bias = parameters[2 * layer : 2 * layer + 2]
        hidden = hidden @ weight.mT + bias[:, None]
        hidden = torch.sin(hidden) if layer < 2 else hidden
    x = oscillator.X0 + (1.0 - torch.exp(-t)) * hidden[..., :1]
    p = oscillator.P0 + (1.0 - torch.exp(-t)) * hidden[..., 1:]
    x_dot, p_dot = (torch.autograd.grad(q.sum(), t, create_graph=True)[0] for q in (x, p))
    expected = ((x_dot - p) ** 2).mean((1, 2)) + ((p_dot + x + x**3) ** 2).mean((1, 2))
    found = oscillator.losses(parameters, t)
    torch.testing.assert_close(found, expected)


def test_every_weight_is_in_one_block_of_each_operator() -> None:
    for blocks in oscillator.BLOCKS.values():
        assert sorted(np.concatenate(blocks)) == list(range(152))


@pytest.mark.parametrize("method", ["published node", "layer", "network, means"])
def test_a_linear_law_is_carried_on_to_where_it_leads(method: str) -> None:
    rng = np.random.default_rng(3)
    steps = np.arange(oscillator.WINDOW + oscillator.JUMP)[:, None]
    rest, moving = rng.standard_normal((2, 152))
    course = rest + 0.9999**steps * moving
    reached = oscillator.METHODS[method](course[: oscillator.WINDOW]).after(oscillator.JUMP)
    still = np.linalg.norm(course[oscillator.WINDOW - 1] - course[-1])
    assert np.linalg.norm(reached - course[-1]) < 0.01 * still
