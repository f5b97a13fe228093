"""Open HDF5 files that someone else made without trusting them.

Every member is reached by a hard link from the file itself: no external or soft link, no external
storage and no virtual dataset is ever followed, and what a file declares is held against what it
stores before anything is allocated. Whatever HDF5 says went wrong becomes one sentence.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import h5py
import numpy as np

from koopscope.errors import KoopscopeError
from koopscope.runs.hdf5 import structure
from koopscope.runs.hdf5.journal import pending_journal, view_of
from koopscope.runs.hdf5.superblock import superblock_of, unmarked

#: A dataset that declares more than this must store at least a thousandth of it.
UNBACKED_BYTES = 4 * 2**30
UNBACKED_RATIO = 1000

MEMBER_LIMIT = 1_000_000
DEPTH_LIMIT = 32
NAME_LIMIT = 1024
TEXT_LIMIT = 16 * 2**20
CHUNK_LIMIT = 2**27

#: Compared before h5py is asked for a dtype, which takes ten times as long, for every tensor of
#: every snapshot.
_USUAL_FLOATS = (
    (h5py.h5t.IEEE_F32LE, "float32"),
    (h5py.h5t.IEEE_F64LE, "float64"),
    (h5py.h5t.IEEE_F16LE, "float16"),
)


@dataclass(frozen=True)
class Refused:
    """A member that is not followed, and why."""

    reason: str


Member: TypeAlias = "h5py.h5g.GroupID | h5py.h5d.DatasetID | Refused"


@contextmanager
def hdf5_failures(path: Path, what: str = "") -> Iterator[None]:
    """Turn any failure inside HDF5 into one sentence that names the file and the member.

    Raises
    ------
    KoopscopeError
        In place of what HDF5 or the system raised.
    """
    try:
        yield
    except (
        OSError,
        RuntimeError,
        KeyError,
        ValueError,
        TypeError,
        OverflowError,
        MemoryError,
    ) as error:
        said = " ".join(str(error).strip("'\"").split()) or type(error).__name__
        where = f"{what} of {path}" if what else f"{path}"
        short = re.search(r"truncated file: eof = (\d+), .*stored_eof = (\d+)", said)
        problem = (
            f"is truncated: {int(short[1]):,} of {int(short[2]):,} bytes are there"
            if short
            else f"cannot be read: {said}"
        )
        raise KoopscopeError(
            f"{where} {problem}",
            "the file may be damaged or incomplete; copy it again from where it was recorded",
        ) from error


def open_hdf5(path: Path) -> h5py.File:
    """Open a file for reading, once, without taking a lock that could stop its writer.

    Raises
    ------
    KoopscopeError
        If it is missing, a directory, not permitted, empty, truncated or not HDF5.
    """
    try:
        if path.is_dir():
            raise KoopscopeError(f"{path} is a directory", "name a run file")
        if not path.is_file():
            missing = not path.exists()
            raise KoopscopeError(
                f"{path} {'does not exist' if missing else 'is not a regular file'}",
                "check the path",
            )
    except OSError as error:
        raise _not_readable(path, error) from error
    refusal: OSError | None = None
    with hdf5_failures(path):
        try:
            file = h5py.File(path, "r", locking=False, rdcc_nbytes=0)
        except OSError as error:
            refusal = error
        else:
            if _is_alone(file) and not _has_journal(path, file):
                return file
            file.close()
    return _opened_otherwise(path, refusal)


def _is_alone(file: h5py.File) -> bool:
    """Return whether this process has no other handle on the file.

    HDF5 lets all handles of one process on one file share what it remembers of the file, so a
    second handle would see the file as it was when the first was opened.
    """
    return bool(h5py.h5f.get_obj_count(file.id, h5py.h5f.OBJ_FILE) == 1)


def _has_journal(path: Path, file: h5py.File) -> bool:
    descriptor = descriptor_of(file)
    if descriptor is None:
        return bool(view_of(path).patches)
    return pending_journal(descriptor) is not None


def descriptor_of(file: h5py.File) -> int | None:
    """Return the descriptor by which HDF5 has a file open, ``None`` where it cannot be shared.

    It is closed with the file, and good for reads that move no position alone.
    """
    if file.driver != "sec2" or not hasattr(os, "preadv"):
        return None
    return int(file.id.get_vfd_handle())


def _opened_otherwise(path: Path, refusal: OSError | None) -> h5py.File:
    """Open a file that HDF5 refuses or would not see as it is: through a view on its bytes.

    Parameters
    ----------
    refusal
        Why HDF5 did not open it, if it did not.
    """
    try:
        head = superblock_of(path)
        is_empty = head is None and path.stat().st_size == 0
    except (OSError, ValueError) as error:
        raise _not_readable(path, error) from error
    if is_empty:
        raise KoopscopeError(f"{path} is empty", "nothing has been recorded in it")
    if head is None:
        raise KoopscopeError(f"{path} is not an HDF5 file", "name a run file that Recorder wrote")
    with hdf5_failures(path):
        if head.writer == "swmr":
            return h5py.File(path, "r", swmr=True, locking=False, rdcc_nbytes=0)
        if head.writer == "alone":
            return h5py.File(unmarked(path, head.offset), "r", rdcc_nbytes=0)
        view = view_of(path)
        if refusal is not None and not view.patches and not _is_open_here(refusal):
            raise refusal
        return h5py.File(view, "r", rdcc_nbytes=0)


def _is_open_here(refusal: OSError) -> bool:
    """Return whether HDF5 refuses a file because this process has it open in another way."""
    return "locking flag" in str(refusal) or "already open" in str(refusal)


def _not_readable(path: Path, error: OSError | ValueError) -> KoopscopeError:
    if isinstance(error, PermissionError):
        return KoopscopeError(
            f"{path} may not be read by this user", "change its permissions, or ask its owner"
        )
    return KoopscopeError(f"{path} cannot be read: {error}", "check the path")


def members(group: h5py.h5g.GroupID, depth: int = 0) -> Iterator[tuple[str, Member]]:
    """Yield (name, member) of a group in the file's own order, following hard links only.

    Raises
    ------
    ValueError
        If there are more members, or deeper groups, than any run file has.
    """
    count = group.get_num_objs()
    if count > MEMBER_LIMIT:
        raise ValueError(f"a group declares {count} members, more than {MEMBER_LIMIT}")
    if depth > DEPTH_LIMIT:
        raise ValueError(f"groups are nested more than {DEPTH_LIMIT} deep")
    for raw in list(group):
        structure.progressed()
        name, problem = _decoded(raw)
        yield name, Refused(problem) if problem else member(group, raw)


def storage_problem(dataset: h5py.h5d.DatasetID) -> str:
    """Return why a dataset must not be read, or an empty string: asked before its extent is."""
    plan = dataset.get_create_plist()
    if plan.get_layout() == h5py.h5d.VIRTUAL:
        return "a virtual dataset, which is not followed"
    if plan.get_external_count():
        return "stored in an external file, which is not followed"
    for index in range(plan.get_nfilters()):
        code, _, _, name = plan.get_filter(index)
        if not h5py.h5z.filter_avail(code):
            label = name.decode("ascii", "replace") or f"number {code}"
            return f"compressed with the filter {label}, which this HDF5 library does not have"
    declared = declared_bytes(dataset)
    if declared > UNBACKED_BYTES and declared > UNBACKED_RATIO * dataset.get_storage_size():
        return f"declared as {declared} bytes while the file stores {dataset.get_storage_size()}"
    if plan.get_layout() == h5py.h5d.CHUNKED and plan.get_nfilters():
        chunk = math.prod(plan.get_chunk()) * dataset.get_type().get_size()
        if chunk > CHUNK_LIMIT:
            return f"compressed in chunks of {chunk} bytes, more than {CHUNK_LIMIT}"
    return ""


def declared_bytes(dataset: h5py.h5d.DatasetID) -> int:
    """Return how many bytes the values of a dataset take, by its extent."""
    return int(math.prod(dataset.shape or ()) * dataset.get_type().get_size())


def text_attribute(owner: h5py.h5g.GroupID | h5py.h5d.DatasetID, name: str) -> str | None:
    """Return a text attribute, or ``None`` if there is none or it is no text of sensible size."""
    if not h5py.h5a.exists(owner, name.encode()):
        return None
    attribute = h5py.h5a.open(owner, name.encode())
    kind = attribute.get_type()
    if not isinstance(kind, h5py.h5t.TypeStringID) or attribute.shape not in ((), (1,)):
        return None
    if _stored_bytes(attribute) > TEXT_LIMIT:
        return None
    value = np.empty(attribute.shape, kind.dtype)
    attribute.read(value)
    text: Any = value.reshape(-1)[0]
    if not isinstance(text, (bytes, str)) or len(text) > TEXT_LIMIT:
        return None  # the size of a text of variable length is known only once it is read
    return text.decode("utf-8", "replace") if isinstance(text, bytes) else text


def has_attribute(group: h5py.Group, name: str) -> bool:
    """Return whether a group has an attribute of sensible size: larger ones stay unread."""
    if not h5py.h5a.exists(group.id, name.encode()):
        return False
    return _stored_bytes(h5py.h5a.open(group.id, name.encode())) <= TEXT_LIMIT


def _stored_bytes(attribute: h5py.h5a.AttrID) -> int:
    """Return how many bytes an attribute stores; h5py takes HDF5's 0 for a failure."""
    try:
        return int(attribute.get_storage_size())
    except RuntimeError:
        return 0


