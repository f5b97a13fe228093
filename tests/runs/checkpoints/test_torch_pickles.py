"""Whatever a pickle asks for, nothing of it runs, and a small file takes little memory."""

import os
import pickle
import pickletools
import struct
import sys
import tracemalloc
import zipfile

import numpy as np
import pytest

from koopscope.errors import KoopscopeError
from koopscope.runs.checkpoints.torch import pickle_stack, unpickling
from koopscope.runs.checkpoints.torch.inert import Inert
from koopscope.runs.checkpoints.torch.pickle_source import PickleSource
from koopscope.runs.checkpoints.torch.snapshots import torch_snapshot
from koopscope.runs.checkpoints.torch.tensors import MAKERS, storage_of
from koopscope.runs.checkpoints.torch.unpickling import Unpickler
from koopscope.runs.checkpoints.torch.window import DamagedError
from tests.runs.checkpoints.pickles import archive, mapping, number, tensor, text, weights

#: The bounds a tenth as large, so that the tests are quick, and what may then be taken, in bytes.
BUDGET, OPERATIONS, MEMORY = 12 * 2**20, 300_000, 24 * 2**20


def loaded(raw):
    pieces = iter([raw])
    return Unpickler(PickleSource(lambda size: next(pieces, b"")), MAKERS, storage_of).load()


class Call:
    """Pickles as a call."""

    def __init__(self, what, *arguments):
        self.call = (what, arguments)

    def __reduce__(self):
        return self.call


def canaries(path):
    shell = f"touch {path}"
    opened = f"open({str(path)!r}, 'w')"
    posix = f"cposix\nsystem\n(S'{shell}'\ntR".encode()
    yield "reduce", pickle.dumps(Call(os.system, shell), 2)[2:-1]
    yield "newest protocol", pickle.dumps(Call(open, str(path), "w"), 5)[2:-1]
    yield "eval", f"c__builtin__\neval\n(S{opened!r}\ntR".encode()
    yield "instance", f"(S'{shell}'\niposix\nsystem\n".encode()
    yield "object", f"(cposix\nsystem\nS'{shell}'\no".encode()
    yield "new", f"cposix\nsystem\n(S'{shell}'\nt\x81".encode("latin1")
    yield "new with keywords", f"cposix\nsystem\n(S'{shell}'\nt}}\x92".encode("latin1")
    yield "stack global", text("posix") + text("system") + b"\x93" + text(shell) + b"\x85R"
    yield (
        "subclass",
        (
            b"ctorch._tensor\n_rebuild_from_type_v2\n(cposix\nsystem\nNF"
            + b"1\n("
            + text(shell)
            + b"tNtR"
        ),
    )
    yield "default factory", b"ccollections\ndefaultdict\n(cposix\nsystem\ntR" + text(shell) + b"Ns"
    yield "build", b"cposix\nsystem\n)\x81}" + text("__setstate__") + posix + b"sb"
    yield (
        "getattr",
        f"c__builtin__\ngetattr\n(cposix\n__dict__\nS'system'\ntR(S'{shell}'\ntR".encode(),
    )
    yield "extension", b"\x82\x01(" + text(shell) + b"tR"
    yield "persistent module", b"(" + text("module") + posix + b"NNtQ"


@pytest.mark.parametrize("index", range(14))
def test_what_a_pickle_would_run_does_not_run_and_the_weights_beside_it_are_read(tmp_path, index):
    canary = tmp_path / "ran"
    kind, hostile = list(canaries(canary))[index]
    path = archive(tmp_path / "a.pt", b"}(" + text("x") + hostile + weights() + b"u")
    before = set(sys.modules)
    snapshot = torch_snapshot(path)
    assert [found.name for found in snapshot.tensors] == ["w.weight"], kind
    values = np.empty(2, np.float32)
    reader = snapshot.open()
    reader.read(snapshot.tensors[0], 0, 2, values)
    reader.close()
    assert values.tolist() == [1.0, 2.0]
    assert not canary.exists()
    assert set(sys.modules) - before <= {"encodings.cp437"}  # zipfile decodes names with it


def test_the_canary_would_have_been_seen(tmp_path):
    canary = tmp_path / "ran"
    pickle.loads(dict(canaries(canary))["reduce"] + b".")
    assert canary.exists()


def test_every_class_of_the_standard_library_stays_a_name():
    for module, name in [("builtins", n) for n in dir(__builtins__) if isinstance(n, str)][:200]:
        if (module, name) not in MAKERS:
            made = loaded(f"c{module}\n{name}\n(S'1'\ntR.".encode())
            assert isinstance(made, Inert)
            assert made.arguments == ("1",)


