"""What a pickle of PyTorch says of its tensors: which part of which storage, in which order.

No value is read here, and nothing is believed: whether a storage is as long as it should be shows
where it is looked up.
"""

from __future__ import annotations

import codecs
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from koopscope.runs.checkpoints.torch.dtypes import STORAGES, WIDTHS
from koopscope.runs.checkpoints.torch.inert import Inert, Name, is_a
from koopscope.runs.checkpoints.torch.pickle_stack import plain_key
from koopscope.runs.checkpoints.torch.unpickling import Maker
from koopscope.runs.checkpoints.torch.window import DamagedError

_AXES = 64
_LARGEST = 2**62


@dataclass(frozen=True, slots=True)
class Storage:
    """Elements that tensors share.

    Attributes
    ----------
    key
        Its name in the file.
    dtype
        As the pickle types it; ``uint8`` where it counts bytes.
    size
        How many elements it should have.
    offset
        Where it begins in the storage of that name, in elements: old files keep views of storages.
    """

    key: str
    dtype: str
    size: int
    offset: int = 0


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A view of a storage: offset and strides count elements of ``dtype``.

    PyTorch conjugates and negates lazily: the storage may hold the numbers as they were before.
    """

    storage: Storage
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    is_conjugated: bool = False
    is_negated: bool = False

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def is_repeated(self) -> bool:
        """Whether it has more elements than its storage: elements are shown more than once."""
        return self.size * WIDTHS[self.dtype] > self.storage.size * WIDTHS[self.storage.dtype]

    @property
    def bytes_needed(self) -> int:
        """Bytes of the storage up to the last element."""
        if not self.size:
            return 0
        reach = sum((n - 1) * step for n, step in zip(self.shape, self.strides, strict=True))
        first = self.storage.offset * WIDTHS[self.storage.dtype]
        return first + (self.offset + reach + 1) * WIDTHS[self.dtype]


@dataclass(frozen=True, slots=True)
class OtherTensor:
    """A tensor that is no plain array, and why."""

    reason: str


def storage_of(saved: Any) -> Storage | Any:
    """Return the storage that a persistent id stands for.

    Raises
    ------
    DamagedError
        If the id is of no known form.
    """
    if isinstance(saved, tuple) and len(saved) == 4 and saved[0] == "module":
        return saved[1]  # an old file's class beside its source text
    if not isinstance(saved, tuple) or len(saved) not in (5, 6) or saved[0] != "storage":
        raise DamagedError("its pickle refers to something that is no storage")
    _, kind, key, _, size = saved[:5]
    name = kind.name if isinstance(kind, Name) else ""
    dtype = STORAGES.get(name) or (name if name in WIDTHS else "")
    if not dtype:
        raise DamagedError(f"its pickle has a storage of the unknown kind {str(kind)[:80]!r}")
    if not isinstance(key, (str, int)) or not is_count(size):
        raise DamagedError("its pickle has a storage without a name or a size")
    view = saved[5] if len(saved) == 6 else None
    if view is None:
        return Storage(str(key), dtype, size)
    if not (isinstance(view, tuple) and len(view) == 3 and all(map(is_count, view[1:]))):
        raise DamagedError("its pickle has a view of a storage that is of no known form")
    return Storage(str(key), dtype, view[2], view[1])


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *rest: Any) -> Any:
    if not isinstance(storage, Storage):
        return OtherTensor("a tensor without a storage")
    return _view(storage, storage.dtype, offset, shape, strides, rest)


def _tensor_of_dtype(
    storage: Any, offset: Any, shape: Any, strides: Any, grad: Any, hooks: Any, dtype: Any, *_: Any
) -> Any:
    name = dtype.name if isinstance(dtype, Name) else str(dtype)
    if not isinstance(storage, Storage):
        return OtherTensor("a tensor without a storage")
    if name not in WIDTHS:
        return OtherTensor(f"{name} values, which are not known")
    return _view(storage, name, offset, shape, strides, _)


def _view(
    storage: Storage, dtype: str, offset: Any, shape: Any, strides: Any, rest: tuple[Any, ...]
) -> Any:
    axes = tuple(shape) if isinstance(shape, (tuple, list)) else (None,)
    steps = tuple(strides) if isinstance(strides, (tuple, list)) else ()
    if (
        not is_count(offset)
        or len(axes) != len(steps)
        or len(axes) > _AXES
        or not all(map(is_count, (*axes, *steps)))
        or math.prod(axes) > _LARGEST
    ):
        raise DamagedError("its pickle has a tensor whose shape, strides or offset are no sizes")
    marks = rest[-1] if rest and isinstance(rest[-1], dict) else {}
    is_conjugated, is_negated = bool(marks.get("conj")), bool(marks.get("neg"))
    return StoredTensor(storage, dtype, offset, axes, steps, is_conjugated, is_negated)


def is_count(value: Any) -> bool:
    """Return whether a value is a size, an offset or a step of sensible magnitude."""
    return type(value) is int and 0 <= value < _LARGEST


def _same(tensor: Any, *_: Any) -> Any:
    return tensor


def _subclass(make: Any, kind: Any, arguments: Any, state: Any = None, *_: Any) -> Any:
    """Return the tensor below a subclass; of a distributed one, only what is the whole of it."""
    maker = MAKERS.get((make.module, make.name)) if isinstance(make, Name) else None
    if maker is None or not isinstance(arguments, tuple):
        return OtherTensor(f"a {_named(kind)}, not a plain array")
    made = maker(*arguments)
    local = state.get("_local_tensor") if isinstance(state, dict) else None
    if isinstance(made, _Wrapped) and isinstance(local, StoredTensor):
        if local.shape == made.shape:
            return local
        return OtherTensor(f"one rank's part {list(local.shape)} of a tensor {list(made.shape)}")
    if isinstance(made, _Wrapped):
        return OtherTensor(f"a {_named(kind)}, not a plain array")
    return made


@dataclass(frozen=True, slots=True)
class _Wrapped:
    """The outside of a tensor subclass that keeps its values in attributes."""

    shape: tuple[int, ...]


def _wrapper(kind: Any, dtype: Any, shape: Any, *_: Any) -> _Wrapped:
    return _Wrapped(tuple(shape))


def _named(kind: Any) -> str:
    return kind.name if isinstance(kind, Name) else "tensor subclass"


def _other(reason: str) -> Maker:
    return lambda *_: OtherTensor(reason)


def _bytes(text: Any = "", encoding: Any = "latin1", *_: Any) -> Any:
    """Protocol 2 keeps bytes as text: ``_codecs.encode(text, 'latin1')``."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
        raise ValueError
    return codecs.encode(text, "latin1", "replace")