def address(opened: h5py.h5g.GroupID | h5py.h5d.DatasetID) -> int:
    """Return where an object lives in its file: two names with one address are one object."""
    return int(h5py.h5o.get_info(opened).addr)


def missing_bytes(dataset: h5py.h5d.DatasetID, rows: int) -> int:
    """Return how many bytes of the first rows were never given space in the file.

    HDF5 reads them as zeros, which would be a wrong number. Compressed chunks cannot be counted
    by their bytes and are counted by their number.
    """
    plan = dataset.get_create_plist()
    shape, item = dataset.shape, dataset.get_type().get_size()
    if plan.get_layout() != h5py.h5d.CHUNKED:
        declared = math.prod(shape) * item
        return int(max(0, declared - dataset.get_storage_size()))
    chunk = plan.get_chunk()
    extent = (rows, *shape[1:])
    wanted = math.prod(math.ceil(size / part) for size, part in zip(extent, chunk, strict=True))
    chunk_bytes = math.prod(chunk) * item
    if plan.get_nfilters():
        return int(max(0, wanted - dataset.get_num_chunks()) * chunk_bytes)
    return int(max(0, wanted * chunk_bytes - dataset.get_storage_size()))


def stored_dtype(dataset: h5py.h5d.DatasetID) -> str:
    """Return the name of what a dataset holds; words marked as bfloat16 are ``bfloat16``."""
    kind = dataset.get_type()
    if isinstance(kind, h5py.h5t.TypeIntegerID):
        name = kind.dtype.name
        marked = name == "uint16" and text_attribute(dataset, "dtype") == "bfloat16"
        return "bfloat16" if marked else name
    if isinstance(kind, h5py.h5t.TypeFloatID):
        for usual, name in _USUAL_FLOATS:
            if kind.equal(usual):
                return name
        try:
            return str(kind.dtype.name)
        except (TypeError, ValueError):
            return f"{8 * kind.get_size()}-bit float"
    if isinstance(kind, h5py.h5t.TypeCompoundID):
        return _complex_name(kind) or "compound"
    return "other than number"


