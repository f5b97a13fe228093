"""From what the user named, files or folders, to snapshots: one registry of the kinds known.

A new kind of checkpoint is one module and one line here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from koopscope.errors import KoopscopeError
from koopscope.runs.checkpoints.adapters import adapter_snapshot
from koopscope.runs.checkpoints.equinox import equinox_snapshot
from koopscope.runs.checkpoints.hdf5 import hdf5_snapshot
from koopscope.runs.checkpoints.hdf5_tensors import Hdf5File
from koopscope.runs.checkpoints.hub_cache import folder_of, is_revision, notes_on, revisions_in
from koopscope.runs.checkpoints.huggingface import describe, folder_snapshot, weights_in
from koopscope.runs.checkpoints.keras import (
    keras3_snapshot,
    keras_archive_snapshot,
    legacy_snapshot,
)
from koopscope.runs.checkpoints.msgpack import is_msgpack, msgpack_snapshot
from koopscope.runs.checkpoints.npz import npz_snapshot
from koopscope.runs.checkpoints.numbering import natural_key
from koopscope.runs.checkpoints.ray_tune import with_trial
from koopscope.runs.checkpoints.refused import SUFFIXES as REFUSED_SUFFIXES
from koopscope.runs.checkpoints.refused import refuse_known
from koopscope.runs.checkpoints.safetensors import safetensors_snapshot, sharded_snapshot
from koopscope.runs.checkpoints.snapshot import Snapshot
from koopscope.runs.checkpoints.torch.snapshots import (
    is_torch,
    sharded_torch_snapshot,
    torch_snapshot,
)
from koopscope.runs.checkpoints.torn import newest
from koopscope.runs.detect.look import Kind, Look, look_at_hdf5, look_at_other
from koopscope.runs.hdf5 import safety, structure

HDF5_SUFFIXES = (".h5", ".hdf5", ".hdf", ".he5")


_HDF5_SNAPSHOTS: Mapping[Kind, Callable[[Hdf5File], Snapshot]] = {
    "Keras 2 file": legacy_snapshot,
    "Keras 3 file": keras3_snapshot,
    "HDF5 file": hdf5_snapshot,
}


def _hdf5(path: Path) -> Snapshot:
    return _hdf5_as_seen(look_at_hdf5(path))


def _hdf5_as_seen(look: Look) -> Snapshot:
    if look.kind == "run file":
        look.close()
        raise KoopscopeError(
            f"{look.path} is a run by itself, not a checkpoint of one", "name run files themselves"
        )
    file = look.opened()
    try:
        with safety.hdf5_failures(look.path):
            return _HDF5_SNAPSHOTS[look.kind](file)
    except BaseException:
        file.close()
        raise


#: How a name ends -> what describes the file.
KINDS: dict[str, Callable[[Path], Snapshot]] = {
    ".safetensors.index.json": sharded_snapshot,
    ".bin.index.json": sharded_torch_snapshot,
    "adapter_model.safetensors": adapter_snapshot,
    "adapters.safetensors": adapter_snapshot,
    ".safetensors": safetensors_snapshot,
    ".msgpack": msgpack_snapshot,
    ".keras": keras_archive_snapshot,
    ".npz": npz_snapshot,
    ".eqx": equinox_snapshot,
    **dict.fromkeys((".pt", ".pth", ".bin", ".ckpt", ".pth.tar"), torch_snapshot),
    **dict.fromkeys(HDF5_SUFFIXES, _hdf5),
}


#: What lies next to weights in training folders and is none.
_STATE_FILE = re.compile(r"(optimizer|scheduler|scaler|rng_state|training_args).*\.(pt|pth|bin)")
#: What ``flax.training.checkpoints`` called its files.
_NAMED_BY_FLAX = re.compile(r"checkpoint_\d+(\.\d+)?")
_SHARD = re.compile(r".*-\d{5}-of-\d{5}\.(safetensors|bin)")

KNOWN = ", ".join(suffix for suffix in KINDS if suffix[0] == "." and "index" not in suffix)


def look_at(path: Path) -> Look:
    """Look at a file or folder: HDF5 files are opened for it, and stay open for who reads them.

    Raises
    ------
    KoopscopeError
        If it cannot be read.
    """
    if path.is_dir():
        return look_at_other(path, "")
    suffix = _suffix(path)
    # A run file's name may end in anything that no other kind claims.
    is_unclaimed = not suffix and not path.name.lower().endswith(REFUSED_SUFFIXES)
    is_hdf5 = is_unclaimed or suffix in HDF5_SUFFIXES
    return look_at_hdf5(path, suffix) if is_hdf5 else look_at_other(path, suffix)


def snapshots_of(
    sources: Sequence[Path | Look], key: str | None = None, torn: list[str] | None = None
) -> Iterator[Snapshot]:
    """Describe every checkpoint that files and folders stand for, one after the other.

    A training that writes at this moment, or died while it wrote, leaves its newest checkpoint
    half written: the others are whole, and that one can be left out.

    Parameters
    ----------
    sources
        Files and folders, or looks at them that are taken for what is there now.
    key
        Where in each file of PyTorch the weights lie, if not where they are looked for.
    torn
        Gets a sentence about the newest of several checkpoints where it cannot be read and is left
        out; without such a list that is an error.

    Raises
    ------
    KoopscopeError
        If something is missing, unreadable, of no known kind, or a folder is ambiguous.
    """
    listed = [(path, source) for source in sources for path in checkpoints_in(Path(source))]
    first = True
    for path, source in listed:
        try:
            with structure.reading(path):
                described = _described(path, source, key)
                if first and is_revision(path):
                    notes = (*described.notes, *notes_on(path, weights_in))
                    described = replace(described, notes=notes)
        except KoopscopeError as error:
            if torn is None or torn or path != newest([path for path, _ in listed]):
                raise
            torn.append(f"the newest checkpoint is left out, it is not whole: {error.message}")
            continue
        first = False
        yield described


def _described(path: Path, source: Path | Look, key: str | None) -> Snapshot:
    if is_revision(path):
        return replace(folder_snapshot(folder_of(path), key), path=str(path))
    if path.is_dir():
        return with_trial(folder_snapshot(path, key), path)
    describer = _describer(path)
    if describer is _hdf5 and key is None and isinstance(source, Look) and source.path == path:
        return with_trial(_hdf5_as_seen(source), path)
    return with_trial(describe(describer, path, key), path)


def checkpoints_in(source: Path) -> list[Path]:
    """Return the checkpoints that a file or folder stands for, in natural order of their names.

    Raises
    ------
    KoopscopeError
        If a folder holds none, or several kinds.
    """
    if not source.is_dir():
        return [source]
    revisions = revisions_in(source, weights_in)
    if revisions is not None:
        return revisions
    below = sorted(source.iterdir(), key=lambda path: natural_key(path.name))
    folders = [path for path in below if path.is_dir() and not path.name.startswith(".")]
    numbered = [path for path in folders if path.name.startswith("checkpoint-")]
    if numbered:
        return [path for path in numbered if weights_in(path)] or _nothing(source)
    if weights_in(source):
        return [source]
    files = [path for path in below if path.is_file() and _suffix(path) and _is_weights(path)]
    indexed = [path for path in files if _suffix(path).endswith(".index.json")]
    files = [path for path in files if not (indexed and _SHARD.fullmatch(path.name))]
    kinds = {_describer(path): _suffix(path) for path in files}
    if len(kinds) > 1:
        endings = sorted(set(kinds.values()))
        raise KoopscopeError(
            f"{source} holds checkpoints of several kinds: {', '.join(endings)}",
            f"name those of one kind, for example {source}/*{endings[0]}",
        )
    if files:
        return files
    return [path for folder in folders for path in _only_one(folder)] or _nothing(source)


def _only_one(folder: Path) -> list[Path]:
    """Return the checkpoint of a folder per step; a folder without one is passed over."""
    weights = weights_in(folder)
    if weights:
        return [folder]
    candidates = [p for p in folder.iterdir() if p.is_file() and _suffix(p) and _is_weights(p)]
    if len(candidates) > 1:
        raise KoopscopeError(
            f"{folder} holds {len(candidates)} files that could be its checkpoint",
            "name the checkpoint files themselves",
        )
    return candidates


def _is_weights(path: Path) -> bool:
    return not path.name.startswith(".") and not _STATE_FILE.fullmatch(path.name)


def _suffix(path: Path) -> str:
    """Return how a name ends; what has another name but the bytes of PyTorch's counts as such."""
    known = next((suffix for suffix in KINDS if path.name.lower().endswith(suffix)), "")
    if not known and _NAMED_BY_FLAX.fullmatch(path.name) and is_msgpack(path):
        return ".msgpack"
    return known or (".pt" if is_torch(path) else "")


def _describer(path: Path) -> Callable[[Path], Snapshot]:
    if not path.exists():
        raise KoopscopeError(f"{path} does not exist", "check the path")
    if not path.is_file():  # opening a pipe would wait for somebody who writes into it
        raise KoopscopeError(
            f"{path} is not a regular file", "name a file or folder that lies on a disk"
        )
    suffix = _suffix(path)
    if not suffix:
        refuse_known(path)
        raise KoopscopeError(f"{path} is of no kind that is known", f"the kinds are: {KNOWN}")
    return KINDS[suffix]


def _nothing(source: Path) -> list[Path]:
    refuse_known(source)
    raise KoopscopeError(f"{source} holds no checkpoint", f"the kinds known are: {KNOWN}")
