"""From what the user named, files or folders, to snapshots: one registry of the kinds known.

A new kind of checkpoint is one module and one line here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
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
from koopscope.runs.checkpoints.torch.window import DamagedError, opened
from koopscope.runs.checkpoints.torn import newest
from koopscope.runs.detect.look import Kind, Look, look_at_hdf5, look_at_other, still
from koopscope.runs.hdf5 import safety, structure
from koopscope.runs.run import Skipped

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


@dataclass(frozen=True)
class _Found:
    """A checkpoint that lies somewhere, and what describes it: settled when it was found.

    Attributes
    ----------
    path
        The file or folder.
    describe
        Describes it; called with the key, see ``snapshots_of``.
    beside
        What lies beside the checkpoints and is none.
    notes
        What is to be said of the place, asked for once.
    """

    path: Path
    describe: Callable[[str | None], Snapshot]
    beside: tuple[Skipped, ...] = ()
    notes: Callable[[], tuple[str, ...]] = tuple


def look_at(source: Path | Look) -> Look:
    """Look at a file or folder: HDF5 files are opened for it, and stay open for who reads them.

    Parameters
    ----------
    source
        Where to look; or an earlier look, which is returned if it still holds.

    Raises
    ------
    KoopscopeError
        If it cannot be read.
    """
    seen = still(source)
    if isinstance(seen, Look):
        return seen
    if seen.is_dir():
        return look_at_other(seen, "folder")
    suffix = _suffix(seen)
    # A run file's name may end in anything that no other kind claims.
    is_unclaimed = not suffix and not seen.name.lower().endswith(REFUSED_SUFFIXES)
    if suffix in HDF5_SUFFIXES or is_unclaimed:
        return look_at_hdf5(seen, suffix)
    return look_at_other(seen, "checkpoint", suffix)


def snapshots_of(
    sources: Sequence[Path | Look], key: str | None = None, torn: list[str] | None = None
) -> Iterator[Snapshot]:
    """Describe every checkpoint that files and folders stand for, one after the other.

    A training that writes at this moment, or died while it wrote, leaves its newest checkpoint
    half written: the others are whole, and that one can be left out.

    Parameters
    ----------
    sources
        Files and folders, or looks at them.
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
    listed = [found for source in sources for found in _found_at(source)]
    first = True
    for found in listed:
        try:
            with structure.reading(found.path):
                described = found.describe(key)
                if first:
                    skipped = (*described.skipped, *found.beside)
                    notes = (*described.notes, *found.notes())
                    described = replace(described, skipped=skipped, notes=notes)
        except KoopscopeError as error:
            if torn is None or torn or found.path != newest([each.path for each in listed]):
                raise
            torn.append(f"the newest checkpoint is left out, it is not whole: {error.message}")
            continue
        first = False
        yield described


def checkpoints_in(source: Path) -> list[Path]:
    """Return the checkpoints that a file or folder stands for, in natural order of their names.

    Raises
    ------
    KoopscopeError
        If a folder holds none, or several kinds.
    """
    return [found.path for found in _found_at(source)]


def _found_at(source: Path | Look) -> list[_Found]:
    seen = still(source)
    path = Path(seen)
    if isinstance(seen, Look) and seen.is_hdf5:
        return [_Found(path, partial(_looked_at, seen))]
    if path.is_dir():
        return _in_folder(path)
    return [_revision(path) if is_revision(path) else _Found(path, partial(_unsorted, path))]


def _in_folder(source: Path) -> list[_Found]:
    revisions = revisions_in(source, weights_in)
    if revisions is not None:
        return [_revision(path) for path in revisions]
    below = sorted(source.iterdir(), key=lambda path: natural_key(path.name))
    folders = [path for path in below if path.is_dir() and not path.name.startswith(".")]
    numbered = [path for path in folders if path.name.startswith("checkpoint-")]
    if numbered:
        return _numbered(numbered) or _nothing(source)
    if weights_in(source):
        return [_Found(source, partial(_folder, source))]
    files = [(path, suffix) for path in below if (suffix := _suffix_of_weights(path))]
    if any(suffix.endswith(".index.json") for _, suffix in files):
        files = [(path, suffix) for path, suffix in files if not _SHARD.fullmatch(path.name)]
    kinds = {KINDS[suffix]: suffix for _, suffix in files}
    if len(kinds) > 1:
        endings = sorted(set(kinds.values()))
        raise KoopscopeError(
            f"{source} holds checkpoints of several kinds: {', '.join(endings)}",
            f"name those of one kind, for example {source}/*{endings[0]}",
        )
    if files:
        return [_Found(path, partial(_file, KINDS[suffix], path)) for path, suffix in files]
    return [found for folder in folders for found in _only_one(folder)] or _nothing(source)


def _revision(path: Path) -> _Found:
    if not is_revision(path):
        return _Found(path, partial(_folder, path))

    def describe(key: str | None) -> Snapshot:
        return replace(folder_snapshot(folder_of(path), key), path=str(path))

    return _Found(path, describe, notes=partial(notes_on, path, weights_in))


def _numbered(folders: Sequence[Path]) -> list[_Found]:
    """Return the folders ``checkpoint-N`` with weights, and with them the names of the others."""
    whole = [folder for folder in folders if weights_in(folder)]
    beside = tuple(
        Skipped(folder.name, "a folder without weights that are read")
        for folder in folders
        if folder not in whole
    )
    return [_Found(folder, partial(_folder, folder), beside) for folder in whole]


def _folder(path: Path, key: str | None) -> Snapshot:
    return with_trial(folder_snapshot(path, key), path)


def _file(describer: Callable[[Path], Snapshot], path: Path, key: str | None) -> Snapshot:
    return with_trial(describe(describer, path, key), path)


def _unsorted(path: Path, key: str | None) -> Snapshot:
    """Describe a file that was named by itself, if there is one."""
    return _file(_describer(path), path, key)


def _looked_at(look: Look, key: str | None) -> Snapshot:
    """Describe an HDF5 file as it was seen, and as it is open."""
    return _file(lambda path: _hdf5_as_seen(look), look.path, key)


def _only_one(folder: Path) -> list[_Found]:
    """Return the checkpoint of a folder per step; a folder without one is passed over."""
    if weights_in(folder):
        return [_Found(folder, partial(_folder, folder))]
    files = [(path, suffix) for path in folder.iterdir() if (suffix := _suffix_of_weights(path))]
    if len(files) > 1:
        raise KoopscopeError(
            f"{folder} holds {len(files)} files that could be its checkpoint",
            "name the checkpoint files themselves",
        )
    return [_Found(path, partial(_file, KINDS[suffix], path)) for path, suffix in files]


def _suffix_of_weights(path: Path) -> str:
    """Return how the name of a file of a folder ends, nothing where it holds no weights."""
    is_weights = not path.name.startswith(".") and not _STATE_FILE.fullmatch(path.name)
    return _suffix(path) if is_weights and path.is_file() else ""


def _suffix(path: Path) -> str:
    """Return how a name ends; what has another name but the bytes of PyTorch's counts as such."""
    known = next((suffix for suffix in KINDS if path.name.lower().endswith(suffix)), "")
    if known:
        return known
    with suppress(DamagedError, OSError), opened(path) as window:
        if _NAMED_BY_FLAX.fullmatch(path.name):
            with suppress(DamagedError):
                if is_msgpack(window):
                    return ".msgpack"
        return ".pt" if is_torch(window) else ""
    return ""


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


def _nothing(source: Path) -> list[_Found]:
    refuse_known(source)
    raise KoopscopeError(f"{source} holds no checkpoint", f"the kinds known are: {KNOWN}")
