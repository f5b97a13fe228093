"""PyTorch's ``.pt``, ``.pth`` and ``.bin`` files and Lightning's ``.ckpt``, through PyTorch itself.

Always ``weights_only=True``: a pickle that would run code is refused by PyTorch's restricted
unpickler before anything runs. Bytes are mapped, not read, until a part of a tensor is wanted.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from koopscope.errors import KoopscopeError
from koopscope.runs.checkpoints.safetensors import read_index
from koopscope.runs.checkpoints.snapshot import Snapshot, Unit, plain_names
from koopscope.runs.dtypes import STORED_AS
from koopscope.runs.run import FloatArray, Skipped, TensorInfo, usual_kind

#: Where training programs keep the weights in a checkpoint, first found first taken.
_STATE_DICTS = ("state_dict", "model_state_dict", "model", "module", "net", "network", "weights")
_STEPS: dict[str, Unit] = {
    "global_step": "step",
    "step": "step",
    "iteration": "step",
    "iter": "step",
    "num_updates": "step",
    "epoch": "epoch",
}
_METRICS = ("loss", "train_loss", "val_loss", "accuracy", "val_accuracy", "lr")
_NOT_WEIGHTS = re.compile(r"optim|sched|scaler|ema|rng|callback|loops|hyper", re.IGNORECASE)

_SAVE_WEIGHTS = "save the weights alone: torch.save(model.state_dict(), path)"


def torch_snapshot(path: Path) -> Snapshot:
    """Describe a file that ``torch.save`` wrote.

    Raises
    ------
    KoopscopeError
        If PyTorch is missing, refuses the file, or finds no weights in it.
    """
    return _snapshot(path, [path], "PyTorch")


def sharded_torch_snapshot(index: Path) -> Snapshot:
    """Describe a sharded set by its ``pytorch_model.bin.index.json``.

    Raises
    ------
    KoopscopeError
        If the index or a shard is missing or damaged, or they disagree.
    """
    weight_map = read_index(index)
    shards = [index.with_name(name) for name in dict.fromkeys(weight_map.values())]
    for shard in shards:
        if not shard.is_file():
            raise KoopscopeError(
                f"the shard {shard} is missing, which {index.name} names",
                "copy the whole checkpoint",
            )
    snapshot = _snapshot(index, shards, "sharded PyTorch")
    known = {tensor.name for tensor in snapshot.tensors} | {s.name for s in snapshot.skipped}
    for name in plain_names(list(weight_map)).values():
        if name not in known:
            raise KoopscopeError(
                f"{name} is in none of the shards of {index}", "copy the whole checkpoint"
            )
    return snapshot


def _snapshot(path: Path, files: Sequence[Path], kind: str) -> Snapshot:
    tensors: list[TensorInfo] = []
    skipped: list[Skipped] = []
    step: int | None = None
    unit: Unit = "step"
    metrics: dict[str, float] = {}
    for file in files:
        content = _load(file)
        if "pytorch-lightning_version" in content:
            kind = "Lightning checkpoint"
        for key, value in content.items():
            if key in _METRICS and isinstance(value, (int, float)):
                metrics[key] = float(value)
        for name, named_unit in _STEPS.items():
            if step is None and type(content.get(name)) is int:
                step, unit = content[name], named_unit
        weights, left_out = _weights(file, content)
        skipped += left_out
        owners: dict[Any, str] = {}
        for name, tensor in weights.items():
            found = _described(name, tensor)
            if not isinstance(found, str):
                place = (tensor.data_ptr(), tensor.stride(), tuple(tensor.shape))
                owner = owners.setdefault(place, name)
                found = found if owner == name else f"tied to {owner}"
            if isinstance(found, str):
                skipped.append(Skipped(name, found))
            else:
                tensors.append(found)
    return Snapshot(
        path=str(path),
        kind=kind,
        tensors=tuple(tensors),
        open=partial(_TorchReader, files),
        step=step,
        unit=unit,
        metrics=metrics,
        skipped=tuple(skipped),
    )


class _TorchReader:
    """Files mapped into memory."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._tensors: dict[str, tuple[Path, Any]] = {}
        for file in files:
            weights, _ = _weights(file, _load(file))
            self._tensors |= {name: (file, tensor) for name, tensor in weights.items()}

    def read(self, tensor: TensorInfo, start: int, stop: int, out: FloatArray) -> None:
        """Fill ``out`` (stop - start) with those weights of the flattened tensor."""
        path, values = self._tensors[tensor.name]
        if not values.is_contiguous():
            values = values.contiguous()
            self._tensors[tensor.name] = (path, values)
        part = values.reshape(-1)[start:stop]
        out[...] = (part.float() if tensor.dtype == "bfloat16" else part).numpy()

    def close(self) -> None:
        """Unmap the files."""
        self._tensors.clear()


