"""What a parameter is for, told by its name and its place in the network: why it stays whole.

A lookup row or a scale that is zeroed is lost whole, where one weight of many is not, so embeddings
and norms are pruned only where somebody asks for them by name. Sees names, shapes and ties; reads
no weight.
"""

from __future__ import annotations

from collections.abc import Sequence

from koopscope.runs.names import words_of
from koopscope.runs.nodes import outputs_of
from koopscope.runs.run import TensorInfo

#: Why a parameter with one axis stays.
SMALL = "a bias or a scale"

#: Words of a name that say what a table is, in the spellings of the usual model code.
_EMBEDDING = frozenset(
    ("emb", "embs", "embed", "embeds", "embedder", "embedding", "embeddings", "wte", "codebook")
)
_POSITION = frozenset(("pos", "position", "positions", "positional", "wpe", "rope", "relpos"))
_NORM = frozenset(("norms", "bn", "gn", "ln"))

#: Words that say so only at the end of a name: ``cls_token`` does, ``token_mixer.fc`` does not.
_AT_THE_END = frozenset(["token", "tokens", "tok", "vocab", "vocabulary", "lookup"])

#: What the array of a layer is called, which says nothing of the layer.
_LEAVES = frozenset(["weight", "weights", "kernel", "table", "value", "w"])

#: A first matrix is taken for a lookup table only if it has this many times more rows than columns.
_TALL = 2


def role(names: Sequence[str], tensor: TensorInfo, matrices: Sequence[TensorInfo]) -> str | None:
    """Return why a parameter with two axes or more is kept by default; ``None`` if it is not.

    Parameters
    ----------
    names
        Every name under which it was recorded, its own first.
    tensor
        The parameter.
    matrices
        All parameters of the network with two axes or more, in model order, tied ones once.
    """
    for name in names:
        told = _by_words(words_of(name))
        if told is not None:
            return told
    return _by_place(names, tensor, matrices)


def _by_words(words: Sequence[str]) -> str | None:
    known = set(words)
    if known & _POSITION:
        return "a table of positions"
    telling = [word for word in words if word not in _LEAVES]
    at_the_end = bool(telling) and telling[-1] in _AT_THE_END
    if at_the_end or known & _EMBEDDING or any("embed" in word for word in words):
        return "an embedding"
    if known & _NORM or any(word.endswith("norm") for word in words):
        return "a norm"
    return None


def _by_place(
    names: Sequence[str], tensor: TensorInfo, matrices: Sequence[TensorInfo]
) -> str | None:
    """Tell the input embedding of a language model whose name does not say it.

    It is the first matrix, with far more rows than columns. Recorded again as another layer, it is
    tied to the outputs. With a row for each of the network's outputs, and as many columns as these
    have inputs, it holds a row for each word of the vocabulary that they predict.
    """
    if len(tensor.shape) != 2 or tensor != matrices[0]:
        return None
    rows, columns = tensor.shape
    if rows < _TALL * columns:
        return None
    if len(names) > 1:
        return "an embedding tied to the outputs"
    last = matrices[-1]
    if last == tensor or len(last.shape) != 2:
        return None
    axis, _ = outputs_of(last, matrices)
    if (last.shape[axis], last.shape[1 - axis]) == (rows, columns):
        return "an embedding, by its rows: one for each output of the network"
    return None
