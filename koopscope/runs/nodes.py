"""Which weights lead into one node of a network: told by names and shapes, as frameworks use them.

A node is what one output of a layer is computed by: a row of a PyTorch ``weight``, the last axis of
a Keras or Flax ``kernel``, with its entry of the layer's bias. Opens no file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from koopscope.runs.run import TensorInfo

#: How the kernel of a layer is called in Keras 3 files; its bias follows as ``/1``.
_KERAS_KERNEL = "/0"


def outputs_of(
    tensor: TensorInfo, parameters: Sequence[TensorInfo]
) -> tuple[int, TensorInfo | None]:
    """Return the axis of a matrix or kernel with one index per node, and the nodes' bias.

    The first axis, as in PyTorch, or the last for a ``kernel``, as in Keras and Flax; but where the
    bias fits only another of the two, or a transposed convolution's second, that one.

    Parameters
    ----------
    tensor
        With two axes at least.
    parameters
        Where the bias is looked for, by its name.
    """
    names = _bias_names(tensor.name)
    return _with_bias(tensor, next((other for other in parameters if other.name in names), None))


def outputs_among(
    tensor: TensorInfo, by_name: Mapping[str, TensorInfo]
) -> tuple[int, TensorInfo | None]:
    """Return the same as ``outputs_of``, from parameters by their names: quick for many tensors."""
    names = _bias_names(tensor.name)
    return _with_bias(tensor, next((by_name[name] for name in names if name in by_name), None))


def _with_bias(tensor: TensorInfo, bias: TensorInfo | None) -> tuple[int, TensorInfo | None]:
    if bias is not None and len(bias.shape) != 1:
        bias = None
    axis = _output_axis(tensor, bias)
    if bias is not None and bias.size != tensor.shape[axis]:
        bias = None
    return axis, bias


def _output_axis(tensor: TensorInfo, bias: TensorInfo | None) -> int:
    last = len(tensor.shape) - 1
    is_kernel = _leaf(tensor.name).startswith("kernel") or tensor.name.endswith(_KERAS_KERNEL)
    usual = last if is_kernel else 0
    if bias is None or tensor.shape[usual] == bias.size:
        return usual
    fitting = [axis for axis in dict.fromkeys((0, 1, last)) if tensor.shape[axis] == bias.size]
    return fitting[0] if len(fitting) == 1 else usual


def _bias_names(name: str) -> set[str]:
    """Return what the bias that belongs to a tensor may be called."""
    if name.endswith(_KERAS_KERNEL):
        return {name.removesuffix(_KERAS_KERNEL) + "/1"}
    leaf = _leaf(name)
    return {
        name[: len(name) - len(leaf)] + leaf.replace(w, "bias") for w in ("weight", "kernel")
    } - {name}


def _leaf(name: str) -> str:
    return name[max(name.rfind("."), name.rfind("/")) + 1 :]
