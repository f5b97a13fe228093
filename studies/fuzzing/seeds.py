"""Sound little files of every kind that koopscope reads, for the mutations to damage."""

from __future__ import annotations

import io
import json
import shutil
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from studies.fuzzing.sealed import event_file, events, member_of

SNAPSHOTS = 12

#: What is done to a run or a folder of checkpoints; ``{in}`` is it, ``{out}`` an empty folder.
CHECKPOINT_VERBS = (
    "inspect {in}",
    "inspect {in} -f json",
    "analyze {in} --no-cache",
    "check {in} --isolated --no-cache -f github",
    "prune {in} --sparsity 0.5 -o {out}/masks.npz",
    "forecast {in} --ahead 1 -o {out}/weights.h5",
    "convert {in} -o {out}/run.h5",
    "watch {in} --once",
)
RUN_VERBS = tuple(verb for verb in CHECKPOINT_VERBS if not verb.startswith("convert"))


@dataclass(frozen=True)
class Seed:
    """Files by name, the one that is damaged, and the commands that read it.

    ``wrap`` makes the file of what was damaged, where a checksum would give the damage away.
    """

    name: str
    files: Mapping[str, bytes]
    damaged: str
    commands: tuple[str, ...] = RUN_VERBS
    is_text: bool = False
    wrap: Callable[[bytes], bytes] | None = None


def _weights(step: int) -> dict[str, Any]:
    a, b = 0.9**step, 0.97**step
    first = np.outer(np.arange(1.0, 5.0), np.ones(3)) * a + b
    return {"first.weight": first.astype("f4"), "second.bias": np.full(4, b, "f4")}


def _stack() -> dict[str, Any]:
    rows = [_weights(step) for step in range(SNAPSHOTS)]
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def _hdf5(fill: Callable[[h5py.File], None], **options: Any) -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", **options) as file:
        fill(file)
    return buffer.getvalue()


def _recorded(folder: Path, **kinds: Any) -> bytes:
    from koopscope import Recorder

    path = folder / "recorded.h5"
    path.unlink(missing_ok=True)
    recorder = Recorder(path, metadata={"lr": 0.1, "note": "plain"}, **kinds)
    for step in range(SNAPSHOTS):
        recorder.snapshot(step * 10, _weights(step), loss=0.9**step, val_loss=0.91**step)
    return path.read_bytes()


def _run(file: h5py.File) -> None:
    file.attrs["format"], file.attrs["format_version"] = "koopscope-run", "1.0"
    file.attrs["metadata"] = '{"lr": 0.1}'
    file["step"] = np.arange(SNAPSHOTS)
    for name, values in _stack().items():
        packed = {"compression": "gzip", "shuffle": True, "fletcher32": True}
        file.create_dataset(f"weights/{name}", data=values, chunks=(3, *values.shape[1:]), **packed)
    file["metrics/loss"] = 0.9 ** np.arange(SNAPSHOTS)


def _groups(file: h5py.File) -> None:
    for step in range(SNAPSHOTS):
        group = file.create_group(f"step_{step}")
        group.attrs["step"] = step
        group["loss"] = 0.9**step
        for name, values in _weights(step).items():
            group[name] = values


def _stacked(file: h5py.File) -> None:
    file["step"] = np.arange(SNAPSHOTS)
    file["loss"] = 0.9 ** np.arange(SNAPSHOTS)
    for name, values in _stack().items():
        file[name] = values


def _keras3(step: int) -> bytes:
    def fill(file: h5py.File) -> None:
        weights = _weights(step)
        file["layers/dense/vars/0"] = weights["first.weight"]
        file["layers/dense/vars/1"] = weights["second.bias"]
        file["layers/dense/vars"].attrs["name"] = "dense"
        file["optimizer/vars/0"] = step

    return _hdf5(fill)


def _legacy(step: int) -> bytes:
    def fill(file: h5py.File) -> None:
        file.attrs["layer_names"] = np.array([b"dense"])
        group = file.create_group("dense")
        group.attrs["weight_names"] = np.array([b"dense/kernel:0", b"dense/bias:0"])
        group["dense/kernel:0"] = _weights(step)["first.weight"]
        group["dense/bias:0"] = _weights(step)["second.bias"]

    return _hdf5(fill)


