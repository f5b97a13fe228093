"""Layers that have come to rest are frozen, others are not."""

from __future__ import annotations

import koopscope
from tests.frameworks import framework

torch = framework("torch")
nn = torch.nn

from koopscope.integrations.torch.resting import RestingLayers  # noqa: E402


def moved(net, name, amount):
    with torch.no_grad():
        for parameter in getattr(net, name).parameters():
            parameter.add_(amount)


def two_layers():
    torch.manual_seed(0)
    net = nn.Module()
    net.still, net.moving = nn.Linear(4, 4), nn.Linear(4, 4)
    return net


def test_a_layer_that_stops_is_frozen_and_one_that_moves_is_not():
    net = two_layers()
    resting = RestingLayers(net)
    frozen = []
    for interval in range(30):
        moved(net, "still", 1.0 if interval < 6 else 0.001 * (-1) ** interval)
        moved(net, "moving", 1.0)
        frozen.append(resting.freeze())
    assert resting.frozen == ("still",)
    assert frozen.index(("still",)) >= 9
    assert not net.still.weight.requires_grad
    assert net.moving.weight.requires_grad
    resting.thaw()
    assert net.still.weight.requires_grad


def test_the_last_layer_is_never_frozen():
    net = two_layers()
    resting = RestingLayers(net)
    for interval in range(30):
        for name in ("still", "moving"):
            moved(net, name, 1.0 if interval < 3 else 0.0)
        resting.freeze()
    assert resting.frozen == ()


def test_a_layer_that_never_moved_is_not_at_rest():
    net = two_layers()
    resting = RestingLayers(net)
    for _ in range(20):
        moved(net, "moving", 1.0)
        resting.freeze()
    assert resting.frozen == ()


def test_training_goes_on_without_the_frozen_layer():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    x = torch.randn(64, 4)
    y = x.sum(1, keepdim=True)
    optimizer = torch.optim.Adam(
        [
            {"params": net[0].parameters(), "lr": 0.05},
            {"params": net[2].parameters(), "lr": 0.002},
        ]
    )
    accelerator = koopscope.KoopmanAccelerator(net, optimizer, freeze=True)
    for epoch in range(60):
        optimizer.param_groups[0]["lr"] = 0.05 if epoch < 4 else 1e-6
        optimizer.zero_grad()
        loss = ((net(x) - y) ** 2).mean()
        loss.backward()
        optimizer.step()
        accelerator.after_epoch(loss)
        if accelerator.report().frozen:
            break
    assert accelerator.report().frozen == ("0",)
    before = net[0].weight.detach().clone()
    for _ in range(8):
        optimizer.zero_grad()
        loss = ((net(x) - y) ** 2).mean()
        loss.backward()
        assert net[0].weight.grad is None
        optimizer.step()
        accelerator.after_epoch(loss)
    assert torch.equal(net[0].weight, before)
