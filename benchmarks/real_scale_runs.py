"""Train three real networks of about ten million weights and record 100 snapshots of each.

Their layers differ in scale by construction: input, hidden and output layers, biases and
normalisations, embeddings. Each is trained twice: on one fixed batch, so that the dynamics is
deterministic (``full``), and on minibatches (``mini``). Needs torch and scikit-learn. 4 GB per run,
nothing is committed.

    python -m benchmarks.real_scale_runs FOLDER [mlp-full mlp-mini cnn-full ...]
"""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional

from koopscope import Recorder

SNAPSHOTS = 100
Batches = Iterator[tuple[Tensor, Tensor]]


def digits(size: int, as_images: bool) -> Batches:
    data = load_digits()
    images = torch.tensor(data.images / 16.0, dtype=torch.float32)
    inputs = images[:, None] if as_images else images.flatten(1)
    labels = torch.tensor(data.target)
    generator = torch.Generator().manual_seed(0)
    while True:
        chosen = torch.randint(len(inputs), (size,), generator=generator)
        yield inputs[chosen], labels[chosen]


def source_text(size: int, length: int) -> Batches:
    """Characters of the standard library's own source code."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    text = "".join(path.read_text("utf-8", "ignore") for path in sorted(folder.glob("*.py"))[:60])
    codes = torch.tensor([min(ord(letter), 127) for letter in text])
    generator = torch.Generator().manual_seed(0)
    while True:
        starts = torch.randint(len(codes) - length - 1, (size,), generator=generator).tolist()
        windows = torch.stack([codes[start : start + length + 1] for start in starts])
        yield windows[:, :-1], windows[:, 1:]


def mlp() -> nn.Module:
    return nn.Sequential(
        nn.Linear(64, 2230), nn.ReLU(), nn.Linear(2230, 2230), nn.ReLU(),
        nn.Linear(2230, 2230), nn.ReLU(), nn.Linear(2230, 10),
    )  # fmt: skip


def cnn() -> nn.Module:
    def stage(inputs: int, outputs: int) -> list[nn.Module]:
        return [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]

    return nn.Sequential(
        *stage(1, 256), nn.MaxPool2d(2), *stage(256, 512), nn.MaxPool2d(2),
        *stage(512, 512), *stage(512, 512), *stage(512, 768), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(768, 768), nn.ReLU(), nn.Linear(768, 10),
    )  # fmt: skip


class Transformer(nn.Module):
    def __init__(self, width: int = 384, depth: int = 6, length: int = 32) -> None:
        super().__init__()
        self.letters = nn.Embedding(128, width)
        self.places = nn.Parameter(0.02 * torch.randn(length, width))
        layer = nn.TransformerEncoderLayer(
            width, 6, 4 * width, dropout=0.0, batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.head = nn.Linear(width, 128)
        self.register_buffer("mask", torch.full((length, length), float("-inf")).triu(1), False)

    def forward(self, codes: Tensor) -> Tensor:
        hidden = self.blocks(self.letters(codes) + self.places, mask=self.mask)
        return self.head(hidden).flatten(0, 1)


def train(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Batches,
    steps_between: int,
) -> None:
    recorder = Recorder(path, metadata={"case": path.stem})
    for step in range(SNAPSHOTS * steps_between):
        inputs, targets = next(batches)
        loss = functional.cross_entropy(model(inputs), targets.flatten())
        if step % steps_between == 0:
            recorder.snapshot(step, model.state_dict(), loss=loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"{path}: {sum(p.numel() for p in model.parameters())} weights, loss {loss.item():.3f}")


def repeated(batches: Batches) -> Batches:
    """The first batch for ever: full-batch training on a small set."""
    batch = next(batches)
    while True:
        yield batch


def run_mlp(path: Path, full: bool) -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    if full:
        train(path, model, optimizer, repeated(digits(256, as_images=False)), 1)
    else:
        train(path, model, optimizer, digits(64, as_images=False), 4)


def run_cnn(path: Path, full: bool) -> None:
    model = cnn()
    batches = digits(16, as_images=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    train(path, model, optimizer, repeated(batches) if full else batches, 1)


def run_transformer(path: Path, full: bool) -> None:
    model = Transformer()
    batches = source_text(8, 32)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4)
    train(path, model, optimizer, repeated(batches) if full else batches, 1)


CASES: dict[str, Callable[[Path, bool], None]] = {
    "mlp": run_mlp,
    "cnn": run_cnn,
    "transformer": run_transformer,
}


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[2:] or [f"{case}-{kind}" for case in CASES for kind in ("full", "mini")]:
        case, kind = name.split("-")
        torch.manual_seed(0)
        CASES[case](folder / f"{name}.h5", kind == "full")


if __name__ == "__main__":
    main()
