"""Low-rank adapters (LoRA): the matrices A and B that are stored, and the product that they add.

A and B alone tell little of what training did, since a rotation may pass from one to the other; the
change of the network is ``scale * B A``. It is computed a range at a time and never held whole.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from koopscope.errors import KoopscopeError
from koopscope.runs.bounded_json import loaded
from koopscope.runs.checkpoints.safetensors import safetensors_snapshot
from koopscope.runs.checkpoints.snapshot import Snapshot, TensorReader
from koopscope.runs.checkpoints.torch.snapshots import torch_snapshot
from koopscope.runs.dtypes import LeftOutError
from koopscope.runs.run import FloatArray, Skipped, TensorInfo

CONFIG = "adapter_config.json"
_CONFIG_LIMIT = 4 * 2**20

#: What the product is called, after the module that it changes.
PRODUCT = "lora_product"

#: Elements of A, and of the rows of B at once, that are held: 128 MiB in float64.
_LARGEST_FACTOR = 2**24
_PART = 2**20

#: What programs call A and B: peft and diffusers; MLX, whose matrices are transposed.
_PEFT = re.compile(r"(?P<module>.+)\.lora_(?:embedding_)?(?P<which>[AB])(\.default)?(\.weight)?")
_MLX = re.compile(r"(?P<module>.+)\.lora_(?P<which>[ab])")

#: A key of ``rank_pattern`` that is a module's name and no expression: expressions in a file of
#: unknown origin could take for ever to match.
_PLAIN = re.compile(r"[\w.\-]+")


@dataclass(frozen=True)
class _Product:
    """``scale * left @ right`` with ``left`` (rows, r) and ``right`` (r, columns).

    ``flipped`` matrices are both stored transposed, as MLX does.
    """

    left: TensorInfo
    right: TensorInfo
    rank: int
    rows: int
    columns: int
    scale: float
    flipped: bool


def adapter_snapshot(path: Path) -> Snapshot:
    """Describe ``adapter_model.safetensors`` or MLX's ``adapters.safetensors``, with products.

    Raises
    ------
    KoopscopeError
        If it, or the ``adapter_config.json`` beside it, is damaged.
    """
    return with_products(safetensors_snapshot(path), path.with_name(CONFIG))


def torch_adapter_snapshot(path: Path, key: str | None = None) -> Snapshot:
    """Describe ``adapter_model.bin``, with products; ``key`` as for ``torch_snapshot``."""
    return with_products(torch_snapshot(path, key), path.with_name(CONFIG))


def with_products(snapshot: Snapshot, config: Path) -> Snapshot:
    """Return a snapshot with the product of each A and B added after the tensors.

    Parameters
    ----------
    snapshot
        Of an adapter; anything else is returned as it is.
    config
        The file that tells the scale.

    Raises
    ------
    KoopscopeError
        If the file is there and cannot be read.
    """
    pairs = _pairs(snapshot.tensors)
    if not pairs:
        return snapshot
    said = _said(config)
    products: dict[str, _Product] = {}
    infos: list[TensorInfo] = []
    skipped: list[Skipped] = []
    for module, (left, right, style) in pairs.items():
        name = f"{module}.{PRODUCT}"
        try:
            product = _product(module, left, right, style, said)
        except LeftOutError as error:
            skipped.append(Skipped(name, error.reason))
            continue
        double = "float64" in (left.dtype, right.dtype)
        # A convolution's kernel has the axes of its A beyond the rank.
        shape = (product.rows, *((product.columns,) if style == "mlx" else right.shape[1:]))
        infos.append(TensorInfo(name, shape, "float64" if double else "float32", "buffer"))
        products[name] = product
    return replace(
        snapshot,
        kind=f"adapter ({snapshot.kind})",
        tensors=(*snapshot.tensors, *infos),
        open=partial(_AdapterReader, snapshot, products),
        skipped=(*snapshot.skipped, *skipped),
        notes=(*snapshot.notes, *_notes(products, infos, config)),
    )


def _notes(
    products: Mapping[str, _Product], infos: list[TensorInfo], config: Path
) -> tuple[str, ...]:
    if not products:
        return ()
    scales = sorted({product.scale for product in products.values()})
    listed = ", ".join(f"{scale:g}" for scale in scales[:4])
    more = " and others" if len(scales) > 4 else ""
    count = f"{len(infos)} product{'s' if len(infos) > 1 else ''}"
    return (
        f"{count} of the adapter's B and A are computed as NAME.{PRODUCT}, times {listed}{more} "
        f"as {config.name} says: {sum(t.size for t in infos):,} numbers beside the weights "
        f"(--exclude '*.{PRODUCT}' leaves them out)",
    )


_Pair = tuple[TensorInfo, TensorInfo, str]


def _pairs(tensors: tuple[TensorInfo, ...]) -> dict[str, _Pair]:
    """Return for each module B, A and whose names they have: ``peft`` or ``mlx``."""
    factors: dict[tuple[str, str], dict[str, TensorInfo]] = {}
    for tensor in tensors:
        match, style = _PEFT.fullmatch(tensor.name), "peft"
        if match is None:
            match, style = _MLX.fullmatch(tensor.name), "mlx"
        if match is not None:
            factors.setdefault((match["module"], style), {})[match["which"].upper()] = tensor
    return {
        module: (pair["B"], pair["A"], style)
        for (module, style), pair in factors.items()
        if len(pair) == 2
    }


def _product(
    module: str, left: TensorInfo, right: TensorInfo, style: str, said: Mapping[str, Any]
) -> _Product:
    """Return how a product is computed; raise LeftOutError if it is not."""
    if left.is_complex or right.is_complex:
        raise LeftOutError("a product of complex matrices, which is not computed")
    flipped = style == "mlx"
    if len(left.shape) < 2 or len(right.shape) < 2:
        raise LeftOutError("a product of what are no matrices")
    if flipped:
        rank, rows = left.shape[0], math.prod(left.shape[1:])
        columns, other = right.shape[0], math.prod(right.shape[1:])
    else:
        rows, rank = left.shape[0], math.prod(left.shape[1:])
        other, columns = right.shape[0], math.prod(right.shape[1:])
    if rank != other or not rank:
        raise LeftOutError(
            f"the shapes {list(left.shape)} and {list(right.shape)} do not fit together"
        )
    if max(left.size, right.size) > _LARGEST_FACTOR:
        raise LeftOutError(f"a matrix of the two has more than {_LARGEST_FACTOR:,} weights")
    scale = _mlx_scale(said) if flipped else _peft_scale(module, rank, said)
    return _Product(left, right, rank, rows, columns, scale, flipped)


def _peft_scale(module: str, rank: int, said: Mapping[str, Any]) -> float:
    if not said:
        raise LeftOutError(f"its scale is not known: no {CONFIG} lies beside the weights")
    if said.get("use_dora"):
        raise LeftOutError("the adapter uses DoRA, whose change is no product of B and A alone")
    alpha: Any = said.get("lora_alpha")
    for pattern, value in _mapping(said.get("alpha_pattern")).items():
        if not _PLAIN.fullmatch(pattern):
            raise LeftOutError(
                f"its scale is given by the expression {pattern!r:.60}, which is not evaluated"
            )
        if module == pattern or module.endswith(f".{pattern}"):
            alpha = value
            break
    if not _is_real(alpha):
        raise LeftOutError(f"its scale is not known: {CONFIG} has no number lora_alpha")
    return float(alpha) / (math.sqrt(rank) if said.get("use_rslora") else rank)


def _mlx_scale(said: Mapping[str, Any]) -> float:
    scale: Any = _mapping(said.get("lora_parameters")).get("scale")
    if not _is_real(scale):
        raise LeftOutError(f"its scale is not known: no lora_parameters with a scale in {CONFIG}")
    return float(scale)


def _is_real(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 1e30


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _said(config: Path) -> dict[str, Any]:
    if not config.is_file():
        return {}
    try:
        with config.open("rb") as file:
            said = loaded(file.read(_CONFIG_LIMIT))
    except (OSError, ValueError):
        said = None
    if not isinstance(said, dict):
        raise KoopscopeError(f"{config} is not a readable JSON object", "copy the adapter again")
    return said


class _AdapterReader:
    """An open adapter; the two factors read last are kept, since parts are read in order."""

    def __init__(self, snapshot: Snapshot, products: Mapping[str, _Product]) -> None:
        self._stored: TensorReader = snapshot.open()
        self._products = products
        self._kept: tuple[str, npt.NDArray[np.float64], npt.NDArray[np.float64]] | None = None

    def read(self, tensor: TensorInfo, start: int, stop: int, out: FloatArray) -> None:
        """Fill ``out`` (stop - start) with those weights of the flattened tensor."""
        product = self._products.get(tensor.name)
        if product is None:
            self._stored.read(tensor, start, stop, out)
            return
        left, right = self._factors(tensor.name, product)
        columns = product.columns
        with np.errstate(over="ignore", invalid="ignore"):
            while start < stop:
                row, column = divmod(start, columns)
                rows = min((stop - start) // columns, max(1, _PART // columns))
                if column or not rows:  # a part of one row
                    end = min(columns, column + stop - start)
                    part = left[row] @ right[:, column:end]
                else:
                    part = (left[row : row + rows] @ right).reshape(-1)
                out[: part.size] = part * product.scale
                out, start = out[part.size :], start + part.size

    def _factors(
        self, name: str, product: _Product
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        if self._kept is None or self._kept[0] != name:
            self._kept = None  # before the next two are read
            left = self._matrix(product.left, product.flipped, product.rank, first=False)
            right = self._matrix(product.right, product.flipped, product.rank, first=True)
            self._kept = name, left, right
        return self._kept[1], self._kept[2]

    def _matrix(
        self, tensor: TensorInfo, flipped: bool, rank: int, *, first: bool
    ) -> npt.NDArray[np.float64]:
        stored = np.empty(
            tensor.size, np.float32 if tensor.dtype == "bfloat16" else np.dtype(tensor.dtype)
        )
        self._stored.read(tensor, 0, tensor.size, stored)
        rows_are_rank = first != flipped
        matrix = stored.astype(np.float64).reshape((rank, -1) if rows_are_rank else (-1, rank))
        return matrix.T if flipped else matrix

    def close(self) -> None:
        """Close the files."""
        self._kept = None
        self._stored.close()
