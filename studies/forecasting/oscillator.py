"""A jump of 2,500 steps in the setting of Dogra and Redman (2020): a network solves an oscillator.

A network 1-10-10-2 with sine units learns x(t) and p(t) of H = p^2/2 + x^2/2 + x^4/4 on [0, 4 pi]
without data, from the residual of Hamilton's equations at 200 times (Mattheakis et al., arXiv
2001.11107); 25 networks per optimizer at PyTorch's default rates, and Adadelta at a tenth of it.
Operators are fitted to iterations 35,001 to 45,000 and jump ahead; the networks themselves train on
to 50,000. The times are either drawn anew around a grid at every step, as in that work, or fixed.

    python -m studies.forecasting.oscillator --cache FOLDER   # 45 minutes
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import torch
from torch import Tensor

import koopscope
from koopscope.errors import KoopscopeError
from koopscope.spectra.accumulating import gram_of
from koopscope.spectra.law_of_motion import law_of_motion

HERE = Path(__file__).parent
ROWS, STEPS = HERE / "oscillator.csv", HERE / "oscillator_steps.json"

OPTIMIZERS = {
    "Adadelta": torch.optim.Adadelta,
    "Adam": torch.optim.Adam,
    "Adagrad": torch.optim.Adagrad,
    "Adadelta, rate 0.1": partial(torch.optim.Adadelta, lr=0.1),
}
SPREADS = {"drawn": 0.377, "fixed": 0.0}  # of a time, in grid spacings
COURSES = [("drawn", name) for name in OPTIMIZERS] + [
    ("fixed", name) for name in ("Adadelta", "Adam", "Adagrad")
]
SEEDS = 25
LAYERS = ((1, 10), (10, 10), (10, 2))
SHAPES: dict[str, tuple[int, ...]] = {}
for _place, (_fan_in, _fan_out) in enumerate(LAYERS, 1):
    SHAPES |= {f"{_place}.weight": (_fan_out, _fan_in), f"{_place}.bias": (_fan_out,)}
END, X0, P0, POINTS = 4.0 * math.pi, 1.3, 1.0, 200
ITERATIONS, WINDOW, KEPT = 50_000, 10_000, 15_000
JUMP, JUMPS = 2_500, (250, 500, 1_000, 2_500, 5_000)
#: Steps between the snapshots that koopscope is given: of 25, 50, 100, 250 and 500, about the best
#: on the first four networks of Adadelta with drawn times; not chosen again for the others.
SPACING = 250

Array = np.ndarray
Parameters = Sequence[Tensor]


def initial_weights(seeds: int) -> list[Tensor]:
    """Return each layer's weights and biases as PyTorch starts them, the networks side by side."""
    networks = []
    for seed in range(seeds):
        torch.manual_seed(seed)
        linear = [torch.nn.Linear(*sizes) for sizes in LAYERS]
        networks.append([value.detach() for layer in linear for value in layer.parameters()])
    return [torch.stack(same).requires_grad_() for same in zip(*networks, strict=True)]


def losses(parameters: Parameters, t: Tensor) -> Tensor:
    """Return [networks], the mean squared residual of Hamilton's equations at times [n, m, 1].

    The derivative with respect to time is carried forward through the layers, which is faster than
    differentiating twice.
    """
    value, slope = t, torch.ones_like(t)
    for layer, (weight, bias) in enumerate(zip(parameters[::2], parameters[1::2], strict=True)):
        value = torch.baddbmm(bias[:, None], value, weight.mT)
        slope = slope * weight.mT if layer == 0 else torch.bmm(slope, weight.mT)
        if layer < len(LAYERS) - 1:
            value, slope = torch.sin(value), torch.cos(value) * slope
    falling = torch.exp(-t)
    position, momentum = (
        start + (1.0 - falling) * value[..., [k]] for k, start in enumerate((X0, P0))
    )
    velocity, force = (
        falling * value[..., [k]] + (1.0 - falling) * slope[..., [k]] for k in range(2)
    )
    residuals = (velocity - momentum) ** 2 + (force + position + position**3) ** 2
    return residuals.mean((1, 2))


