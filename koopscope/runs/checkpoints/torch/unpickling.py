"""A machine for pickles that builds plain data and stand-ins: it imports nothing and calls nothing.

Python's own unpickler runs what a pickle names. Here a name stays a name (``inert``), and only what
the caller lists, functions of this package, makes something of its arguments. What is built is
paid for from a budget before it is allocated, so that a small file cannot ask for much. The
operations are those of CPython's ``pickletools``, protocols 0 to 5.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any

from koopscope.runs.checkpoints.torch.inert import Bulk, Inert, Name
from koopscope.runs.checkpoints.torch.pickle_source import LONGEST_LINE, PickleSource
from koopscope.runs.checkpoints.torch.pickle_stack import Stack
from koopscope.runs.checkpoints.torch.window import DamagedError

#: How many operations one pickle may take.
OPERATIONS = 3_000_000

#: Longer texts and bytes are passed over, and longer numbers refused.
KEPT_TEXT = 2**20
_LONG = 1024

#: Makes something of the arguments that a pickle gives; never code of the file.
Maker = Callable[..., Any]


class Unpickler(Stack):
    """Build what one pickle describes.

    Parameters
    ----------
    source
        Where its bytes come from; the next pickle, if any, begins where this one stops.
    makers
        ``(module, name)`` -> what makes something of the arguments. Everything else becomes inert.
    persistent
        Makes something of a persistent id.
    """

    def __init__(
        self,
        source: PickleSource,
        makers: Mapping[tuple[str, str], Maker],
        persistent: Callable[[Any], Any],
    ) -> None:
        super().__init__()
        self._source = source
        self._makers = makers
        self._persistent = persistent

    def load(self) -> Any:
        """Return what the pickle holds.

        Raises
        ------
        DamagedError
            If it is no pickle, or beyond the bounds.
        """
        operations, read = _OPERATIONS, self._source.read
        for _ in range(OPERATIONS):
            code = read(1)
            if code == b".":
                return self._pop()
            operation = operations.get(code[0])
            if operation is None:
                raise DamagedError(
                    f"its pickle has the unknown operation {code!r} at byte "
                    f"{self._source.position - 1:,}"
                )
            operation(self)
        raise DamagedError(f"its pickle takes more than {OPERATIONS:,} operations")

    # Plain values

    def _unsigned(self, size: int) -> int:
        return int.from_bytes(self._source.read(size), "little")

    def _text(self, size: int, encoding: str | None) -> None:
        if size > KEPT_TEXT:
            self._source.skip(size)
            self._push(Bulk(size), 64)
            return
        self._pay(size + 64)
        raw = self._source.read(size)
        self._stack.append(_decoded(raw, encoding))

    def _none(self) -> None:
        self._push(None, 0)

    def _true(self) -> None:
        self._push(True, 0)

    def _false(self) -> None:
        self._push(False, 0)

    def _signed_4(self) -> None:
        self._push(int.from_bytes(self._source.read(4), "little", signed=True), 32)

    def _unsigned_1(self) -> None:
        self._push(self._unsigned(1), 0)

    def _unsigned_2(self) -> None:
        self._push(self._unsigned(2), 32)

    def _long(self, size: int) -> None:
        if size > _LONG:
            raise DamagedError(f"its pickle holds a number of {size:,} bytes")
        self._push(int.from_bytes(self._source.read(size), "little", signed=True), 32 + size)

    def _float(self) -> None:
        self._push(struct.unpack(">d", self._source.read(8))[0], 24)

    def _written_int(self) -> None:
        line = self._source.line()
        truth = {b"00": False, b"01": True}.get(line)
        self._push(_number(int, line) if truth is None else truth, 32)

    def _written_long(self) -> None:
        self._push(_number(int, self._source.line().rstrip(b"L")), 32 + LONGEST_LINE // 2)

    def _written_float(self) -> None:
        self._push(_number(float, self._source.line()), 24)

    def _written_text(self) -> None:
        line = self._source.line()
        self._push(_decoded(line.strip(b"'\""), "latin1"), 64 + len(line))

    def _written_unicode(self) -> None:
        line = self._source.line()
        self._push(_decoded(line, "raw-unicode-escape"), 64 + len(line))

    def _written_get(self) -> None:
        self._get(_number(int, self._source.line()))

    def _written_put(self) -> None:
        self._put(_number(int, self._source.line()))

    # What Python would import and call

    def _global(self) -> None:
        module = self._source.line().decode("utf-8", "replace")
        name = self._source.line().decode("utf-8", "replace")
        self._push(Name(module, name), 160 + len(module) + len(name))

    def _global_from_stack(self) -> None:
        name, module = self._pop(), self._pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise DamagedError("its pickle names something by what is no text")
        self._push(Name(module, name), 64)

    def _extension(self, size: int) -> None:
        self._push(Name("extension", str(self._unsigned(size))), 128)

    def _reduce(self) -> None:
        arguments, made_by = self._pop(), self._pop()
        self._push(self._made(made_by, arguments), 0)

    def _new(self) -> None:
        arguments, made_by = self._pop(), self._pop()
        self._push(self._made(made_by, arguments), 0)

    def _new_with_keywords(self) -> None:
        keywords, arguments, made_by = self._pop(), self._pop(), self._pop()
        self._push(self._inert(made_by, (arguments, keywords)), 0)

    def _object(self) -> None:
        values = self._since_mark()
        if not values:
            raise DamagedError("its pickle makes an object of nothing")
        self._push(self._made(values[0], tuple(values[1:])), 8 * len(values))

    def _instance(self) -> None:
        self._global()
        made_by = self._stack.pop()
        values = self._since_mark()
        self._push(self._made(made_by, tuple(values)), 8 * len(values))

    def _made(self, made_by: Any, arguments: Any) -> Any:
        if isinstance(made_by, Name) and isinstance(arguments, tuple):
            maker = self._makers.get((made_by.module, made_by.name))
            if maker is not None:
                self._pay(400 + sum(_weight(argument) for argument in arguments))
                try:
                    return maker(*arguments)
                except (TypeError, ValueError):  # arguments of another form than is known
                    return self._inert(made_by, arguments)
        return self._inert(made_by, arguments)

    def _inert(self, made_by: Any, arguments: Any) -> Inert:
        self._pay(260)
        return Inert(made_by, arguments)

    def _build(self) -> None:
        state = self._pop()
        target = self._top()
        if isinstance(target, Inert):
            target.state = state

    def _persistent_id(self) -> None:
        self._push(self._persistent(self._pop()), 200)

    def _written_persistent_id(self) -> None:
        self._push(self._persistent(_decoded(self._source.line(), "utf-8")), 200)

    # What needs no value

    def _protocol(self) -> None:
        version = self._unsigned(1)
        if version > 5:
            raise DamagedError(f"its pickle is of protocol {version}, and 0 to 5 are known")

    def _frame(self) -> None:
        self._source.read(8)

    def _nothing(self) -> None:
        """Do nothing: a buffer that may not be written is the same to a reader."""


def _decoded(raw: bytes, encoding: str | None) -> str | bytes | Any:
    if encoding is None:
        return raw
    try:
        text = raw.decode(encoding, "replace")
    except UnicodeDecodeError:
        text = raw.decode("latin1")
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _number(kind: Callable[[bytes], Any], line: bytes) -> Any:
    try:
        if len(line) > _LONG:
            raise ValueError
        return kind(line)
    except ValueError:
        raise DamagedError(f"its pickle holds {line[:20]!r} where a number belongs") from None


def _weight(value: Any) -> int:
    """Return roughly what a copy of an argument would take."""
    if isinstance(value, (str, bytes)):
        return 2 * len(value)
    return 64 * len(value) if isinstance(value, (tuple, list, dict, set, frozenset)) else 0


def _sized(size: int, encoding: str | None) -> Callable[[Unpickler], None]:
    return lambda self: self._text(self._unsigned(size), encoding)


_OPERATIONS: dict[int, Callable[[Unpickler], None]] = {
    code[0]: operation
    for code, operation in {
        b"N": Unpickler._none,
        b"\x88": Unpickler._true,
        b"\x89": Unpickler._false,
        b"J": Unpickler._signed_4,
        b"K": Unpickler._unsigned_1,
        b"M": Unpickler._unsigned_2,
        b"\x8a": lambda self: self._long(self._unsigned(1)),
        b"\x8b": lambda self: self._long(self._unsigned(4)),
        b"G": Unpickler._float,
        b"I": Unpickler._written_int,
        b"L": Unpickler._written_long,
        b"F": Unpickler._written_float,
        b"S": Unpickler._written_text,
        b"V": Unpickler._written_unicode,
        b"T": _sized(4, "latin1"),
        b"U": _sized(1, "latin1"),
        b"X": _sized(4, "utf-8"),
        b"\x8c": _sized(1, "utf-8"),
        b"\x8d": _sized(8, "utf-8"),
        b"B": _sized(4, None),
        b"C": _sized(1, None),
        b"\x8e": _sized(8, None),
        b"\x96": _sized(8, None),
        b"(": Unpickler._mark,
        b"0": Unpickler._pop_or_unmark,
        b"1": Unpickler._pop_mark,
        b"2": Unpickler._dup,
        b")": Unpickler._empty_tuple,
        b"\x85": lambda self: self._tuple(1),
        b"\x86": lambda self: self._tuple(2),
        b"\x87": lambda self: self._tuple(3),
        b"t": Unpickler._tuple_from_mark,
        b"]": Unpickler._empty_list,
        b"l": Unpickler._list_from_mark,
        b"}": Unpickler._empty_dict,
        b"d": Unpickler._dict_from_mark,
        b"\x8f": Unpickler._empty_set,
        b"\x91": Unpickler._frozenset_from_mark,
        b"a": Unpickler._append,
        b"e": Unpickler._appends,
        b"\x90": Unpickler._add_items,
        b"s": Unpickler._set_item,
        b"u": Unpickler._set_items,
        b"h": lambda self: self._get(self._unsigned(1)),
        b"j": lambda self: self._get(self._unsigned(4)),
        b"g": Unpickler._written_get,
        b"q": lambda self: self._put(self._unsigned(1)),
        b"r": lambda self: self._put(self._unsigned(4)),
        b"p": Unpickler._written_put,
        b"\x94": Unpickler._memoize,
        b"c": Unpickler._global,
        b"\x93": Unpickler._global_from_stack,
        b"\x82": lambda self: self._extension(1),
        b"\x83": lambda self: self._extension(2),
        b"\x84": lambda self: self._extension(4),
        b"R": Unpickler._reduce,
        b"\x81": Unpickler._new,
        b"\x92": Unpickler._new_with_keywords,
        b"o": Unpickler._object,
        b"i": Unpickler._instance,
        b"b": Unpickler._build,
        b"Q": Unpickler._persistent_id,
        b"P": Unpickler._written_persistent_id,
        b"\x80": Unpickler._protocol,
        b"\x95": Unpickler._frame,
        b"\x98": Unpickler._nothing,
    }.items()
}
