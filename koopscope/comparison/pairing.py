"""Which tensor of one run is which of another: by name and shape, or by order where asked for.

Never guesses: what has another shape under the same name stays without a partner, and says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from koopscope.errors import KoopscopeError
from koopscope.runs.run import TensorInfo

Pairs = tuple[tuple[TensorInfo, TensorInfo], ...]


@dataclass(frozen=True)
class Pairing:
    """The tensors of two runs, paired.

    Attributes
    ----------
    pairs
        Of one name (or place, where matched by order) and one shape.
    only_first, only_second
        Without a partner.
    by_order
        Whether they were paired by their places, whatever their names.
    """

    pairs: Pairs
    only_first: tuple[TensorInfo, ...]
    only_second: tuple[TensorInfo, ...]
    by_order: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether every tensor has a partner: the same network."""
        return bool(self.pairs) and not self.only_first and not self.only_second

    @property
    def share(self) -> float:
        """Share of the first run's weights that have a partner."""
        weights = sum(one.size for one, _ in self.pairs)
        total = weights + sum(tensor.size for tensor in self.only_first)
        return weights / total if total else 0.0

    @property
    def note(self) -> str:
        """What a reader has to know of it, or nothing."""
        if self.by_order:
            return f"{len(self.pairs)} tensors were matched by order and shape, not by name"
        if self.is_complete:
            return ""
        if not self.pairs:
            return (
                "the runs have no tensor of one name and shape in common, so weights are not "
                "compared with weights: spectra, operators and courses are, of the whole network"
            )
        unpaired = [tensor.name for tensor in (*self.only_first, *self.only_second)]
        named = ", ".join(dict.fromkeys(unpaired[:3]))
        more = f" and {len(unpaired) - 3} more" if len(unpaired) > 3 else ""
        shared = "1 tensor is" if len(self.pairs) == 1 else f"{len(self.pairs)} tensors are"
        return f"{shared} in both runs; {named}{more} in one only, or in another shape"


def paired(
    first: Sequence[TensorInfo], second: Sequence[TensorInfo], *, by_order: bool = False
) -> Pairing:
    """Pair the tensors of two runs.

    Parameters
    ----------
    first, second
        In model order.
    by_order
        Pair the k-th with the k-th whatever they are called; shapes must agree throughout.

    Raises
    ------
    KoopscopeError
        If they are to be paired by order and a shape does not agree.
    """
    if by_order:
        return _by_order(first, second)
    known = {tensor.name: tensor for tensor in second}
    pairs = []
    for tensor in first:
        other = known.get(tensor.name)
        if other is not None and _fit(tensor, other):
            pairs.append((tensor, other))
    taken = {one.name for one, _ in pairs}
    return Pairing(
        tuple(pairs),
        tuple(tensor for tensor in first if tensor.name not in taken),
        tuple(tensor for tensor in second if tensor.name not in taken),
    )


def _fit(one: TensorInfo, other: TensorInfo) -> bool:
    return one.shape == other.shape and one.is_complex == other.is_complex


def _by_order(first: Sequence[TensorInfo], second: Sequence[TensorInfo]) -> Pairing:
    for k, (one, other) in enumerate(zip(first, second, strict=False)):
        if not _fit(one, other):
            raise KoopscopeError(
                f"tensor {k + 1} is {one.name} {list(one.shape)} in one run and "
                f"{other.name} {list(other.shape)} in the other, so order does not match them",
                "leave out what only one run has with --exclude, or compare without "
                "--match-by-order",
            )
    if len(first) != len(second):
        raise KoopscopeError(
            f"one run has {len(first)} tensors and the other {len(second)}, so order does not "
            "match them",
            "leave out what only one run has with --exclude",
        )
    return Pairing(tuple(zip(first, second, strict=True)), (), (), by_order=True)
