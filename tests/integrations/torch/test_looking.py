"""Jumps with a look: what is taken, what is put back, and who decides."""

from __future__ import annotations

import copy
import random
import warnings

import numpy as np
import pytest

import koopscope
from koopscope.errors import KoopscopeError
from tests.frameworks import framework

torch = framework("torch")
nn = torch.nn

from koopscope.integrations.torch.candidates import HORIZONS, Record, Way  # noqa: E402
from koopscope.integrations.torch.judging import Judge  # noqa: E402


class Net(nn.Module):
    """Batch norm, dropout, a frozen layer, tied weights."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)
        self.second.weight = self.first.weight
        self.norm, self.drop = nn.BatchNorm1d(6), nn.Dropout(0.1)
        self.frozen = nn.Linear(6, 6).requires_grad_(False)
        self.head = nn.Linear(6, 1)
        generator = torch.Generator().manual_seed(3)
        self.x = torch.randn(64, 6, generator=generator)
        self.y = self.x[:, :1] * self.x[:, 1:2]

    def loss(self):
        h = torch.tanh(self.second(torch.tanh(self.first(self.x))))
        return ((self.head(self.drop(self.norm(self.frozen(h)))) - self.y) ** 2).mean()


def made(seed=1, optimizer="adam", **options):
    torch.manual_seed(seed)
    net = Net()
    groups = [
        {"params": list(net.first.parameters()), "lr": 0.01, "weight_decay": 1e-3},
        {"params": [net.second.bias, *net.norm.parameters(), *net.head.parameters()]},
    ]
    kinds = {"adam": torch.optim.AdamW, "sgd": torch.optim.SGD}
    extra = {"momentum": 0.9} if optimizer == "sgd" else {}
    optimizer = kinds[optimizer](groups, lr=0.02, **extra)
    options = {"evaluate": net.loss} | options
    return net, optimizer, koopscope.KoopmanAccelerator(net, optimizer, **options)


def epoch(net, optimizer, steps=4):
    for _ in range(steps):
        optimizer.zero_grad()
        loss = net.loss()
        loss.backward()
        optimizer.step()
    return float(loss.detach())


def weights(net):
    return {name: p.detach().clone() for name, p in net.named_parameters()}


def everything(net, optimizer):
    """Copy all that a failure must leave alone."""
    return (
        {name: value.clone() for name, value in net.state_dict().items()},
        copy.deepcopy(optimizer.state_dict()["state"]),
        torch.get_rng_state(),
        str(np.random.get_state()),
        random.getstate(),
        [module.training for module in net.modules()],
    )


def same(left, right):
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[k], right[k]) for k in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return torch.equal(left, right) if torch.is_tensor(left) else left == right


def until_a_jump(net, optimizer, accelerator, most=60):
    for _ in range(most):
        loss = epoch(net, optimizer)
        before = everything(net, optimizer)
        if accelerator.after_epoch(loss):
            return before, loss
    raise AssertionError("no jump")


def test_a_jump_is_taken_only_where_the_average_is_no_worse_than_the_weights_were():
    net, optimizer, accelerator = made()
    seen = 0
    for _ in range(40):
        loss = epoch(net, optimizer)
        torch_state = torch.get_rng_state()
        stay = Judge(net, net.loss).loss()
        assert torch.equal(torch.get_rng_state(), torch_state)
        if accelerator.after_epoch(loss):
            seen += 1
            with accelerator.averaged():
                assert Judge(net, net.loss).loss() <= stay + 1e-6
            jump = accelerator.report().jumps[-1]
            assert jump.horizon in HORIZONS
            assert jump.gain is not None
            assert jump.gain >= 0.0
    assert seen >= 1


def test_weights_and_average_move_by_the_same():
    net, optimizer, accelerator = made()
    for _ in range(60):
        loss = epoch(net, optimizer)
        with accelerator.averaged():
            average = weights(net)
        own = weights(net)
        if accelerator.after_epoch(loss):
            break
    with accelerator.averaged():
        further = weights(net)
    moved = 0.0
    for name, now in weights(net).items():
        torch.testing.assert_close(now - own[name], further[name] - average[name])
        moved += float((now - own[name]).abs().sum())
    assert moved > 0.0


@pytest.mark.parametrize("optimizer_name", ["adam", "sgd"])
@pytest.mark.parametrize("rule", ["keep", "rescale", "clear"])
def test_a_jump_that_is_taken_back_leaves_no_trace(optimizer_name, rule):
    net, optimizer, accelerator = made(optimizer=optimizer_name, optimizer_state=rule)
    before, loss = until_a_jump(net, optimizer, accelerator)
    epoch(net, optimizer)
    accelerator.after_epoch(loss + 10.0)
    assert same(weights(net), {n: before[0][n] for n, _ in net.named_parameters()})
    assert same(copy.deepcopy(optimizer.state_dict()["state"]), before[1])
    assert accelerator.report().rolled_back == 1
    epoch(net, optimizer)


def test_rescaling_slows_momenta_down_and_leaves_the_rest():
    net, optimizer, accelerator = made(optimizer_state="rescale")
    before, _ = until_a_jump(net, optimizer, accelerator)
    slower = set()
    for index, values in optimizer.state_dict()["state"].items():
        old = before[1][index]
        assert torch.equal(values["exp_avg_sq"], old["exp_avg_sq"])
        at = old["exp_avg"].abs().argmax()
        slower.add(round(float(values["exp_avg"].flatten()[at] / old["exp_avg"].flatten()[at]), 4))
    assert len(slower) == 1
    assert 0.0 <= slower.pop() <= 1.0


def test_looking_leaves_random_numbers_buffers_and_modes_alone():
    net, optimizer, accelerator = made()
    for _ in range(30):
        loss = epoch(net, optimizer)
        before = everything(net, optimizer)
        jumped = accelerator.after_epoch(loss)
        after = everything(net, optimizer)
        assert same(before[1:], after[1:])
        names = [n for n, _ in net.named_buffers()] if jumped else list(before[0])
        assert same({n: before[0][n] for n in names}, {n: after[0][n] for n in names})
    assert accelerator.report().questions > 4


def test_a_function_that_fails_is_told_once_and_changes_nothing():
    net, optimizer, accelerator = made()
    calls = 0

    def broken():
        nonlocal calls
        calls += 1
        torch.rand(3)
        net.norm.running_mean.add_(1.0)
        net.eval()
        raise ValueError("out of data")

    accelerator = koopscope.KoopmanAccelerator(net, optimizer, evaluate=broken)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for _ in range(12):
            loss = epoch(net, optimizer)
            before = everything(net, optimizer)
            assert accelerator.after_epoch(loss) is False
            assert same(before, everything(net, optimizer))
    assert calls > 0
    assert ["out of data" in str(warning.message) for warning in told] == [True]
    assert told[0].filename == __file__


def test_an_error_in_the_middle_of_a_jump_changes_nothing(monkeypatch):
    net, optimizer, accelerator = made()

    def full(*_):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(accelerator._window._rows, "shift", full)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(20):
            loss = epoch(net, optimizer)
            before = everything(net, optimizer)
            assert accelerator.after_epoch(loss) is False
            assert same(before, everything(net, optimizer))
    assert accelerator.report().jumps == ()


def test_a_function_that_answers_differently_is_refused_with_a_sentence():
    net, optimizer, _ = made()
    answers = iter(range(1, 1000))
    accelerator = koopscope.KoopmanAccelerator(
        net, optimizer, evaluate=lambda: float(next(answers))
    )
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for _ in range(10):
            assert accelerator.after_epoch(epoch(net, optimizer)) is False
    assert ["for the same weights" in str(warning.message) for warning in told] == [True]


def test_a_function_that_draws_from_the_global_generator_draws_the_same_for_all():
    net, optimizer, _ = made()

    def loss():
        index = torch.randint(0, 64, (16,))
        h = torch.tanh(net.second(torch.tanh(net.first(net.x[index]))))
        return ((net.head(net.norm(net.frozen(h))) - net.y[index]) ** 2).mean()

    accelerator = koopscope.KoopmanAccelerator(net, optimizer, evaluate=loss)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        until_a_jump(net, optimizer, accelerator)


def test_losses_that_are_no_numbers_mean_to_stay():
    net, optimizer, _ = made()
    accelerator = koopscope.KoopmanAccelerator(net, optimizer, evaluate=lambda: float("nan"))
    for _ in range(20):
        assert accelerator.after_epoch(epoch(net, optimizer)) is False
    report = accelerator.report()
    assert report.jumps == ()
    assert 2 <= report.stayed < 8  # the wait doubles


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_it_works_with_mixed_precision_gradient_scaling_and_a_schedule(dtype):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1))
    x = torch.randn(64, 8)
    y = x.sum(1, keepdim=True).sin()
    optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 40)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**8)
    low = getattr(torch, dtype)

    def loss():
        with torch.autocast("cpu", dtype=low):
            return nn.functional.mse_loss(net(x).float(), y)

    accelerator = koopscope.KoopmanAccelerator(net, optimizer, evaluate=loss, average=0.0)
    first = float(loss().detach())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(40):
            for _ in range(4):
                optimizer.zero_grad()
                value = loss()
                scaler.scale(value).backward()
                scaler.step(optimizer)
                scaler.update()
            schedule.step()
            accelerator.after_epoch(value)
    assert accelerator.report().kept + accelerator.report().rolled_back > 0
    assert all(p.dtype == torch.float32 and torch.isfinite(p).all() for p in net.parameters())
    assert float(loss().detach()) < 0.9 * first


def test_parameters_of_low_precision_jump_and_come_back_bit_for_bit():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 1)).to(torch.bfloat16)
    x = torch.randn(32, 8).to(torch.bfloat16)
    optimizer = torch.optim.SGD(net.parameters(), 0.1)

    def loss():
        return ((net(x) - 1.0) ** 2).float().mean()

    accelerator = koopscope.KoopmanAccelerator(net, optimizer, evaluate=loss, average=0.0)
    for _ in range(60):
        optimizer.zero_grad()
        value = loss()
        value.backward()
        optimizer.step()
        before = weights(net)
        if accelerator.after_epoch(value):
            break
    else:
        raise AssertionError("no jump")
    accelerator.after_epoch(1e9)
    assert same(weights(net), before)


def test_the_average_is_lent_and_names_what_has_to_be_renewed():
    net, optimizer, accelerator = made()
    for _ in range(5):
        accelerator.after_epoch(epoch(net, optimizer))
    own = weights(net)
    with accelerator.averaged() as lent:
        assert lent.steps > 0
        assert lent.running == ("norm.running_mean", "norm.running_var")
        assert not same(weights(net), own)
    assert same(weights(net), own)
    with pytest.raises(ZeroDivisionError), accelerator.averaged():
        raise ZeroDivisionError
    assert same(weights(net), own)


def test_the_average_is_that_of_the_steps():
    net = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(net.weight)
    optimizer = torch.optim.SGD(net.parameters(), 1.0)
    accelerator = koopscope.KoopmanAccelerator(net, optimizer, average=0.5)
    expected = 0.0
    for value in (1.0, 2.0, 3.0):
        net.weight.grad = torch.full((1, 1), -1.0)
        optimizer.step()
        expected += 0.5 * (value - expected)
    with accelerator.averaged():
        assert float(net.weight.detach()) == pytest.approx(expected)
    assert float(net.weight.detach()) == 3.0


def test_without_an_average_none_can_be_lent():
    net, optimizer, _ = made()
    accelerator = koopscope.KoopmanAccelerator(net, optimizer)
    with pytest.raises(KoopscopeError, match="no average") as raised, accelerator.averaged():
        pass
    assert raised.value.hint


@pytest.mark.parametrize(
    "options", [{"evaluate": 3}, {"tries": 0}, {"average": 1.0}, {"optimizer_state": "burn"}]
)
def test_an_impossible_option_is_an_error_with_a_hint(options):
    net, optimizer, _ = made()
    with pytest.raises(KoopscopeError) as raised:
        koopscope.KoopmanAccelerator(net, optimizer, **options)
    assert raised.value.hint


def test_successes_widen_a_way_and_failures_narrow_it():
    way, other = Way("straight", averaged=False, masked=True), Way("network", False, True)
    record = Record([way, other], 20.0)
    assert record.ordered()[0] is way
    record.note([(way, 2, 0.5), (way, 3, 0.4)], way)
    assert way.level == 3
    record.note([(way, 3, float("inf")), (way, 2, float("inf"))], None)
    assert way.level == 1
    record.note([(way, 1, float("inf"))], None)
    assert way.level == way.shortest == 1
    assert record.ordered()[0] is other