@pytest.mark.parametrize("protocol", range(6))
def test_plain_values_are_what_pythons_own_unpickler_makes_of_them(protocol):
    value = {
        "text": "naïve ☃",
        "numbers": [0, 1, -1, 255, 65536, -(2**31), 2**40, -(2**70), 1.5, -0.0, True, False, None],
        "nested": {"a": [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)], 3: {"b": {}}},
        "bytes": b"abc\x00" if protocol >= 3 else "",
    }
    value["again"] = value["nested"]
    assert loaded(pickle.dumps(value, protocol)) == value


def test_every_operation_of_pickletools_is_known_but_buffers_from_outside():
    codes = {operation.code.encode("latin1")[0] for operation in pickletools.opcodes}
    assert codes - set(unpickling._OPERATIONS) == {ord("."), 0x97}


def bombs():
    yield "lists", b"]" * 1_000_000
    yield "sets", b"\x8f" * 500_000
    yield "mappings", b"}" * 500_000
    yield "marks", b"(" * 900_000
    yield "objects", b"cos\nsystem\n" + b"2)\x81" * 200_000
    yield "doubling", b"](" + b"h\x00" * 100 + b"e"
    yield "nested lists", b"]" * 30_000 + b"a" * 29_999
    yield "memo", b"N" + b"".join(b"r" + struct.pack("<I", i * 997) for i in range(200_000))
    yield "far memo", b"Nr\xff\xff\xff\xff"
    yield "long text", b"X\xff\xff\xff\xff"
    yield "very long text", b"\x8d" + b"\xff" * 8
    yield "long number", b"\x8b\xff\xff\xff\x7f"
    yield "digits", b"L" + b"9" * 1_000_000 + b"\n"
    yield "frame", b"\x95" + b"\xff" * 8 + b"]" * 10
    yield (
        "bytearray",
        b"c__builtin__\nbytearray\n\x8a\x05" + (2300 << 20).to_bytes(5, "little") + b"\x85R",
    )
    yield "repeated argument", b"]" + b"2a" * 1000 + b"c__builtin__\nlist\n" + b"h\x00\x85R"
    yield (
        "same hash",
        b"}(" + b"".join(number(i * (2**61 - 1)) + b"N" for i in range(7)) * 2_000 + b"u",
    )
    yield "deep keys", b"}N\x85" + b"2\x86" * 60 + b"Ns"
    yield "itself", b"}q\x00" + text("model") + b"h\x00s"


