"""The three forms in which PyTorch has stored objects: a zip, one stream, and, long ago, a tar.

Each gives the object its pickle describes, and where in the file the storages lie. Told by their
bytes, never by a name. Written from PyTorch's own ``serialization.py`` and its notes on the zip.
"""

from __future__ import annotations

import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from functools import partial
from typing import IO, Any

from koopscope.runs.checkpoints.torch.content import Content, Packed, Region
from koopscope.runs.checkpoints.torch.dtypes import STORAGES, WIDTHS
from koopscope.runs.checkpoints.torch.inert import Name
from koopscope.runs.checkpoints.torch.pickle_source import PickleSource
from koopscope.runs.checkpoints.torch.tensors import MAKERS, Storage, StoredTensor, storage_of
from koopscope.runs.checkpoints.torch.unpickling import Unpickler
from koopscope.runs.checkpoints.torch.window import DamagedError, FileWindow

ZIP = b"PK\x03\x04"
_EMPTY_ZIP = b"PK\x05\x06"

#: The number with which the one-stream form begins, as a pickle of protocol 2 holds it.
STREAM_MAGIC = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"
_STREAM_VERSION = 1001

#: Deflate makes at most 1032 bytes of one; more than this is a bomb, or worth no megabyte.
_RATIO_LIMIT = 200
_SMALL = 64 * 2**20

#: What reading a damaged zip raises.
ZIP_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    NotImplementedError,
    RuntimeError,
    EOFError,
    ValueError,
    OSError,
    KeyError,
    IndexError,
)


def content_of(window: FileWindow) -> Content:
    """Return what PyTorch saved in these bytes.

    Raises
    ------
    DamagedError
        If it is nothing that PyTorch writes, or damaged.
    """
    if not window.size:
        raise DamagedError("it is empty")
    head = window.read(0, min(512, window.size))
    if head.startswith((ZIP, _EMPTY_ZIP)):
        with open_zip(window) as archive:
            return zip_content(window, archive)
    if is_stream(head):
        return _stream_content(window)
    if head[257:262] == b"ustar" or is_old_tar(window):
        return _tar_content(window)
    if head.startswith(b"\x80"):
        return Content(_unpickled(_windowed(window), storage_of), "plain pickle", _no_storage)
    raise DamagedError("its first bytes are not those of a file of PyTorch")


def is_stream(head: bytes) -> bool:
    """Return whether a file begins like PyTorch's files from before 1.6."""
    return head[:1] == b"\x80" and head[2:].startswith(STREAM_MAGIC)


def open_zip(window: FileWindow) -> zipfile.ZipFile:
    """Return an archive in these bytes.

    Raises
    ------
    DamagedError
        If it is none.
    """
    try:
        return zipfile.ZipFile(_as_file(window))
    except ZIP_DAMAGE as error:
        raise DamagedError(f"it is no complete zip archive ({_said(error)})") from None


def stored_part(window: FileWindow, entry: zipfile.ZipInfo) -> FileWindow:
    """Return the bytes of a member that is stored as it is.

    Raises
    ------
    DamagedError
        If it is not, or not there.
    """
    if entry.flag_bits & 1 or entry.compress_type != zipfile.ZIP_STORED:
        raise DamagedError(f"its member {entry.filename} is compressed or encrypted")
    header = window.read(entry.header_offset, 30)
    if not header.startswith(ZIP):
        raise DamagedError(f"its member {entry.filename} is not where its list of members says")
    names = sum(struct.unpack("<HH", header[26:30]))
    return window.part(entry.header_offset + 30 + names, entry.file_size)


def zip_content(window: FileWindow, archive: zipfile.ZipFile) -> Content:
    """Return what PyTorch saved in an archive.

    Raises
    ------
    DamagedError
        If it is another archive, or damaged.
    """
    entries = {entry.filename: entry for entry in archive.infolist()}
    root = next(
        (n[: -len("data.pkl")] for n in entries if n.count("/") == 1 and n.endswith("/data.pkl")),
        None,
    )
    if root is None:
        raise DamagedError("it is a zip archive that PyTorch did not write: it has no data.pkl")
    member = partial(_member, window, archive, entries)
    order = entries.get(f"{root}byteorder")
    return Content(
        value=_unpickled(member(f"{root}data.pkl"), storage_of),
        form="TorchScript" if f"{root}constants.pkl" in entries else "PyTorch",
        locate=partial(_locate, window, entries, f"{root}data/"),
        big_endian=order is not None and archive_text(archive, order) == "big",
    )


