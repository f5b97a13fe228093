"""PyTorch's dtypes: how wide their words are, and which numbers stand behind them.

NumPy knows no bfloat16 and no 8-bit floats. A bfloat16 is the upper half of a float32; each of the
256 words of an 8-bit float is looked up in a table.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from koopscope.runs.dtypes import widen_bfloat16
from koopscope.runs.run import FloatArray

#: Bytes of one element.
WIDTHS = {
    **dict.fromkeys(("bool", "uint8", "int8", "qint8", "quint8", "quint4x2", "quint2x4"), 1),
    **dict.fromkeys(("int16", "uint16", "float16", "bfloat16"), 2),
    **dict.fromkeys(("int32", "uint32", "qint32", "float32", "complex32"), 4),
    **dict.fromkeys(("int64", "uint64", "float64", "complex64"), 8),
    "complex128": 16,
    **dict.fromkeys(
        ("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu"), 1
    ),
}

#: What a run calls the numbers of each dtype that it can hold: 8-bit floats are float16 exactly.
READ_AS = {
    **{name: name for name in ("float16", "bfloat16", "float32", "float64")},
    **{name: name for name in ("complex64", "complex128")},
    **dict.fromkeys(
        ("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz"), "float16"
    ),
    "float8_e8m0fnu": "float32",
}

#: The names of typed storages, which older files give instead of a dtype.
STORAGES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
    "QInt8Storage": "qint8",
    "QUInt8Storage": "quint8",
    "QInt32Storage": "qint32",
    "QUInt4x2Storage": "quint4x2",
    "QUInt2x4Storage": "quint2x4",
    "UntypedStorage": "uint8",
}


def words(dtype: str, big_endian: bool = False) -> np.dtype[Any]:
    """Return the NumPy dtype in which elements are read: their bits where NumPy lacks ``dtype``."""
    plain = ("float16", "float32", "float64", "complex64", "complex128", "bool")
    if dtype in plain or dtype.lstrip("u").startswith("int"):
        as_read: np.dtype[Any] = np.dtype(dtype)
    else:
        as_read = np.dtype(f"u{WIDTHS[dtype]}")
    ordered: np.dtype[Any] = as_read.newbyteorder(">" if big_endian else "<")
    return ordered


def widened(dtype: str, read: npt.NDArray[Any], out: FloatArray) -> None:
    """Fill ``out`` with the numbers that words of ``dtype`` stand for, exactly."""
    if dtype == "bfloat16":
        native = read.astype(np.uint16, copy=False)
        if out.dtype == np.float32 and out.flags.c_contiguous:
            widen_bfloat16(native, out)
        else:
            out[...] = widen_bfloat16(native)
    elif dtype in _TABLES:
        out[...] = _table(dtype)[read]
    else:
        out[...] = read


@cache
def _table(dtype: str) -> FloatArray:
    return _TABLES[dtype]()


def _eight_bits(exponent_bits: int, bias: int) -> FloatArray:
    """Return the numbers of sign, exponent and fraction for each word, none of them special."""
    word = np.arange(256)
    fraction_bits = 7 - exponent_bits
    exponent = word >> fraction_bits & (1 << exponent_bits) - 1
    fraction = (word & (1 << fraction_bits) - 1) / 2.0**fraction_bits
    size = np.where(
        exponent == 0,
        np.ldexp(fraction, 1 - bias),
        np.ldexp(1.0 + fraction, exponent - bias),
    )
    return np.where(word < 128, size, -size)


def _e4m3fn() -> FloatArray:
    table = _eight_bits(4, 7)
    table[[0x7F, 0xFF]] = np.nan
    return table.astype(np.float16)


def _e5m2() -> FloatArray:
    return (np.arange(256, dtype=np.uint16) << 8).view(np.float16)


def _fnuz(exponent_bits: int, bias: int) -> FloatArray:
    """Neither infinities nor a negative zero, whose word is the only NaN (arXiv:2206.02915)."""
    table = _eight_bits(exponent_bits, bias)
    table[0x80] = np.nan
    return table.astype(np.float16)


def _e8m0() -> FloatArray:
    table = np.ldexp(1.0, np.arange(256) - 127)
    table[0xFF] = np.nan
    return table.astype(np.float32)


_TABLES: dict[str, Callable[[], FloatArray]] = {
    "float8_e4m3fn": _e4m3fn,
    "float8_e5m2": _e5m2,
    "float8_e4m3fnuz": lambda: _fnuz(4, 8),
    "float8_e5m2fnuz": lambda: _fnuz(5, 16),
    "float8_e8m0fnu": _e8m0,
}