def _archive(step: int) -> bytes:
    buffer = io.BytesIO()
    layer = {"class_name": "Dense", "config": {"name": "mine"}}
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", json.dumps({"config": {"layers": [layer]}}))
        archive.writestr("model.weights.h5", _keras3(step))
    return buffer.getvalue()


def safetensors(tensors: Mapping[str, Any], metadata: Mapping[str, str] | None = None) -> bytes:
    """Return the bytes of a safetensors file."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    data = b""
    for name, values in tensors.items():
        raw = np.asarray(values, "<f4").tobytes()
        offsets = [len(data), len(data) + len(raw)]
        header[name] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": offsets}
        data += raw
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def _safetensors(step: int) -> bytes:
    return safetensors(_weights(step), {"step": str(step)})


def _npz(step: int, save: Callable[..., None], **more: Any) -> bytes:
    buffer = io.BytesIO()
    save(buffer, step=np.int64(step), **more, **_weights(step))
    return buffer.getvalue()


def _series(name: str, suffix: str, make: Callable[[int], bytes], **options: Any) -> Seed:
    files = {f"s/ckpt_{step}{suffix}": make(step) for step in range(SNAPSHOTS)}
    options.setdefault("commands", CHECKPOINT_VERBS)
    return Seed(name, files, f"s/ckpt_0{suffix}", **options)


def _folder(damaged: str) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for step in (1, 2, 3, 4, 5):
        log = [{"step": k, "loss": 0.9**k, "epoch": 1.0} for k in range(step + 1)]
        home = f"s/checkpoint-{step}"
        state = json.dumps({"global_step": step, "log_history": log}).encode()
        files[f"{home}/trainer_state.json"] = state
        shard = "model-00001-of-00001.safetensors"
        files[f"{home}/{shard}"] = safetensors(_weights(step))
        index = {"weight_map": dict.fromkeys(_weights(step), shard)}
        files[f"{home}/model.safetensors.index.json"] = json.dumps(index).encode()
    assert damaged in files
    return files


def seeds(folder: Path) -> list[Seed]:
    """Return every seed; ``folder`` is for files that can only be made on disk."""
    return [*_plain(folder), *_sealed(), *_written(folder)]


def _sealed() -> list[Seed]:
    """Return seeds of what lies behind checksums."""
    converting = ("convert {in} --metrics {damaged} -o {out}/run.h5",)
    weights = {f"s/ckpt_{step}.npz": _npz(step, np.savez) for step in range(3)}
    log = "events.out.tfevents.1.host"
    array, packed = member_of(_npz(0, np.savez), "first.weight.npy")
    config, packed_config = member_of(_archive(0), "config.json")
    archives = {f"s/ckpt_{step}.keras": _archive(step) for step in range(SNAPSHOTS)}
    return [
        Seed("event file", weights | {log: event_file(events(range(3)))}, log, converting),
        Seed("event", weights | {log: events(range(3))}, log, converting, wrap=event_file),
        Seed("array in npz", {**weights, "s/ckpt_0.npz": array}, "s/ckpt_0.npz",
             CHECKPOINT_VERBS, wrap=packed),
        Seed("configuration in Keras archive", {**archives, "s/ckpt_0.keras": config},
             "s/ckpt_0.keras", CHECKPOINT_VERBS[:2], is_text=True, wrap=packed_config),
    ]  # fmt: skip


def _written(folder: Path) -> list[Seed]:
    """Return seeds that PyTorch and koopscope write, in a process of their own."""
    place = folder / "written"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    run = _recorded(folder)
    (place / "s.h5").write_bytes(run)
    command = [sys.executable, "-m", "studies.fuzzing.written", str(place)]
    subprocess.run(command, check=True, capture_output=True)

    def under(name: str) -> dict[str, bytes]:
        paths = sorted(path for path in (place / name).rglob("*") if path.is_file())
        return {f"s/{path.relative_to(place / name)}": path.read_bytes() for path in paths}

    archives, shards = under("archive"), under("distributed")
    pickle, packed = member_of(archives["s/ckpt_1.pt"], "data.pkl")
    opened = CHECKPOINT_VERBS
    report, cache = (place / "report.json").read_bytes(), "s.h5.koopscope-cache"
    beside = {"s.h5": run, cache: (place / cache).read_bytes()}
    return [
        Seed("torch archive", archives, "s/ckpt_1.pt", opened),
        Seed("pickle in torch archive", {**archives, "s/ckpt_1.pt": pickle}, "s/ckpt_1.pt", opened,
             wrap=packed),
        Seed("torch stream", under("stream"), "s/ckpt_1.pth", opened),
        Seed("distributed metadata", shards, "s/ckpt_1/.metadata", opened),
        Seed("distributed shard", shards, "s/ckpt_1/__0_0.distcp", opened),
        Seed("baseline report", {"s.h5": run, "baseline.json": report}, "baseline.json",
             ("check {in} --isolated --no-cache --baseline {damaged}",), is_text=True),
        Seed("cache", beside, cache, ("analyze {in}", "check {in} --isolated --cache")),
    ]  # fmt: skip


def _plain(folder: Path) -> list[Seed]:
    """Return seeds of which every byte may be damaged."""
    run = _recorded(folder, buffers=["second*"])
    table = "step,loss\n" + "".join(f"{k},{0.9**k}\n" for k in range(6))
    policy = 'preset = "recommended"\nfail-on = "warn"\n[rules.convergence]\nlevel = "warn"\n'
    policy += "[metrics.loss]\nfinal-below = 0.5\n"
    wave = np.sin(np.arange(64) * 0.3)
    npy = io.BytesIO()
    np.save(npy, wave)
    fortran = np.asfortranarray(np.outer(np.arange(3.0), np.arange(4.0)).astype("f4"))
    h5 = ("inspect {in}", "analyze {in} --no-cache", "convert {in} -o {out}/run.h5")
    iterates = _recorded(folder, states=["*"])
    state, index = (
        "s/checkpoint-1/trainer_state.json",
        "s/checkpoint-1/model.safetensors.index.json",
    )
    watched = "watch {in} --once"
    return [
        Seed("recorded run", {"s.h5": run}, "s.h5"),
        Seed("iterates", {"s.h5": iterates}, "s.h5", ("contraction {in}",)),
        Seed("packed run", {"s.h5": _hdf5(_run)}, "s.h5"),
        Seed("new packed run", {"s.h5": _hdf5(_run, libver="latest")}, "s.h5"),
        Seed("group per step", {"s.h5": _hdf5(_groups)}, "s.h5", (*h5, watched)),
        Seed("stacked", {"s.h5": _hdf5(_stacked)}, "s.h5", (*h5, watched)),
        _series("Keras 3", ".weights.h5", _keras3, commands=h5),
        _series("legacy Keras", ".h5", _legacy, commands=h5),
        _series("Keras archive", ".keras", _archive, commands=h5),
        _series("safetensors", ".safetensors", _safetensors),
        _series("npz", ".npz", lambda k: _npz(k, np.savez, fortran=fortran)),
        _series("packed npz", ".npz", lambda k: _npz(k, np.savez_compressed)),
        Seed("trainer state", _folder(state), state, h5, is_text=True),
        Seed("index of shards", _folder(index), index, h5, is_text=True),
        Seed(
            "configuration",
            {"s.h5": run, "koopscope.toml": policy.encode()},
            "koopscope.toml",
            ("check {in} --no-cache --config {damaged}",),
            is_text=True,
        ),
        Seed(
            "metrics table",
            {"s/ckpt_0.npz": _npz(0, np.savez), "s/ckpt_1.npz": _npz(1, np.savez)}
            | {"metrics.csv": table.encode()},
            "metrics.csv",
            ("convert {in} --metrics {damaged} -o {out}/run.h5",),
            is_text=True,
        ),
        Seed("signal, text", {"s.csv": "\n".join(map(str, wave)).encode()}, "s.csv",
             ("depth --signal {damaged}",), is_text=True),
        Seed("signal, NumPy", {"s.npy": npy.getvalue()}, "s.npy", ("depth --signal {damaged}",)),
        Seed("signal, HDF5", {"s.h5": _hdf5(lambda file: file.update(y=wave))}, "s.h5",
             ("depth --signal {damaged}:y",)),
    ]  # fmt: skip
