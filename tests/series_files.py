"""Small trajectories written as series of checkpoints, by NumPy and h5py alone."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np

SHAPES = {"first.weight": (6, 4), "first.bias": (6,), "last.weight": (2, 6)}


def trajectory(snapshots: int = 12, dtype: str = "float32") -> dict[str, np.ndarray]:
    """Return [T, *shape] arrays of a decaying, turning motion."""
    rng = np.random.default_rng(5)
    times = np.arange(snapshots)
    found = {}
    for name, shape in SHAPES.items():
        start, away, turn = rng.normal(size=(3, *shape))
        motion = np.multiply.outer(0.8**times, away)
        motion += np.multiply.outer(0.95**times * np.cos(0.4 * times), turn)
        found[name] = (start + motion).astype(dtype)
    return found


def write_safetensors(
    path: Path, tensors: dict[str, np.ndarray], said: dict[str, str] | None = None
) -> Path:
    """Write the format from its specification, so that tests can damage every part of it."""
    names = {"float16": "F16", "float32": "F32", "float64": "F64", "uint16": "BF16", "int64": "I64"}
    header: dict[str, object] = {"__metadata__": said} if said else {}
    offset = 0
    for name, values in tensors.items():
        end = offset + values.nbytes
        header[name] = {
            "dtype": names[values.dtype.name],
            "shape": list(values.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    return write_raw_safetensors(
        path, header, b"".join(values.tobytes() for values in tensors.values())
    )


def write_raw_safetensors(path: Path, header: object, data: bytes) -> Path:
    """Write a header, right or wrong, and bytes."""
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def write_series(folder: Path, suffix: str, snapshots: int = 12) -> list[Path]:
    """Write ``epoch_1`` ... as .safetensors, .npz or .h5."""
    folder.mkdir(exist_ok=True)
    run = trajectory(snapshots)
    paths = []
    for t in range(snapshots):
        tensors = {name: values[t] for name, values in run.items()}
        path = folder / f"epoch_{t + 1}{suffix}"
        if suffix == ".safetensors":
            write_safetensors(path, tensors)
        elif suffix == ".npz":
            np.savez(path, **tensors)
        else:
            with h5py.File(path, "w") as file:
                for name, values in tensors.items():
                    file[name] = values
        paths.append(path)
    return paths