@pytest.mark.parametrize("index", range(19))
def test_a_bomb_takes_little_memory_and_ends_in_one_sentence(tmp_path, index, monkeypatch):
    kind, bomb = list(bombs())[index]
    path = archive(tmp_path / "a.pt", bomb, compression=zipfile.ZIP_DEFLATED)
    monkeypatch.setattr(pickle_stack, "BUDGET", BUDGET)
    monkeypatch.setattr(unpickling, "OPERATIONS", OPERATIONS)
    tracemalloc.start()
    try:
        with pytest.raises(KoopscopeError) as raised:
            torch_snapshot(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < MEMORY, f"{kind}: {peak >> 20} MiB"
    assert "\n" not in raised.value.message


def laughs(depth):
    """Each list holds the one before twice: 2 ** depth paths to the first."""
    inner = b"](N" + b"eq\x00"
    for level in range(depth):
        inner += b"](h" + bytes([level]) + b"h" + bytes([level]) + b"eq" + bytes([level + 1])
    return inner


def test_what_is_shared_is_searched_once(tmp_path):
    path = archive(tmp_path / "a.pt", b"}(" + text("x") + laughs(60) + weights() + b"u")
    assert [found.name for found in torch_snapshot(path).tensors] == ["w.weight"]


def read_all(path):
    snapshot = torch_snapshot(path)
    reader = snapshot.open()
    try:
        for found in snapshot.tensors:
            part = np.empty(min(found.size, 1000), np.float32)
            reader.read(found, 0, len(part), part)
    finally:
        reader.close()
    return snapshot


@pytest.mark.parametrize(
    ("described", "said"),
    [
        (tensor("0", (2,), (1,), 2, offset=1), "reaches beyond"),
        (tensor("0", (2,), (2**40,), 2), "reaches beyond"),
        (tensor("0", (2,), (1,), 10**12), "should have 4,000,000,000,000 bytes"),
        (tensor("0", (2**40, 2**40), (1, 1), 2), "no sizes"),
        (tensor("0", (-2,), (1,), 2), "no sizes"),
        (tensor("0", (2,), (-1,), 2), "no sizes"),
        (tensor("0", (2,), (1, 1), 2), "no sizes"),
        (tensor("0", (2,), (1,), 2, offset=-1), "no sizes"),
        (tensor("none", (2,), (1,), 2), "none is missing"),
        (tensor("../../etc/passwd", (2,), (1,), 2), "is missing"),
    ],
)
def test_a_tensor_that_is_not_where_it_says_is_one_sentence(tmp_path, described, said):
    content = mapping(**{"w.weight": tensor("0", (2,), (1,), 2), "v.weight": described})
    with pytest.raises(KoopscopeError, match=said):
        read_all(archive(tmp_path / "a.pt", content))


def test_a_declared_four_terabytes_is_left_out(tmp_path):
    content = mapping(
        **{"a.weight": tensor("0", (10**12,), (0,), 2), "b.weight": tensor("0", (2,), (1,), 2)}
    )
    snapshot = read_all(archive(tmp_path / "a.pt", content))
    assert [found.name for found in snapshot.tensors] == ["b.weight"]
    assert "more values than the file stores" in snapshot.skipped[0].reason


def test_compressed_storages_are_unpacked_and_bombs_of_them_are_not(tmp_path):
    content = mapping(**{"w.weight": tensor("0", (300, 5), (5, 1), 1500)})
    values = np.arange(1500, dtype="<f4").tobytes()
    packed = archive(tmp_path / "a.pt", content, {"0": values}, zipfile.ZIP_DEFLATED)
    snapshot = torch_snapshot(packed)
    reader, out = snapshot.open(), np.empty(700, np.float32)
    reader.read(snapshot.tensors[0], 600, 1300, out)
    reader.close()
    assert out.tolist() == list(range(600, 1300))
    count = 2**25
    content = mapping(**{"w.weight": tensor("0", (count,), (1,), count)})
    bomb = archive(tmp_path / "b.pt", content, {"0": bytes(4 * count)}, zipfile.ZIP_DEFLATED)
    with pytest.raises(KoopscopeError, match="would unpack from"):
        read_all(bomb)
    bzip = archive(tmp_path / "c.pt", content, {"0": bytes(4 * count)}, zipfile.ZIP_BZIP2)
    with pytest.raises(KoopscopeError, match="PyTorch never uses"):
        read_all(bzip)


def test_a_file_cut_short_while_it_is_read_is_one_sentence(tmp_path):
    count = 100_000
    content = mapping(**{"w.weight": tensor("0", (count,), (1,), count)})
    path = archive(tmp_path / "a.pt", content, {"0": bytes(4 * count)})
    snapshot = torch_snapshot(path)
    reader, out = snapshot.open(), np.empty(count // 2, np.float32)
    reader.read(snapshot.tensors[0], 0, count // 2, out)
    os.truncate(path, 10_000)
    with pytest.raises(KoopscopeError, match="became shorter"):
        reader.read(snapshot.tensors[0], count // 2, count, out)
    reader.close()


def test_a_big_endian_file_is_read_as_one(tmp_path):
    path = tmp_path / "a.pt"
    with zipfile.ZipFile(path, "w") as zipped:
        zipped.writestr("a/data.pkl", b"\x80\x02" + mapping(w=tensor("0", (2,), (1,), 2)) + b".")
        zipped.writestr("a/byteorder", "big")
        zipped.writestr("a/data/0", struct.pack(">2f", 1.0, 2.0))
    snapshot, out = torch_snapshot(path), np.empty(2, np.float32)
    reader = snapshot.open()
    reader.read(snapshot.tensors[0], 0, 2, out)
    reader.close()
    assert out.tolist() == [1.0, 2.0]


def test_a_list_of_members_that_declares_gigabytes_is_not_allocated(tmp_path):
    path = tmp_path / "a.pt"
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, 2**31 - 100, 100, 0)
    with path.open("wb") as file:
        file.write(b"PK\x03\x04" + bytes(96))
        file.truncate(2**31)
        file.seek(2**31)
        file.write(end)
    with pytest.raises(KoopscopeError, match="cannot be read"):
        torch_snapshot(path)


def test_a_pickle_that_ends_early_is_damaged():
    for cut in range(len(whole := pickle.dumps({"a": [1, 2.5, "x"]}, 4)) - 1):
        with pytest.raises(DamagedError):
            loaded(whole[:cut])