def _complex_name(kind: h5py.h5t.TypeCompoundID) -> str:
    """Return the dtype of a compound of two floats ``r`` and ``i``, as h5py writes complex."""
    for name in ("complex64", "complex128"):
        for stored in (np.dtype(name), np.dtype(name).newbyteorder()):
            if kind == h5py.h5t.py_create(stored):
                return name
    return ""


def with_cache(file: h5py.File, path: bytes, size: int) -> h5py.h5d.DatasetID:
    """Open a dataset that was checked, with room for ``size`` bytes of decompressed chunks."""
    access = h5py.h5p.create(h5py.h5p.DATASET_ACCESS)
    access.set_chunk_cache(10007, size, 1.0)
    return h5py.h5d.open(file.id, path, access)


def _decoded(raw: bytes) -> tuple[str, str]:
    try:
        name = raw.decode("utf-8")
    except UnicodeDecodeError:
        return ascii(raw)[:NAME_LIMIT], "its name is not valid text"
    if not name.isprintable() or name in ("", ".") or "/" in name:
        return ascii(name)[:NAME_LIMIT], "its name is not one that HDF5 gives"
    if len(name) > NAME_LIMIT:
        return f"{name[:64]}...", f"its name is longer than {NAME_LIMIT} characters"
    return name, ""


def member(group: h5py.h5g.GroupID, raw: bytes) -> Member:
    """Open the member that a plain name stands for, unless it is a link elsewhere."""
    kind = group.links.get_info(raw).type
    if kind != h5py.h5l.TYPE_HARD:
        names = {h5py.h5l.TYPE_SOFT: "a soft link", h5py.h5l.TYPE_EXTERNAL: "an external link"}
        return Refused(f"{names.get(kind, 'a user-defined link')}, which is not followed")
    opened = h5py.h5o.open(group, raw)
    if isinstance(opened, (h5py.h5g.GroupID, h5py.h5d.DatasetID)):
        return opened
    return Refused("neither a group nor a dataset")