def _mapping(entries: Any = (), *_: Any) -> dict[Any, Any]:
    if isinstance(entries, dict):
        return dict(entries)
    if not isinstance(entries, (list, tuple)):
        return {}
    return {
        plain_key(pair[0]): pair[1]
        for pair in entries
        if isinstance(pair, (list, tuple)) and len(pair) == 2
    }


def _default_mapping(factory: Any = None, *entries: Any) -> dict[Any, Any]:
    return _mapping(*entries)


def _sequence(entries: Any = (), *_: Any) -> list[Any]:
    return list(entries) if isinstance(entries, (list, tuple)) else []


def _tuple(entries: Any = (), *_: Any) -> tuple[Any, ...]:
    return tuple(_sequence(entries))


def _complex(real: Any = 0.0, imaginary: Any = 0.0) -> complex:
    return complex(real, imaginary)


def _array_scalar(dtype: Any, raw: Any, *_: Any) -> Any:
    """A NumPy number: its dtype is an object whose argument names it."""
    code = dtype.arguments[0] if is_a(dtype, "dtype", "numpy") and dtype.arguments else ""
    if code not in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"):
        raise ValueError
    state = dtype.state if isinstance(dtype.state, tuple) else ()
    order = ">" if len(state) > 1 and state[1] == ">" else "<"
    return np.frombuffer(raw, np.dtype(f"{order}{code}"), 1)[0].item()


def _under(modules: Iterable[str], **makers: Maker) -> dict[tuple[str, str], Maker]:
    return {(module, name): maker for module in modules for name, maker in makers.items()}


_TORCH = ("torch._utils",)
_BUILTINS = ("builtins", "__builtin__")

#: The names that mean something here, and what is made of their arguments.
MAKERS: dict[tuple[str, str], Maker] = {
    **_under(
        _TORCH,
        _rebuild_tensor=_tensor,
        _rebuild_tensor_v2=_tensor,
        _rebuild_tensor_v3=_tensor_of_dtype,
        _rebuild_parameter=_same,
        _rebuild_parameter_with_state=_same,
        _rebuild_device_tensor_from_cpu_tensor=_same,
        _rebuild_device_tensor_from_numpy=_other("a NumPy array inside the pickle"),
        _rebuild_xla_tensor=_other("a NumPy array inside the pickle"),
        _rebuild_sparse_tensor=_other("sparse layout, not a plain array"),
        _rebuild_sparse_csr_tensor=_other("sparse layout, not a plain array"),
        _rebuild_nested_tensor=_other("nested layout, not a plain array"),
        _rebuild_mkldnn_tensor=_other("mkldnn layout, not a plain array"),
        _rebuild_qtensor=_other("quantized values, not floats that are recorded"),
        _rebuild_meta_tensor_no_storage=_other("a meta tensor, which has no values"),
        _rebuild_wrapper_subclass=_wrapper,
    ),
    **_under(("torch._tensor", "torch.tensor"), _rebuild_from_type=_subclass),
    **_under(("torch._tensor",), _rebuild_from_type_v2=_subclass),
    **_under(("torch.nn.parameter",), Parameter=_same, Buffer=_same),
    **_under(("torch.storage",), _load_from_bytes=_other("a tensor pickled without torch.save")),
    **_under(("torch",), Size=_tuple),
    **_under(
        ("torch.jit._pickle",), build_intlist=_same, build_doublelist=_same, build_tensorlist=_same
    ),
    **_under(("torch.jit._pickle",), restore_type_tag=_same, build_boollist=_same),
    **_under(("collections",), OrderedDict=_mapping, defaultdict=_default_mapping),
    **_under(
        _BUILTINS, dict=_mapping, list=_sequence, tuple=_tuple, set=_sequence, frozenset=_sequence
    ),
    **_under(_BUILTINS, complex=_complex),
    **_under(("_codecs",), encode=_bytes),
    **_under(("numpy.core.multiarray", "numpy._core.multiarray"), scalar=_array_scalar),
}


def looks_like_a_tensor(value: Any) -> bool:
    """Return whether a value is a tensor, or made by a function of PyTorch that is not known."""
    if isinstance(value, (StoredTensor, OtherTensor)):
        return True
    made_by = value.of if isinstance(value, Inert) else None
    return (
        isinstance(made_by, Name)
        and made_by.module.startswith("torch")
        and made_by.name.startswith("_rebuild")
    )
