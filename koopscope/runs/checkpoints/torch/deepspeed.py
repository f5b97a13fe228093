"""DeepSpeed's folders: whole weights (ZeRO 1 and 2), or each rank's share of them (ZeRO 3).

At stage 3 a parameter is flattened, filled up to a multiple of the number of ranks, and cut into as
many equal shares; a rank's shares of all parameters, in the order of ``param_shapes``, follow each
other in the flat float32 groups of its ``optim_states.pt``. The weights are read from there in
place, which is what DeepSpeed's ``zero_to_fp32.py`` does. Nothing of it is believed: the shares
must make up the parameters.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from koopscope.errors import KoopscopeError
from koopscope.runs.checkpoints.snapshot import Snapshot
from koopscope.runs.checkpoints.torch.archive import content_of
from koopscope.runs.checkpoints.torch.content import Content
from koopscope.runs.checkpoints.torch.description import described
from koopscope.runs.checkpoints.torch.modules import entries
from koopscope.runs.checkpoints.torch.reading import Files, Piece, describing, place_of
from koopscope.runs.checkpoints.torch.snapshots import piece_of, snapshot_of, torch_snapshot
from koopscope.runs.checkpoints.torch.tensors import Storage, StoredTensor, is_count
from koopscope.runs.checkpoints.torch.window import DamagedError, damage_of
from koopscope.runs.hdf5.slabs import slabs

_RANK = re.compile(r"(?:bf16_)?zero_pp_rank_(\d+)_mp_rank_(\d+)_(model|optim)_states\.pt")

#: What a rank's ``model_states.pt`` says of the shares; the rest of it tells the step.
_ABOUT_SHARES = (
    "module", "param_shapes", "frozen_param_shapes", "frozen_param_fragments", "shared_params",
    "buffer_names", "ds_config", "optimizer", "lr_scheduler",
)  # fmt: skip

#: In front of the names of storages that stand for joined shares.
_JOINED = "shares of "

_MOST_RANKS = 2**14
_AXES = 64


def deepspeed_snapshot(path: Path, key: str | None = None) -> Snapshot:
    """Describe the folder of a DeepSpeed checkpoint by the first of its ``model_states.pt``.

    Parameters
    ----------
    path
        ``mp_rank_00_model_states.pt`` or ``zero_pp_rank_0_mp_rank_00_model_states.pt``.
    key
        Where in the former the weights lie, if not where they are looked for.

    Raises
    ------
    KoopscopeError
        If files are missing, damaged or do not belong together, or the network was cut among
        model-parallel ranks.
    """
    names = [other.name for other in path.parent.glob("*model_states.pt")]
    cut = {name for name in names if not name.endswith("mp_rank_00_model_states.pt")}
    if cut:
        raise KoopscopeError(
            f"{path.parent} holds the weights in {len(names)} parts, one of each model-parallel "
            "rank",
            "join them with the program that trained the network, and name the joined file",
        )
    if not path.name.startswith("zero_pp_rank"):
        return torch_snapshot(path, key)
    if key is not None:
        raise KoopscopeError(
            f"--key {key} chooses inside one file, and the weights of {path.parent} lie in shares",
            "leave it out",
        )
    return _joined(path)


def _joined(path: Path) -> Snapshot:
    folder = path.parent
    with damage_of(folder), describing() as files:
        model = _content(files, path)
        said = entries(model.value)
        shares = _Shares(files, folder, model)
        parts = {**shares.buffers(), **shares.frozen(), **shares.trained()}
        order = [name for name in entries(said.get("module")) if name in parts]
        module = {name: parts[name] for name in [*order, *parts]}
        for name, owner in entries(said.get("shared_params")).items():
            if isinstance(owner, str) and owner in module:
                module.setdefault(name, module[owner])
        value = {k: v for k, v in said.items() if k not in _ABOUT_SHARES} | {"module": module}
        description = described(folder, value, shares.locate, files)
        return snapshot_of(folder, "DeepSpeed ZeRO stage 3", description, files)


class _Shares:
    """What the ranks hold, and where."""

    def __init__(self, files: Files, folder: Path, model: Content) -> None:
        self._files, self._folder, self._model = files, folder, model
        self._said = entries(model.value)
        self._path = folder / "zero_pp_rank_0_mp_rank_00_model_states.pt"
        self._pieces: dict[str, tuple[Piece, ...]] = {}

    def buffers(self) -> dict[str, Any]:
        """Return the buffers, which every rank has whole."""
        said = self._said.get("buffer_names")
        names = said if isinstance(said, list) else []
        held = entries(self._said.get("module"))
        return {name: held[name] for name in names if isinstance(name, str) and name in held}

    def trained(self) -> dict[str, StoredTensor]:
        """Return the parameters that the optimizer has shares of."""
        shapes: dict[str, tuple[int, ...]] = {}
        groups = self._said.get("param_shapes")
        for group in groups if isinstance(groups, list) else []:
            shapes |= _shapes(group)
        if not shapes:
            raise KoopscopeError(
                f"{self._folder} holds the weights in shares, as DeepSpeed's ZeRO stage 3 saves "
                "them, and does not say which shapes the parameters have (param_shapes)",
                f"join them first: python zero_to_fp32.py . joined --tag {self._folder.name}, in "
                "the folder above it",
            )
        ranks = [self._flat_groups(path) for path in self._paths("optim")]
        sizes = [[tensor.size for _, _, tensor in rank] for rank in ranks]
        if any(size != sizes[0] for size in sizes):
            raise DamagedError("the shares of its ranks are not of one size")
        begin = 0
        for name, shape in shapes.items():
            share = -(-math.prod(shape) // len(ranks))
            self._pieces[_JOINED + name] = tuple(
                piece
                for number, rank in enumerate(ranks)
                for piece in _pieces(shape, number * share, rank, begin, begin + share)
            )
            begin += share
        if begin != sum(sizes[0]):
            raise DamagedError(
                f"its parameters take {begin:,} numbers of each rank, and {sum(sizes[0]):,} are "
                "there"
            )
        return {name: _standing_for(name, shape, "float32") for name, shape in shapes.items()}

    def frozen(self) -> dict[str, StoredTensor]:
        """Return the parameters that are not trained: each rank's share lies in its model file."""
        shapes = _shapes(self._said.get("frozen_param_shapes"))
        if not shapes:
            return {}
        paths = self._paths("model")
        files = [
            (path, self._model if path == self._path else _content(self._files, path))
            for path in paths
        ]
        made = {}
        for name, shape in shapes.items():
            pieces: list[Piece] = []
            dtypes = set()
            for number, (path, content) in enumerate(files):
                fragment = entries(entries(content.value).get("frozen_param_fragments")).get(name)
                share = -(-math.prod(shape) // len(paths))
                if not isinstance(fragment, StoredTensor) or fragment.size != share:
                    raise DamagedError(f"{path.name} lacks its share of {name}")
                dtypes.add(fragment.dtype)
                rank = [(path, content, fragment)]
                pieces += _pieces(shape, number * share, rank, 0, share)
            if len(dtypes) > 1:
                raise DamagedError(f"the shares of {name} are not of one precision")
            self._pieces[_JOINED + name] = tuple(pieces)
            made[name] = _standing_for(name, shape, dtypes.pop())
        return made

    def locate(self, tensor: StoredTensor) -> tuple[Piece, ...]:
        """Return where a tensor lies: in the shares, or in the first rank's model file."""
        joined = self._pieces.get(tensor.storage.key)
        return piece_of(self._path, self._model, tensor) if joined is None else joined

    def _paths(self, what: str) -> list[Path]:
        """Return every rank's file, in the order of the ranks.

        Raises
        ------
        DamagedError
            If the file of a rank is missing.
        """
        found: dict[int, Path] = {}
        for path in self._folder.iterdir():
            match = _RANK.fullmatch(path.name)
            if match and match[3] == what and len(match[1]) <= 6:
                found[int(match[1])] = path
        if len(found) > _MOST_RANKS:
            raise DamagedError(f"it holds the shares of {len(found):,} ranks")
        missing = set(range(max(found, default=0) + 1)) - set(found)
        if missing:
            raise DamagedError(f"the {what}_states.pt of rank {min(missing)} is missing")
        return [found[rank] for rank in sorted(found)]

    def _flat_groups(self, path: Path) -> list[tuple[Path, Content, StoredTensor]]:
        content = _content(self._files, path)
        state = entries(entries(content.value).get("optimizer_state_dict"))
        groups = state.get("fp32_flat_groups")
        if not isinstance(groups, list):  # under another name, those of stages 1 and 2
            raise DamagedError(f"{path.name} holds no shares of ZeRO stage 3")
        if state.get("partition_count") not in (None, len(self._paths("optim"))):
            raise DamagedError(
                f"{path.name} is one of {state['partition_count']} ranks', and "
                f"{len(self._paths('optim'))} are there"
            )
        for tensor in groups:
            is_flat = isinstance(tensor, StoredTensor) and len(tensor.shape) == 1
            if not is_flat or tensor.dtype != "float32" or tensor.strides not in ((1,), ()):
                raise DamagedError(f"the shares in {path.name} are no flat lists of float32")
        return [(path, content, tensor) for tensor in groups]


def _content(files: Files, path: Path) -> Content:
    if not path.is_file():
        raise DamagedError(f"{path.name} is missing")
    with damage_of(path):
        return content_of(files.whole(path))


def _pieces(
    shape: tuple[int, ...],
    first: int,
    rank: Sequence[tuple[Path, Content, StoredTensor]],
    begin: int,
    end: int,
) -> Iterator[Piece]:
    """Yield the rectangles of a tensor that a rank's numbers ``[begin, end)`` fill.

    Parameters
    ----------
    shape
        Of the tensor; its elements from ``first`` on are the rank's, as far as there are any.
    rank
        The lists of numbers that follow each other in a rank's file.
    """
    size = math.prod(shape)
    before = 0
    for path, content, flat in rank:
        low, high = max(begin, before), min(end, before + flat.size)
        start, stop = first + low - begin, min(size, first + high - begin)
        inside = low - before
        before += flat.size
        if low >= high:
            continue
        for slab in slabs(shape, start, stop) if start < stop else ():
            part = StoredTensor(
                flat.storage, flat.dtype, flat.offset + inside, slab.count, _strides(slab.count)
            )
            region = content.locate(flat.storage)
            yield Piece(slab.start, place_of(path, part, region, content.big_endian))
            inside += slab.size


def _standing_for(name: str, shape: tuple[int, ...], dtype: str) -> StoredTensor:
    """Return a tensor in a storage that is nowhere: its pieces are."""
    storage = Storage(_JOINED + name, dtype, math.prod(shape))
    return StoredTensor(storage, dtype, 0, shape, _strides(shape))


def _strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def _shapes(said: Any) -> dict[str, tuple[int, ...]]:
    """Return shapes by name.

    Raises
    ------
    DamagedError
        If one of them is none.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    held: Mapping[Any, Any] = entries(said)
    for name, shape in held.items():
        is_shape = isinstance(shape, tuple) and len(shape) <= _AXES and all(map(is_count, shape))
        if not isinstance(name, str) or not is_shape or math.prod(shape) >= 2**62:
            raise DamagedError(f"the shape of {name!r:.80} is none: {shape!r:.80}")
        shapes[name] = shape
    return shapes
