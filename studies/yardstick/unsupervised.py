"""Problems without pairs: generation, denoising, physics, control, metric and masked learning."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as two_classes
from torch.nn.functional import cross_entropy, normalize

from studies import networks as first_networks
from studies.yardstick import data, networks
from studies.yardstick.problems import Batch, Problem, Sampled


def _digits(train: int = 512) -> tuple[Batch, Batch]:
    x, y = data.digit_vectors()
    return (x[:train], y[:train]), (x[train : train + 256], y[train : train + 256])


def digits_diffusion() -> Problem:
    """Predict the noise in a noisy digit, told how noisy it is (Ho et al. 2020)."""

    def loss(net: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        x = batch[0]
        t = torch.rand(len(x), 1, generator=generator)
        noise = torch.randn(x.shape, generator=generator)
        keep = torch.cos(0.5 * math.pi * t)
        times = torch.cat([t, torch.sin(6.0 * t), torch.cos(6.0 * t)], dim=1)
        noisy = keep * x + (1.0 - keep.square()).sqrt() * noise
        return (net(torch.cat([noisy, times], dim=1)) - noise).square().mean()

    train, held = _digits()
    net = first_networks.mlp([67, 64, 64, 64], nn.SiLU)
    return Sampled(net, loss, train, held, (1.0, 1.0))


def digits_masked() -> Problem:
    """Fill in the rows of a digit that are masked."""

    def loss(net: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        x = batch[0].view(-1, 8, 8)
        hidden = torch.rand(len(x), 8, generator=generator) < 0.4
        seen = torch.where(hidden[:, :, None], 0.0, x)
        filled = net(torch.cat([seen, hidden[:, :, None].float()], dim=2))
        return (filled - x)[hidden].square().mean()

    class Filler(first_networks.Transformer):
        def forward(self, x: Tensor) -> Tensor:
            h = self.embed(x) + self.place
            for block in self.blocks:
                h = block(h)
            return self.head(self.norm(h))

    train, held = _digits()
    return Sampled(Filler((9, 16, 8), 8, 2, False), loss, train, held)


def _embedded(net: nn.Module, x: Tensor) -> Tensor:
    return normalize(net(x), dim=1)


def digits_metric() -> Problem:
    """Pull digits of a kind together and others apart, in batches."""

    def loss(net: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        z = _embedded(net, batch[0][:64])
        y = batch[1][:64]
        alike = y[:, None] == y[None, :]
        far = (2.0 - 2.0 * z @ z.T).clamp(min=1e-9).sqrt()
        same, other = alike & ~torch.eye(len(y), dtype=torch.bool), ~alike
        return far[same].square().mean() + torch.relu(1.0 - far[other]).square().mean()

    train, held = _digits()
    return Sampled(first_networks.mlp([64, 48, 16], nn.ReLU), loss, train, held)


def digits_contrastive() -> Problem:
    """Find the other noisy view of the same digit in a batch (Chen et al. 2020)."""

    def loss(net: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        x = batch[0][:64]
        views = [
            x * (torch.rand(x.shape, generator=generator) < 0.7)
            + 0.2 * torch.randn(x.shape, generator=generator)
            for _ in range(2)
        ]
        a, b = (_embedded(net, view) for view in views)
        return cross_entropy(a @ b.T / 0.2, torch.arange(len(a)))

    train, held = _digits()
    return Sampled(first_networks.mlp([64, 64, 16], nn.ReLU), loss, train, held, batch=64)


def patches_denoising() -> Problem:
    def loss(net: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        x = batch[0]
        return (net(x + 0.5 * torch.randn(x.shape, generator=generator)) - x).square().mean()

    x = data.patches(10, 640)
    return Sampled(networks.Denoiser(10), loss, (x[:384],), (x[384:],), (1.0, 1.0))


def digits_variational() -> Problem:
    def loss(net: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        x = batch[0]
        written, extra = net(x, torch.randn(len(x), 6, generator=generator))
        return 2.0 * (written - x).square().sum(1).mean() + extra

    train, held = _digits()
    return Sampled(networks.Variational(64, 40, 6), loss, train, held)


def _derivative(y: Tensor, x: Tensor) -> Tensor:
    return torch.autograd.grad(y.sum(), x, create_graph=True)[0]


class Physics(Sampled):
    """A residual of a differential equation: measuring it takes derivatives as well."""

    def _on(self, data: Batch) -> float:
        loss = self.function(self.net, data, torch.Generator().manual_seed(0))
        return float(loss.detach())


def poisson_pinn() -> Problem:
    """u'' + u_yy = -f on a square, zero at its border (Raissi et al. 2019)."""

    def loss(net: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        x = batch[0].clone().requires_grad_(True)
        u = net(x) * ((1 - x[:, :1].square()) * (1 - x[:, 1:].square()))
        first = _derivative(u, x)
        second = _derivative(first[:, 0], x)[:, :1] + _derivative(first[:, 1], x)[:, 1:]
        source = torch.sin(math.pi * x[:, :1]) * torch.sin(2 * math.pi * x[:, 1:])
        return (second / 10.0 + source).square().mean()

    generator = torch.Generator().manual_seed(71)
    x = 2.0 * torch.rand(384, 2, generator=generator) - 1.0
    net = first_networks.mlp([2, 24, 24, 1], nn.Tanh)
    return Physics(net, loss, (x[:256],), (x[256:],), (0.25, 0.25), batch=64)


def oscillator_pinn() -> Problem:
    """A damped oscillator's equation and its two initial values."""

    def loss(net: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        t = batch[0].clone().requires_grad_(True)
        u = 1.0 + t.square() * net(t)
        first = _derivative(u, t)
        second = _derivative(first, t)
        return ((second + 0.4 * first + 4.0 * u) / 4.0).square().mean()

    generator = torch.Generator().manual_seed(73)
    t = 3.0 * torch.rand(256, 1, generator=generator)
    net = first_networks.mlp([1, 24, 24, 24, 1], nn.Tanh)
    return Physics(net, loss, (t[:160],), (t[160:],), (1.0, 1.0), batch=48)


class Adversarial(Problem):
    """A GAN on digits; measured by the energy distance between made and real digits."""

    def __init__(self) -> None:
        self.net: networks.Adversaries = networks.Adversaries()
        (self.real, _), (self.held, _) = _digits()

    def backward(self, generator: torch.Generator) -> float:
        index = torch.randint(0, len(self.real), (32,), generator=generator)
        made = self.net.make(torch.randn(32, 8, generator=generator))
        one, none = torch.ones(32, 1), torch.zeros(32, 1)
        judge = self.net.judge
        told = two_classes(judge(self.real[index]), one) + two_classes(judge(made.detach()), none)
        fooled = two_classes(judge(made), one)
        for loss, part in ((told, judge), (fooled, self.net.make)):
            chosen = [p for p in part.parameters() if p.requires_grad]
            if chosen:
                found = torch.autograd.grad(loss, chosen, retain_graph=True)
                for p, gradient in zip(chosen, found, strict=True):
                    assert p.grad is not None
                    p.grad.add_(gradient)
        return float(fooled.detach())

    @torch.no_grad()
    def measure(self) -> tuple[float, float]:
        made = self.net.make(torch.randn(256, 8, generator=torch.Generator().manual_seed(0)))
        if not torch.isfinite(made).all():
            return math.nan, math.nan
        inner = torch.cdist(made, made).mean()

        def distance(real: Tensor) -> float:
            real = real[:256]
            return float(
                2 * torch.cdist(made, real).mean() - inner - torch.cdist(real, real).mean()
            )

        return distance(self.real), distance(self.held)


class CartPole(Problem):
    """Balance a pole on a cart by REINFORCE: the loss is minus the share of time it stands."""

    STEPS = 60

    def __init__(self) -> None:
        self.net = first_networks.mlp([4, 24, 2], nn.Tanh)
        self.baseline = 0.0
        starts = np.random.default_rng(79).uniform(-0.15, 0.15, (64, 4))
        self.starts, self.held = starts[:32], starts[32:]

    def _layers(self) -> list[tuple[np.ndarray, np.ndarray]]:
        linear = [m for m in self.net.modules() if isinstance(m, nn.Linear)]
        return [(m.weight.detach().numpy(), m.bias.detach().numpy()) for m in linear]

    def _play(
        self, starts: np.ndarray, rng: np.random.Generator | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        (w1, b1), (w2, b2) = self._layers()
        state, alive = starts.copy(), np.ones(len(starts), bool)
        seen, acted, stood = [], [], []
        for _ in range(self.STEPS):
            logits = np.tanh(state @ w1.T + b1) @ w2.T + b2
            edge = logits[:, 1] - logits[:, 0]
            if rng is None:
                action = (edge > 0).astype(np.int64)
            else:
                chance = 1.0 / (1.0 + np.exp(-np.clip(edge, -30, 30)))
                action = (rng.random(len(state)) < chance).astype(np.int64)
            seen.append(state.copy())
            acted.append(action)
            stood.append(alive.copy())
            x, v, a, w = state.T
            force = 10.0 * (2.0 * action - 1.0)
            pull = (force + 0.05 * w**2 * np.sin(a)) / 1.1
            turn = (9.8 * np.sin(a) - np.cos(a) * pull) / (
                0.5 * (4.0 / 3.0 - 0.1 * np.cos(a) ** 2 / 1.1)
            )
            push = pull - 0.05 * turn * np.cos(a) / 1.1
            state = np.stack([x + 0.02 * v, v + 0.02 * push, a + 0.02 * w, w + 0.02 * turn], 1)
            alive = alive & (np.abs(state[:, 2]) < 0.21) & (np.abs(state[:, 0]) < 2.4)
            state = np.where(alive[:, None], state, 0.0)
        return np.array(seen), np.array(acted), np.array(stood)

    def backward(self, generator: torch.Generator) -> float:
        seed = int(torch.randint(0, 2**31, (1,), generator=generator))
        rng = np.random.default_rng(seed)
        seen, acted, stood = self._play(rng.uniform(-0.15, 0.15, (12, 4)), rng)
        to_go = stood[::-1].cumsum(axis=0)[::-1] / self.STEPS
        advantage = (to_go - to_go.mean(axis=1, keepdims=True))[stood]
        logits = self.net(data.floats(seen[stood]))
        action = torch.as_tensor(acted[stood])
        weighted = cross_entropy(logits, action, reduction="none") * data.floats(advantage)
        weighted.mean().backward()
        return -float(stood.mean())

    def measure(self) -> tuple[float, float]:
        if not all(np.isfinite(part).all() for layer in self._layers() for part in layer):
            return math.nan, math.nan
        return tuple(  # type: ignore[return-value]
            -float(self._play(starts, np.random.default_rng(0))[2].mean())
            for starts in (self.starts, self.held)
        )


def pointmass_policy() -> Problem:
    """Steer a point to rest at the origin, through the derivatives of its motion."""

    def loss(net: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        place, speed = batch[0][:, :2], batch[0][:, 2:]
        cost = torch.zeros(())
        for _ in range(12):
            push = torch.tanh(net(torch.cat([place, speed], dim=1)))
            speed = 0.95 * speed + 0.3 * push
            place = place + 0.3 * speed
            cost = cost + place.square().sum(1).mean() + 0.05 * push.square().sum(1).mean()
        return cost / 12.0

    generator = torch.Generator().manual_seed(83)
    x = torch.randn(384, 4, generator=generator)
    net = first_networks.mlp([4, 24, 24, 2], nn.Tanh)
    return Sampled(net, loss, (x[:256],), (x[256:],))