def _load(path: Path) -> Mapping[Any, Any]:
    try:
        torch = import_module("torch")
    except ImportError:
        raise KoopscopeError(
            f"{path} can only be read with PyTorch, which is not installed",
            "pip install 'koopscope[torch]'",
        ) from None
    load = partial(torch.load, path, map_location="cpu", weights_only=True)
    try:
        try:
            content = load(mmap=True)
        except RuntimeError as error:
            if "mmap can only be used" not in str(error):
                raise
            content = load()  # written before PyTorch 1.6: cannot be mapped
    except pickle.UnpicklingError as error:
        raise KoopscopeError(f"{path} is refused: {_reason(error)}", _SAVE_WEIGHTS) from None
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, AttributeError) as error:
        said = str(error).strip().splitlines()
        raise KoopscopeError(
            f"{path} cannot be read by PyTorch: {said[0] if said else type(error).__name__}",
            "the file is damaged or incomplete, or no PyTorch file; save or copy it again",
        ) from None
    if not isinstance(content, Mapping):
        raise KoopscopeError(
            f"{path} holds a {type(content).__name__}, not named tensors", _SAVE_WEIGHTS
        )
    return content


def _reason(error: pickle.UnpicklingError) -> str:
    named = re.search(r"GLOBAL ([\w.]+)|class ([\w.]+)", str(error))
    if named is None:
        return "it is no file of weights alone"
    return f"it needs {named[1] or named[2]}, and reading it could run code"


def _weights(path: Path, content: Mapping[Any, Any]) -> tuple[dict[str, Any], list[Skipped]]:
    """Return the tensors by name, and what else the file holds."""
    state, key = _state_dict(content)
    if not state:
        listed = ", ".join(str(key) for key in list(content)[:8])
        raise KoopscopeError(
            f"{path} holds no weights under a name that is known: {listed}", _SAVE_WEIGHTS
        )
    shown = plain_names(list(state))
    rest = [str(name) for name in content if name != key and key is not None]
    skipped = [Skipped(name, "not the weights") for name in rest]
    return {shown[name]: tensor for name, tensor in state.items()}, skipped


def _state_dict(content: Mapping[Any, Any]) -> tuple[dict[str, Any], Any]:
    """Return named tensors and the key they lie under, ``None`` for the top."""
    if any(_is_tensor(value) for value in content.values()):
        found = {str(k): v for k, v in content.items() if _is_tensor(v)}
        return found, None
    for key in _STATE_DICTS:
        nested = dict(_nested(content.get(key)))
        if nested:
            return nested, key
    parts = {
        f"{key}/{name}": tensor
        for key, value in content.items()
        if not _NOT_WEIGHTS.search(str(key))
        for name, tensor in _nested(value)
    }
    return parts, None


def _nested(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for name, tensor in value.items():
            if _is_tensor(tensor):
                yield str(name), tensor
            elif isinstance(tensor, Mapping):
                for inner, deep in _nested(tensor):
                    yield f"{name}/{inner}", deep


def _is_tensor(value: Any) -> bool:
    return hasattr(value, "untyped_storage") or hasattr(value, "is_sparse")


def _described(name: str, tensor: Any) -> TensorInfo | str:
    dtype = str(tensor.dtype).rpartition(".")[2]
    if dtype not in STORED_AS:
        return f"{dtype} values, not floats that are recorded"
    if str(tensor.layout) != "torch.strided":
        return f"{str(tensor.layout).rpartition('.')[2]} layout, not a plain array"
    if type(tensor).__name__ not in ("Tensor", "Parameter"):
        return f"a {type(tensor).__name__}, not a plain array"
    if tensor.numel() == 0:
        return f"no elements (shape {list(tensor.shape)})"
    if tensor.untyped_storage().nbytes() < tensor.numel() * tensor.element_size():
        return f"declared as {list(tensor.shape)}, more values than the file stores"
    return TensorInfo(name, tuple(tensor.shape), dtype, usual_kind(name))