def archive_text(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> str:
    """Return a short member as text.

    Raises
    ------
    DamagedError
        If it cannot be read.
    """
    try:
        with archive.open(entry) as stream:
            return stream.read(2**20).decode("utf-8", "replace").strip()
    except ZIP_DAMAGE as error:
        raise DamagedError(f"its member {entry.filename} cannot be read ({_said(error)})") from None


def _as_file(window: FileWindow) -> IO[bytes]:
    stream: Any = window.stream()
    file: IO[bytes] = stream
    return file


def _said(error: BaseException) -> str:
    text = " ".join(str(error).strip("'\"").split())
    return text[:120] or type(error).__name__


def _unpickled(source: PickleSource, persistent: Callable[[Any], Any]) -> Any:
    return Unpickler(source, MAKERS, persistent).load()


def _windowed(window: FileWindow, start: int = 0) -> PickleSource:
    position = start

    def fetch(size: int) -> bytes:
        nonlocal position
        part = window.read(position, max(0, min(size, window.size - position)))
        position += len(part)
        return part

    return PickleSource(fetch, start)


def _member(
    window: FileWindow, archive: zipfile.ZipFile, entries: dict[str, zipfile.ZipInfo], name: str
) -> PickleSource:
    """Return the bytes of a member, unpacked as far as they are wanted and checked at their end."""
    entry = entries[name]
    if entry.compress_type == zipfile.ZIP_STORED and not entry.CRC:
        return _windowed(stored_part(window, entry))
    _must_be_deflated(entry)
    try:
        stream = archive.open(entry)
    except ZIP_DAMAGE as error:
        raise DamagedError(f"its member {name} cannot be read ({_said(error)})") from None

    def fetch(size: int) -> bytes:
        try:
            return stream.read(size)
        except ZIP_DAMAGE as error:
            raise DamagedError(f"its member {name} cannot be read ({_said(error)})") from None

    return PickleSource(fetch)


def _must_be_deflated(entry: zipfile.ZipInfo) -> None:
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DamagedError(
            f"its member {entry.filename} is compressed in a way that PyTorch never uses"
        )
    if entry.file_size > max(_SMALL, _RATIO_LIMIT * entry.compress_size):
        raise DamagedError(
            f"its member {entry.filename} would unpack from {entry.compress_size:,} bytes to "
            f"{entry.file_size:,}"
        )


def _locate(
    window: FileWindow, entries: dict[str, zipfile.ZipInfo], folder: str, storage: Storage
) -> Region:
    entry = entries.get(f"{folder}{storage.key}")
    if entry is None:
        raise DamagedError(f"its storage {storage.key} is missing")
    if entry.compress_type == zipfile.ZIP_STORED:
        part = stored_part(window, entry)
        region = Region(part.start, part.size)
    else:
        _must_be_deflated(entry)
        packed = Packed(window.start, window.size, entry.filename)
        region = Region(0, entry.file_size, packed)
    _must_fit(storage, region.size)
    return region


def _must_fit(storage: Storage, size: int) -> None:
    needed = (storage.offset + storage.size) * WIDTHS[storage.dtype]
    if needed > size:
        raise DamagedError(
            f"its storage {storage.key} should have {needed:,} bytes, and {size:,} are there"
        )


def _no_storage(storage: Storage) -> Region:
    raise DamagedError("it is a pickle without storages")


def _stream_content(window: FileWindow) -> Content:
    source = _windowed(window)
    storages: dict[str, Storage] = {}

    def persistent(saved: Any) -> Any:
        storage = storage_of(saved)
        if isinstance(storage, Storage) and isinstance(saved, tuple):
            storages[storage.key] = Storage(storage.key, storage.dtype, saved[4])
        return storage

    head = [_unpickled(source, persistent) for _ in range(3)]
    if head[1] != _STREAM_VERSION or not isinstance(head[2], dict):
        raise DamagedError("its first records are not those of PyTorch")
    value = _unpickled(source, persistent)
    keys = _unpickled(source, persistent)
    big_endian = head[2].get("little_endian") is False
    if not isinstance(keys, list):
        raise DamagedError("its list of storages is none")
    places: dict[str, Region] = {}
    position = source.position
    for key in map(str, keys):
        if key not in storages:
            raise DamagedError("it stores a storage that nothing refers to")
        count = int.from_bytes(window.read(position, 8), "big" if big_endian else "little")
        if count != storages[key].size:
            raise DamagedError(
                f"its storage {key} has {count:,} elements instead of {storages[key].size:,}"
            )
        size = count * WIDTHS[storages[key].dtype]
        part = window.part(position + 8, size)
        places[key] = Region(part.start, size)
        position += 8 + size

    return Content(value, "PyTorch", partial(_listed, places), big_endian)


def _listed(places: dict[str, Region], storage: Storage) -> Region:
    region = places.get(storage.key)
    if region is None:
        raise DamagedError(f"its storage {storage.key} is missing")
    _must_fit(storage, region.size)
    return region


_TAR_MEMBERS = ("pickle", "storages", "tensors")


def is_old_tar(window: FileWindow) -> bool:
    """Return whether the bytes are a tar whose first member is one of PyTorch's."""
    return window.size >= 512 and window.read(0, 16).rstrip(b"\0") in (
        *(name.encode() for name in _TAR_MEMBERS),
        b"sys_info",
    )


def _tar_content(window: FileWindow) -> Content:
    """Read the form of PyTorch before 0.1.10: storages, then views of them, then the pickle."""
    parts: dict[str, FileWindow] = {}
    try:
        with tarfile.open(fileobj=_as_file(window), mode="r:") as archive:
            for _ in range(16):
                member = archive.next()
                if member is None:
                    break
                if member.isreg():
                    parts[member.name] = window.part(member.offset_data, member.size)
    except (tarfile.TarError, *ZIP_DAMAGE) as error:
        raise DamagedError(f"it is no complete tar archive ({_said(error)})") from None
    if not all(name in parts for name in _TAR_MEMBERS):
        raise DamagedError("it is a tar archive that PyTorch did not write: unpack it first")
    storages, places = _tar_storages(parts["storages"])
    tensors = _tar_tensors(parts["tensors"], storages)

    def persistent(saved: Any) -> Any:
        if isinstance(saved, tuple):
            return saved[0] if saved else None
        part = tensors.get(str(saved)) or storages.get(str(saved))
        if part is None:
            raise DamagedError("its pickle refers to something that is not stored")
        return part

    value = _unpickled(_windowed(parts["pickle"]), persistent)
    return Content(value, "PyTorch", partial(_listed, places))


def _tar_storages(part: FileWindow) -> tuple[dict[str, Storage], dict[str, Region]]:
    source = _windowed(part)
    count = _unpickled(source, storage_of)
    storages: dict[str, Storage] = {}
    places: dict[str, Region] = {}
    for _ in range(_count(count)):
        described = _unpickled(source, storage_of)
        if not isinstance(described, tuple) or len(described) != 3:
            raise DamagedError("its storages are described in a form that is not known")
        key, _, kind = described
        dtype = STORAGES.get(kind.name if isinstance(kind, Name) else "")
        if dtype is None:
            raise DamagedError("it has a storage of an unknown kind")
        elements = int.from_bytes(source.read(8), "little")
        size = elements * WIDTHS[dtype]
        held = part.part(source.position, size)
        source = _windowed(part, source.position + size)
        places[str(key)] = Region(held.start, size)
        storages[str(key)] = Storage(str(key), dtype, elements)
    for view in _listing(_unpickled(source, storage_of)):
        if not isinstance(view, tuple) or len(view) != 4 or str(view[1]) not in storages:
            raise DamagedError("it has a view of a storage that is not there")
        root, first, elements = storages[str(view[1])], _count(view[2]), _count(view[3])
        storages[str(view[0])] = Storage(root.key, root.dtype, elements, root.offset + first)
    return storages, places


def _listing(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _tar_tensors(part: FileWindow, storages: dict[str, Storage]) -> dict[str, StoredTensor]:
    source = _windowed(part)
    tensors: dict[str, StoredTensor] = {}
    for _ in range(_count(_unpickled(source, storage_of))):
        described = _unpickled(source, storage_of)
        axes = struct.unpack("<i", source.read(4))[0]
        source.read(4)
        if not 0 <= axes <= 64 or not isinstance(described, tuple) or len(described) != 3:
            raise DamagedError("its tensors are described in a form that is not known")
        numbers = struct.unpack(f"<{2 * axes + 1}q", source.read(16 * axes + 8))
        storage = storages.get(str(described[1]))
        if storage is None or min(numbers) < 0:
            raise DamagedError("it has a tensor of a storage that is not there")
        shape, strides = numbers[:axes], numbers[axes:-1]
        tensor = StoredTensor(storage, storage.dtype, numbers[-1], shape, strides)
        tensors[str(described[0])] = tensor
    return tensors


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**48:
        raise DamagedError("it counts its storages in a form that is not known")
    return value