def grid(networks: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.linspace(0.0, END, POINTS, dtype=dtype)[None, :, None].expand(networks, -1, -1)


class Training:
    """Networks side by side under one optimizer; all of these work on each weight alone."""

    def __init__(self, optimizer: str, spread: float, networks: int) -> None:
        self.parameters = initial_weights(networks)
        self.optimizer = OPTIMIZERS[optimizer](self.parameters)
        self.generator = torch.Generator().manual_seed(7)
        self.grid = grid(networks)
        self.spread = spread * END / (POINTS - 1)

    def times(self) -> Tensor:
        if not self.spread:
            return self.grid
        drawn = self.grid + self.spread * torch.randn(self.grid.shape, generator=self.generator)
        drawn = drawn.abs()
        return torch.where(drawn > END, 2.0 * END - drawn, drawn)

    def step(self) -> None:
        self.optimizer.zero_grad()
        losses(self.parameters, self.times()).sum().backward()
        self.optimizer.step()

    def weights(self) -> Array:
        """Return float32 [networks, 152]."""
        return torch.cat([p.detach().flatten(1) for p in self.parameters], 1).numpy().copy()


def trained(optimizer: str, spread: float) -> Array:
    """Return float32 [KEPT, networks, 152], the weights after each of the last iterations."""
    training = Training(optimizer, spread, SEEDS)
    kept = []
    for iteration in range(ITERATIONS):
        training.step()
        if iteration >= ITERATIONS - KEPT:
            kept.append(training.weights())
    return np.array(kept)


def seconds_alone(optimizer: str, spread: float) -> dict[str, list[float]]:
    """Return processor times of one network alone, three times each.

    ``steps``: of JUMP steps; ``snapshots``: of taking the WINDOW snapshots, kept in memory.
    """
    training = Training(optimizer, spread, 1)

    def taken(times: int, act: Callable[[], object]) -> float:
        started = time.process_time()
        for _ in range(times):
            act()
        return round(time.process_time() - started, 3)

    taken(200, training.step)
    return {
        "steps": [taken(JUMP, training.step) for _ in range(3)],
        "snapshots": [taken(WINDOW, training.weights) for _ in range(3)],
    }


def _blocks() -> dict[str, list[Array]]:
    """Return the weights that each operator holds together, a unit's bias with its weights."""
    nodes, layers, start = [], [], 0
    for fan_in, fan_out in LAYERS:
        matrix = start + np.arange(fan_in * fan_out).reshape(fan_out, fan_in)
        biases = matrix.size + start + np.arange(fan_out)
        units = np.column_stack([matrix, biases])
        nodes += list(units)
        layers.append(units.ravel())
        start = biases[-1] + 1
    return {"node": nodes, "layer": layers, "network": [np.arange(start)]}


BLOCKS = _blocks()


@dataclass(frozen=True)
class Fit:
    """Where the weights will be so many steps later; the largest |eigenvalue| per step, if any."""

    after: Callable[[int], Array]
    growth: Callable[[], float] = lambda: math.nan


def seen(window: Array, spacing: int, averaged: bool) -> Array:
    """Return every so-manieth snapshot, the last among them, or the means of so many."""
    if not averaged:
        return window[::-1][::spacing][::-1].astype(np.float64)
    whole = len(window) // spacing * spacing
    return window[-whole:].reshape(-1, spacing, window.shape[1]).mean(1, dtype=np.float64)


def published(window: Array, spacing: int = 1, averaged: bool = False) -> Fit:
    """U = F' pinv(F) per node, raised to the jump: Dogra and Redman's own, in plain NumPy."""
    snapshots = seen(window, spacing, averaged)
    operators = []
    for block in BLOCKS["node"]:
        F = snapshots[:, block].T
        exact = F.shape[1] * np.finfo(np.float64).eps  # as MATLAB's pinv, which they used
        U = F[:, 1:] @ np.linalg.pinv(F[:, :-1], rcond=exact)
        operators.append((block, U, F[:, -1]))

    late = (spacing - 1) / 2 if averaged else 0.0

    def after(jump: int) -> Array:
        rest, whole = math.modf((jump + late) / spacing)
        reached = np.empty(window.shape[1])
        for block, U, last in operators:
            state = np.linalg.matrix_power(U, int(whole)) @ last
            reached[block] = state + rest * (U @ state - state)
        return reached

    def growth() -> float:
        largest = max(np.abs(np.linalg.eigvals(U)).max() for _, U, _ in operators)
        return largest ** (1.0 / spacing)

    return Fit(after, growth)


def koopman(window: Array, operator: str, averaged: bool) -> Fit:
    """koopscope's law of the increments, per block; a mean lies half its length in the past."""
    snapshots = seen(window, SPACING, averaged)
    increments = np.diff(snapshots, axis=0)
    laws = [(block, law_of_motion(gram_of(snapshots[:, block]))) for block in BLOCKS[operator]]
    late = (SPACING - 1) / 2 if averaged else 0.0

    def after(jump: int) -> Array:
        reached = snapshots[-1].copy()
        for block, law in laws:
            combination = law.coefficients([(jump + late) / SPACING])[:, 0]
            reached[block] += combination @ increments[:, block]
        return reached

    def growth() -> float:
        largest = max(np.abs(law.eigenvalues).max(initial=0.0) for _, law in laws)
        return largest ** (1.0 / SPACING)

    return Fit(after, growth)


def straight_line(window: Array, averaged: bool) -> Fit:
    """The mean increment of the last half of the window, kept up."""
    snapshots = seen(window, SPACING, averaged)
    half = len(snapshots) // 2
    slope = (snapshots[-1] - snapshots[-1 - half]) / (half * SPACING)
    late = (SPACING - 1) / 2 if averaged else 0.0
    return Fit(lambda jump: snapshots[-1] + (jump + late) * slope)


def moving_average(window: Array, decay: float = 0.999) -> Fit:
    """The exponential average of the weights: where training is, without its noise."""
    shares = decay ** np.arange(len(window))[::-1]
    average = shares / shares.sum() @ window
    return Fit(lambda jump: average)


METHODS: dict[str, Callable[[Array], Fit]] = {
    "no change": lambda window: Fit(lambda jump: window[-1].astype(np.float64)),
    "EMA": moving_average,
    "straight line": partial(straight_line, averaged=False),
    "straight line, means": partial(straight_line, averaged=True),
    "published node": published,
    "published node, thinned": partial(published, spacing=SPACING),
    "published node, means": partial(published, spacing=SPACING, averaged=True),
}
for _name in BLOCKS:
    METHODS[_name] = partial(koopman, operator=_name, averaged=False)
    METHODS[f"{_name}, means"] = partial(koopman, operator=_name, averaged=True)


def whole_command(course: Array, folder: Path) -> dict[str, str]:
    """Return what ``koopscope.forecast`` makes of the recorded window, as it comes.

    Its time holds everything: reading the file, choosing how many snapshots to pool, the law, the
    predicted weights, and the test of the same forecast on the run's own past.
    """
    path = folder / "run.h5"
    bounds = np.cumsum([0, *map(math.prod, SHAPES.values())])
    with h5py.File(path, "w") as file:
        file["step"] = np.arange(ITERATIONS - KEPT + 1, ITERATIONS - KEPT + WINDOW + 1)
        for (name, shape), (a, b) in zip(SHAPES.items(), pairwise(bounds), strict=True):
            file[name] = course[:WINDOW, a:b].reshape(-1, *shape)
    reached, found = np.full((len(JUMPS), course.shape[1]), np.nan), {}
    for k, jump in enumerate(JUMPS):
        target = ITERATIONS - KEPT + WINDOW + jump
        started = time.process_time()
        try:
            predicted = koopscope.forecast(path, target, beyond_trust=True)
        except KoopscopeError as error:
            found[f"trusted_{jump}"] = error.message
            continue
        milliseconds = 1e3 * (time.process_time() - started)
        reached[k] = np.concatenate([predicted.weights[name].ravel() for name in SHAPES])
        found[f"trusted_{jump}"] = str(predicted.forecast.is_trusted).lower()
        if jump == JUMP:
            found["fit_and_jump_ms"] = f"{milliseconds:.3g}"
    truth = course[[WINDOW + jump - 1 for jump in JUMPS]].astype(np.float64)
    row = row_of(reached, truth, course[WINDOW - 1].astype(np.float64))
    return {"method": "koopscope forecast"} | row | found


def loss_of(weights: Array) -> Array:
    """Return [networks], the loss of weights [networks, 152] on the grid, in float64."""
    bounds = np.cumsum([0, *map(math.prod, SHAPES.values())])
    flat = torch.from_numpy(np.asarray(weights, np.float64))
    parameters = [
        flat[:, a:b].reshape(-1, *shape)
        for (a, b), shape in zip(pairwise(bounds), SHAPES.values(), strict=True)
    ]
    return losses(parameters, grid(len(flat), torch.float64)).numpy()


def row_of(reached: Array, truth: Array, now: Array) -> dict[str, str]:
    """Return error and loss after each jump; the error is relative to that of "no change"."""
    off = np.linalg.norm(reached - truth, axis=1) / np.linalg.norm(now - truth, axis=1)
    found = {f"error_{jump}": f"{value:.4g}" for jump, value in zip(JUMPS, off, strict=True)}
    lost = loss_of(reached)
    return found | {f"loss_{jump}": f"{value:.4g}" for jump, value in zip(JUMPS, lost, strict=True)}


def rows_of(course: Array) -> list[dict[str, str]]:
    """Return what each method made of one network's course, float32 [KEPT, 152]."""
    window = course[:WINDOW]
    ends = [WINDOW + jump for jump in JUMPS]
    truth = course[[end - 1 for end in ends]].astype(np.float64)
    now = window[-1].astype(np.float64)
    mean = np.array([course[end - SPACING : end].mean(0, dtype=np.float64) for end in ends])
    rows = [
        {"method": "trained"} | row_of(truth, truth, now),
        {"method": "trained, mean"} | row_of(mean, truth, now),
    ]
    for method, fitted in METHODS.items():
        started = time.process_time()
        fit = fitted(window)
        fit.after(JUMP)
        milliseconds = 1e3 * (time.process_time() - started)
        with np.errstate(over="ignore", invalid="ignore"):
            reached = np.array([fit.after(jump) for jump in JUMPS])
            row = row_of(reached, truth, now)
        extra = {"growth": f"{fit.growth():.6g}", "fit_and_jump_ms": f"{milliseconds:.3g}"}
        rows.append({"method": method} | row | extra)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, required=True)
    cache = parser.parse_args().cache
    cache.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    rows: list[dict[str, str]] = []
    seconds: dict[str, dict[str, dict[str, list[float]]]] = {}
    for times, optimizer in COURSES:
        stored = cache / f"{optimizer}-{times}.npy"
        if not stored.exists():
            np.save(stored, trained(optimizer, SPREADS[times]))
        courses = np.load(stored, mmap_mode="r")
        for seed in range(SEEDS):
            named = {"times": times, "optimizer": optimizer, "seed": str(seed)}
            course = np.ascontiguousarray(courses[:, seed])
            rows += [named | row for row in (*rows_of(course), whole_command(course, cache))]
        taken = seconds_alone(optimizer, SPREADS[times])
        seconds.setdefault(times, {})[optimizer] = taken
        print(times, optimizer, taken, file=sys.stderr, flush=True)
    with ROWS.open("w", newline="", encoding="utf-8") as file:
        columns = dict.fromkeys(name for row in rows for name in row)
        writer = csv.DictWriter(file, list(columns), lineterminator="\n", restval="")
        writer.writeheader()
        writer.writerows(rows)
    STEPS.write_text(json.dumps(seconds, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
