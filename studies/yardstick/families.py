"""The problem of every family of the plan. It imports PyTorch and scikit-learn."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import nn

from studies import networks as first
from studies import tasks
from studies.families import FAMILIES as FIRST_FAMILIES
from studies.yardstick import data, further, larger, networks
from studies.yardstick import unsupervised as free
from studies.yardstick.optimizers import Flat, Optimizer
from studies.yardstick.problems import MEASURED, Problem, Supervised, varied


def _kept(task: tasks.Task, labels: range) -> tasks.Task:
    """Return the part of a classification whose labels lie in a range, counted from zero."""

    def part(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        inside = (y >= labels.start) & (y < labels.stop)
        return x[inside], y[inside] - labels.start

    return tasks.Task(*part(task.x, task.y), *part(task.x_val, task.y_val), task.loss)


def teach(problem: Problem, steps: int, rate: float, seed: int) -> None:
    """Train a problem's network for a while, with Adam."""
    flat = Flat(problem.net)
    optimizer = Optimizer(flat, "adam", 0.0)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        problem.backward(generator)
        optimizer.step(rate)
    for p in problem.net.parameters():
        p.data, p.grad = p.data.clone(), None


@cache
def _backbone() -> dict[str, torch.Tensor]:
    """A network that was trained on the digits 0 to 4."""
    torch.manual_seed(3)
    net = first.mlp([64, 48, 48, 5], nn.ReLU)
    teach(Supervised(net, _kept(tasks.digits(train=1000), range(5))), 300, 3e-3, 3)
    return {name: value.clone() for name, value in net.state_dict().items()}


def _pretrained() -> nn.Sequential:
    net = first.mlp([64, 48, 48, 5], nn.ReLU)
    net.load_state_dict(_backbone())
    assert isinstance(net, nn.Sequential)
    return net


def _new_digits() -> tasks.Task:
    return _kept(tasks.digits(train=600), range(5, 10))


def _lora() -> nn.Module:
    net = _pretrained()
    for index in (0, 2):
        layer = net[index]
        assert isinstance(layer, nn.Linear)
        net[index] = networks.LowRank(layer, 4)
    net[4] = nn.Linear(48, 5)
    return net


def _head() -> nn.Module:
    net = _pretrained()
    for p in net.parameters():
        p.requires_grad_(False)
    net[4] = nn.Linear(48, 5)
    return net


def _finetuning() -> nn.Module:
    torch_state = torch.random.get_rng_state()
    torch.manual_seed(4)
    net = first.mlp([64, 400, 200, 10], nn.ReLU)
    teach(Supervised(net, tasks.digits(train=600)), 60, 1e-3, 4)
    torch.random.set_rng_state(torch_state)
    return net


def _turned_digits() -> tasks.Task:
    task = tasks.digits()

    def turned(x: torch.Tensor) -> torch.Tensor:
        return x.view(-1, 8, 8).transpose(1, 2).reshape(-1, 64).contiguous()

    return tasks.Task(turned(task.x), task.y, turned(task.x_val), task.y_val, task.loss)


Network = Callable[[], nn.Module]
SUPERVISED: dict[str, tuple[Callable[[], tasks.Task], Network, int]] = {
    "wine_mlp": (data.wine, lambda: first.mlp([13, 20, 3], nn.Tanh), 16),
    "digits_wide": (
        lambda: tasks.digits(train=512),
        lambda: first.mlp([64, 320, 256, 10], nn.ReLU),
        32,
    ),
    "source_lstm": (
        lambda: data.characters(20, 512),
        lambda: networks.CharacterLSTM(64, 16, 48),
        16,
    ),
    "source_transformer": (
        lambda: data.characters(24, 768),
        lambda: first.Transformer((64, 64, 64), 24, 3, True),
        8,
    ),
    "ratings_embedding": (data.ratings, lambda: networks.Factors(200, 120, 320), 128),
    "digits_mixer": (tasks.digits, lambda: networks.Mixer(16, 24, 2, 10), 32),
    "cancer_linear": (tasks.cancer, lambda: nn.Sequential(nn.Linear(30, 2)), 32),
    "digits_experts": (
        lambda: tasks.digits(train=400),
        lambda: networks.Experts(64, 180, 10, 8),
        32,
    ),
    "digits_lora": (_new_digits, _lora, 32),
    "digits_head": (_new_digits, _head, 32),
    "lorenz_gru": (data.lorenz, lambda: networks.SeriesGRU(3, 24, 3), 32),
    "modular_addition": (data.modular_addition, lambda: networks.PairNetwork(23, 24, 64), 64),
    "words_gru": (lambda: data.words(12, 1024, 1000), lambda: networks.WordGRU(1000, 48, 48), 8),
    "patches_autoencoder": (
        data.patch_reconstruction,
        lambda: first.mlp([196, 256, 48, 256, 196], nn.ReLU),
        32,
    ),
    "image_sines": (data.pixels, lambda: networks.Sines(2, 224, 3, 3), 64),
    "digits_finetuning": (_turned_digits, _finetuning, 32),
    "graphs_isomorphism": (data.small_graphs, lambda: networks.Isomorphism(20, 2, 3), 32),
    "delay_series_conv": (data.delay_series, lambda: networks.Delayed(12), 32),
    "sawtooth_deep": (tasks.sawtooth, lambda: first.mlp([1, *[16] * 7, 1], nn.ReLU), 32),
    "digits_resnet": (lambda: tasks.digits(as_image=True), further.ResidualImage, 32),
    **further.SUPERVISED,
    **larger.SUPERVISED,
    "friedman_layernorm": (data.friedman_two, lambda: networks.normed([4, 32, 32, 1]), 32),
}
OTHERS: dict[str, Callable[[], Problem]] = {
    "cartpole_reinforce": free.CartPole,
    "digits_gan": free.Adversarial,
    "digits_diffusion": free.digits_diffusion,
    "poisson_pinn": free.poisson_pinn,
    "digits_metric": free.digits_metric,
    "digits_masked": free.digits_masked,
    "patches_denoising": free.patches_denoising,
    "digits_variational": free.digits_variational,
    "oscillator_pinn": free.oscillator_pinn,
    "digits_contrastive": free.digits_contrastive,
    **further.OTHERS,
    "pointmass_policy": free.pointmass_policy,
}


def problem(family: str, variant: str, seed: int) -> Problem:
    """Return a family's problem with a fresh network, drawn from PyTorch's global generator."""
    if family in OTHERS:
        return OTHERS[family]()
    if family in FIRST_FAMILIES:
        known = FIRST_FAMILIES[family]
        task, net, batch = known.task(), known.network(0.0, False), 32
    else:
        make, network, batch = SUPERVISED[family]
        task, net = make(), network()
    measured = larger.MEASURED_LARGE if family in larger.SUPERVISED else MEASURED
    return Supervised(net, varied(task, variant, seed), batch, measured)
