"""Jumps in real trainings: where they lead, what they leave alone, and how they are taken back."""

from __future__ import annotations

import copy
import subprocess
import sys
import warnings

import numpy as np
import pytest

import koopscope
from koopscope.errors import KoopscopeError
from tests.frameworks import framework

torch = framework("torch")
nn = torch.nn


class Quadratic(nn.Module):
    """The sum of a_i (w_i - 1)^2 / 2: gradient descent of rate r moves by (1 - r a_i)^t."""

    def __init__(self, curvatures, dtype=torch.float64):
        super().__init__()
        self.curvatures = torch.tensor(curvatures, dtype=dtype)
        self.w = nn.Parameter(torch.zeros(len(curvatures), dtype=dtype))

    def loss(self):
        return (self.curvatures * (self.w - 1.0) ** 2).sum() / 2


def step(model, optimizer):
    optimizer.zero_grad()
    loss = model.loss()
    loss.backward()
    optimizer.step()
    return float(loss.detach())


class Net(nn.Module):
    """A little of everything: tied, frozen, buffers."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)
        self.second.weight = self.first.weight
        self.norm = nn.BatchNorm1d(6)
        self.frozen = nn.Linear(6, 6)
        self.frozen.requires_grad_(False)
        self.head = nn.Linear(6, 1)
        generator = torch.Generator().manual_seed(3)
        self.x = torch.randn(64, 6, generator=generator)
        self.y = self.x[:, :1] * self.x[:, 1:2]

    def loss(self):
        h = torch.tanh(self.second(torch.tanh(self.first(self.x))))
        return ((self.head(self.norm(self.frozen(h))) - self.y) ** 2).mean()


def trained_net(optimizer="adam"):
    torch.manual_seed(1)
    net = Net()
    groups = [
        {"params": list(net.first.parameters()), "lr": 0.01},
        {"params": [net.second.bias, *net.norm.parameters(), *net.head.parameters()]},
    ]
    kinds = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}
    extra = {"momentum": 0.9} if optimizer == "sgd" else {}
    return net, kinds[optimizer](groups, lr=0.02, **extra)


def parameters(net):
    return {name: p.detach().clone() for name, p in net.named_parameters()}


def state(optimizer):
    return copy.deepcopy(optimizer.state_dict()["state"])


def same(left, right):
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[k], right[k]) for k in left)
    return torch.equal(left, right) if torch.is_tensor(left) else left == right


def until_a_jump(net, optimizer, accelerator, most=40):
    """Train until a jump; return what the weights and the state were just before it."""
    for _ in range(most):
        loss = step(net, optimizer)
        before = parameters(net), state(optimizer)
        if accelerator.after_epoch(loss):
            return (*before, loss)
    raise AssertionError("no jump")


def losses_of(epochs, **options):
    model = Quadratic([1.0, 0.6, 0.08, 0.05, 0.02])
    optimizer = torch.optim.SGD(model.parameters(), 0.9)
    accelerator = koopscope.KoopmanAccelerator(model, optimizer, **options) if options else None
    losses = []
    for _ in range(epochs):
        losses.append(step(model, optimizer))
        if accelerator:
            accelerator.after_epoch(losses[-1])
    return losses, accelerator


@pytest.mark.parametrize("accept", ["pdt", "sign", "none"])
def test_jumps_save_epochs_where_the_law_of_motion_is_linear(accept):
    plain, _ = losses_of(60)
    jumped, accelerator = losses_of(60, accept=accept)
    reached = next(epoch for epoch, loss in enumerate(jumped) if loss <= plain[-1])
    assert reached < 40
    assert accelerator.report().kept >= 3


def test_one_jump_lands_where_the_optimizer_would_have_gone():
    model = Quadratic([0.2, 0.05])
    optimizer = torch.optim.SGD(model.parameters(), 0.5)
    accelerator = koopscope.KoopmanAccelerator(model, optimizer, horizon=8, accept="none")
    other = copy.deepcopy(model)
    before, _, _ = until_a_jump(model, optimizer, accelerator)
    other.w.data.copy_(before["w"])
    plain = torch.optim.SGD(other.parameters(), 0.5)
    for _ in range(8 - 1):  # the first of the eight had been trained
        step(other, plain)
    torch.testing.assert_close(model.w, other.w, rtol=0, atol=1e-9)


@pytest.mark.parametrize("optimizer_name", ["adam", "sgd"])
@pytest.mark.parametrize("optimizer_state", ["keep", "clear"])
def test_a_jump_after_which_the_loss_rises_is_taken_back_bit_for_bit(
    optimizer_name, optimizer_state
):
    net, optimizer = trained_net(optimizer_name)
    accelerator = koopscope.KoopmanAccelerator(net, optimizer, optimizer_state=optimizer_state)
    weights, moments, loss = until_a_jump(net, optimizer, accelerator)
    assert not same(parameters(net), weights)
    step(net, optimizer)
    assert accelerator.after_epoch(loss + 1.0) is False
    assert same(parameters(net), weights)
    assert same(state(optimizer), moments)
    assert accelerator.report().rolled_back == 1
    assert accelerator.horizon == 5.0
    step(net, optimizer)


def test_a_loss_that_is_no_number_takes_the_jump_back():
    net, optimizer = trained_net()
    accelerator = koopscope.KoopmanAccelerator(net, optimizer)
    weights, _, _ = until_a_jump(net, optimizer, accelerator)
    accelerator.after_epoch(float("nan"))
    assert same(parameters(net), weights)


def test_without_a_loss_no_jump_is_taken_back():
    net, optimizer = trained_net()
    accelerator = koopscope.KoopmanAccelerator(net, optimizer)
    for _ in range(13):
        step(net, optimizer)
        accelerator.after_epoch()
    assert accelerator.report().kept >= 2
    assert accelerator.report().rolled_back == 0


def test_clearing_leaves_the_optimizer_as_at_the_start():
    net, optimizer = trained_net()
    accelerator = koopscope.KoopmanAccelerator(net, optimizer, optimizer_state="clear")
    _, moments, _ = until_a_jump(net, optimizer, accelerator)
    assert moments
    assert state(optimizer) == {}
    net, optimizer = trained_net()
    accelerator = koopscope.KoopmanAccelerator(net, optimizer)
    _, moments, _ = until_a_jump(net, optimizer, accelerator)
    assert same(state(optimizer), moments)


@pytest.mark.parametrize("accept", ["pdt", "sign"])
def test_only_accepted_weights_move(accept):
    net, optimizer = trained_net()
    accelerator = koopscope.KoopmanAccelerator(net, optimizer, accept=accept, horizon=6)
    jumped = False
    while not jumped:
        start = parameters(net)
        loss = step(net, optimizer)
        end = parameters(net)
        jumped = accelerator.after_epoch(loss)
    moved = size = 0
    for name, parameter in net.named_parameters():
        there = parameter.detach() != end[name]
        displacement = (parameter.detach() - start[name])[there].double()
        update = (end[name] - start[name])[there].double()
        assert bool((displacement * update > 0).all())
        if accept == "pdt":
            assert bool((displacement.abs() >= 0.999 * update.abs()).all())
            assert bool((displacement.abs() <= 6.001 * update.abs()).all())
        moved += int(there.sum())
        size += parameter.numel() if parameter.requires_grad else 0
    (jump,) = accelerator.report().jumps
    assert 0 < moved <= size
    assert moved == pytest.approx(jump.share * size, abs=0.02 * size)


@pytest.mark.parametrize("operator", ["network", "layer", "tensor"])
@pytest.mark.parametrize("observable", ["increments", "weights", "centered"])
def test_every_operator_and_observable_jumps(operator, observable):
    net, optimizer = trained_net()
    accelerator = koopscope.KoopmanAccelerator(
        net, optimizer, operator=operator, observable=observable, accept="sign"
    )
    until_a_jump(net, optimizer, accelerator)
    assert all(torch.isfinite(p).all() for p in net.parameters())


def test_tied_frozen_and_buffers_stay_what_they_are():
    net, optimizer = trained_net()
    accelerator = koopscope.KoopmanAccelerator(net, optimizer, accept="none")
    frozen = net.frozen.weight.detach().clone()
    for _ in range(4):
        accelerator.after_epoch(step(net, optimizer))
    loss = step(net, optimizer)
    buffers = {name: b.clone() for name, b in net.named_buffers()}
    assert accelerator.after_epoch(loss)
    assert net.second.weight is net.first.weight
    assert torch.equal(net.frozen.weight, frozen)
    assert same(dict(net.named_buffers()), buffers)


def test_dtypes_are_kept_and_low_precision_jumps_too():
    torch.manual_seed(0)
    model = nn.ModuleList([nn.Linear(8, 8).to(d) for d in (torch.bfloat16, torch.float64)])
    optimizer = torch.optim.SGD(model.parameters(), 0.3)
    accelerator = koopscope.KoopmanAccelerator(model, optimizer)
    x = torch.randn(32, 8)

    def epoch():
        optimizer.zero_grad()
        loss = sum(((m(x.to(m.weight.dtype)) - 1.0) ** 2).mean().float() for m in model)
        loss.backward()
        optimizer.step()
        return loss

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(5):
            jumped = accelerator.after_epoch(epoch())
    assert jumped
    assert [m.weight.dtype for m in model] == [torch.bfloat16, torch.float64]


def test_parameters_that_become_trainable_are_taken_in():
    net, optimizer = trained_net()
    accelerator = koopscope.KoopmanAccelerator(net, optimizer)
    for _ in range(3):
        accelerator.after_epoch(step(net, optimizer))
    net.frozen.requires_grad_(True)
    optimizer.add_param_group({"params": list(net.frozen.parameters())})
    before, _, _ = until_a_jump(net, optimizer, accelerator)
    assert not torch.equal(net.frozen.weight, before["frozen.weight"])


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_not_jumped_from(bad):
    net, optimizer = trained_net()
    accelerator = koopscope.KoopmanAccelerator(net, optimizer)
    for _ in range(4):
        accelerator.after_epoch(step(net, optimizer))
    with torch.no_grad():
        net.head.bias.fill_(bad)
    weights = parameters(net)
    assert accelerator.after_epoch(1.0) is False
    assert torch.equal(net.first.weight, weights["first.weight"])


def test_nothing_raises_into_the_loop_and_only_one_warning_is_given():
    net, optimizer = trained_net()
    accelerator = koopscope.KoopmanAccelerator(net, optimizer)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for _ in range(12):
            step(net, optimizer)
            weights = parameters(net)
            assert accelerator.after_epoch("not a number") is False
            assert same(parameters(net), weights)
    assert ["no jump was made" in str(warning.message) for warning in told] == [True]
    assert told[0].filename == __file__
    until_a_jump(net, optimizer, accelerator)


def test_a_forecast_that_overflows_is_no_jump():
    model = Quadratic([-1.0, -3.0], torch.float32)
    model.w.data.fill_(0.5)
    optimizer = torch.optim.SGD(model.parameters(), 4e8)
    accelerator = koopscope.KoopmanAccelerator(model, optimizer, accept="none", horizon=50)
    for _ in range(5):
        loss = step(model, optimizer)
        assert not accelerator.after_epoch(min(loss, 1.0))


def test_failures_make_jumps_shorter_and_rarer_until_there_are_none():
    model = Quadratic([0.3, 0.01])
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    accelerator = koopscope.KoopmanAccelerator(model, optimizer)
    for epoch in range(600):
        step(model, optimizer)
        accelerator.after_epoch(float(epoch))  # a loss that only rises
    jumps = accelerator.report().jumps
    waits = np.diff([jump.epoch for jump in jumps])
    assert [jump.horizon for jump in jumps] == [10.0, 5.0, 2.5, 2.0, 2.0, 2.0]
    assert bool((np.diff(waits) >= 0).all())
    assert waits[-1] > waits[0]
    assert {jump.outcome for jump in jumps} == {"rolled back"}
    assert accelerator.report().epochs == 600
    assert accelerator.report().seconds > 0.0


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"snapshots": 2}, "snapshots=2"),
        ({"every": 0}, "every=0"),
        ({"horizon": 1.5}, "horizon=1.5"),
        ({"horizon": float("nan")}, "horizon=nan"),
        ({"accept": "all"}, "accept='all'"),
        ({"operator": "neuron"}, "operator='neuron'"),
        ({"observable": "losses"}, "observable='losses'"),
        ({"optimizer_state": "burn"}, "optimizer_state='burn'"),
    ],
)
def test_an_impossible_option_is_an_error_with_a_hint(options, named):
    net, optimizer = trained_net()
    with pytest.raises(KoopscopeError, match=named) as raised:
        koopscope.KoopmanAccelerator(net, optimizer, **options)
    assert raised.value.hint


def test_what_cannot_be_accelerated_is_an_error_with_a_hint():
    net, optimizer = trained_net()
    frozen = nn.Linear(2, 2).requires_grad_(False)
    for model, other in ((frozen, optimizer), ({}, optimizer), (net, None)):
        with pytest.raises(KoopscopeError) as raised:
            koopscope.KoopmanAccelerator(model, other)
        assert raised.value.hint


def test_only_its_use_needs_pytorch():
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "import koopscope\n"
        "try:\n    koopscope.KoopmanAccelerator\n"
        "except koopscope.KoopscopeError as error:\n    print(error.hint)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "pip install 'koopscope[torch]'", done.stderr
