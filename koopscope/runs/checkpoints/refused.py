"""Kinds of checkpoints that are known and not read: what each is, and how to convert it."""

from __future__ import annotations

from pathlib import Path

from koopscope.errors import KoopscopeError

#: How a name ends -> what the file is, and what to do.
_FILES = {
    ".gguf": (
        "a GGUF file, which is made for running a network and not for training it",
        "name the checkpoints that it was made from",
    ),
    ".onnx": (
        "an ONNX file, which is made for running a network and not for training it",
        "name the checkpoints that it was made from",
    ),
    ".weights.json": (
        "the index of sharded Keras weights, which are not read",
        "save them in one file: model.save_weights('model.weights.h5')",
    ),
}

_OF_TENSORFLOW = (
    'python -c "import numpy, tensorflow as tf; r = tf.train.load_checkpoint({0!r}); '
    "numpy.savez({0!r} + '.npz', **{{n: r.get_tensor(n) for n in r.get_variable_to_shape_map()}})\""
)

SUFFIXES = (".index", *_FILES)


def refuse_known(path: Path) -> None:
    """Raise what tells about a file or folder of a kind that is known and not read, if it is one.

    Raises
    ------
    KoopscopeError
        With the command that converts it.
    """
    if path.is_dir():
        _refuse_folder(path)
        return
    name = path.name
    if name.endswith(".index") and any(path.parent.glob(f"{_plain(name[:-6])}.data-*-of-*")):
        raise _tensorflow(path.with_suffix(""))
    for suffix, (what, hint) in _FILES.items():
        if name.endswith(suffix):
            raise KoopscopeError(f"{path} is {what}", hint)


def _refuse_folder(folder: Path) -> None:
    if (folder / "saved_model.pb").is_file():
        prefix = folder / "variables" / "variables"
        raise KoopscopeError(
            f"{folder} is a SavedModel of TensorFlow, which is not read",
            f"turn its weights into an .npz first: {_OF_TENSORFLOW.format(str(prefix))}",
        )
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.name.endswith(SUFFIXES):
            refuse_known(path)


def _tensorflow(prefix: Path) -> KoopscopeError:
    return KoopscopeError(
        f"{prefix} is a checkpoint of TensorFlow, which is not read",
        f"turn it into an .npz first: {_OF_TENSORFLOW.format(str(prefix))}",
    )


def _plain(name: str) -> str:
    """Return a name in which no letter stands for others in a pattern."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)
