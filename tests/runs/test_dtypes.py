"""Tensors of every framework become the same arrays, by what they can do, bit for bit."""

import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as arrays

from koopscope.runs.dtypes import (
    LeftOutError,
    StoredArray,
    as_stored,
    named_tensors,
    widen_bfloat16,
)
from tests.frameworks import framework


class LikeKerasVariable:
    """Keras 3: a value inside, no array interface of its own."""

    def __init__(self, value):
        self.value = value
        self.shape = value.shape


class LikeTensorFlowVariable:
    """TensorFlow: ``numpy()`` gives the array, ``value()`` is a method."""

    def __init__(self, array):
        self._array = array
        self.shape = array.shape

    def numpy(self):
        return self._array

    def value(self):
        return self


class LikeJaxArray:
    """JAX: an array interface."""

    def __init__(self, array):
        self._array = array
        self.shape = array.shape

    def __array__(self, dtype=None, copy=None):
        return self._array


class Refusing:
    """A sparse or meta tensor: looks like one, cannot become an array."""

    shape = (2,)

    def __array__(self, dtype=None, copy=None):
        raise TypeError("cannot\nconvert")


@pytest.mark.parametrize(
    "wrap",
    [
        np.asarray,
        LikeJaxArray,
        LikeTensorFlowVariable,
        LikeKerasVariable,
        lambda array: LikeKerasVariable(LikeTensorFlowVariable(array)),
    ],
)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_arrays_of_any_kind_are_stored_as_they_are(wrap, dtype):
    array = np.arange(6, dtype=dtype).reshape(2, 3)
    stored = as_stored(wrap(array))
    assert stored.dtype == np.dtype(dtype).name
    np.testing.assert_array_equal(stored.words, array)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (np.arange(3), "int64 values"),
        (np.zeros(3, "M8[s]"), "datetime64[s] values"),
        (np.zeros(3, np.uint16), "uint16 values"),
        (np.zeros((2, 0)), "no elements (shape [2, 0])"),
        (0.5, "not a tensor but a float"),
        (None, "not a tensor but a NoneType"),
        ([1.0, 2.0], "not a tensor but a list"),
        (Refusing(), "cannot be converted to an array (cannot)"),
    ],
)
def test_what_is_not_recorded_says_why(value, reason):
    with pytest.raises(LeftOutError, match=f"^{re.escape(reason)}"):
        as_stored(value)


def test_strided_and_foreign_endian_arrays_are_stored_in_order():
    array = np.arange(12.0).reshape(3, 4).T[::2].astype(">f8")
    stored = as_stored(array)
    np.testing.assert_array_equal(stored.words, array)
    assert stored.words.dtype.isnative
    assert stored.words.flags.c_contiguous


def test_scalars_keep_their_empty_shape():
    assert as_stored(np.array(2.5)).words.shape == ()
    assert as_stored(np.float32(2.5)).words.shape == ()


def test_nested_mappings_are_joined_by_slashes_in_their_order():
    tree = {"params": {"Dense_0": {"kernel": 1, "bias": 2}}, "scale": 3, "list": {0: 4}}
    assert list(named_tensors(tree)) == [
        ("params/Dense_0/kernel", 1),
        ("params/Dense_0/bias", 2),
        ("scale", 3),
        ("list/0", 4),
    ]


@given(arrays.arrays(np.uint16, 50))
def test_every_bfloat16_survives_widening_and_narrowing(words):
    values = widen_bfloat16(words)
    np.testing.assert_array_equal(values.view(np.uint32) >> 16, words)
    again = StoredArray("float32", values).cast("bfloat16").words
    is_nan = np.isnan(values)
    np.testing.assert_array_equal(again[~is_nan], words[~is_nan])
    assert np.isnan(widen_bfloat16(again)[is_nan]).all()


def test_narrowing_to_bfloat16_rounds_to_nearest_even_as_torch_does():
    torch = framework("torch")
    words = np.random.default_rng(0).integers(0, 2**32, 100_000, np.uint32)
    words[:4] = [0x3F808000, 0x3F818000, 0x7F7FFFFF, 0x00000001]  # ties, the largest, the smallest
    values = words.view(np.float32)
    ours = StoredArray("float32", values).cast("bfloat16").words
    theirs = torch.from_numpy(values).bfloat16().view(torch.int16).numpy().view(np.uint16)
    numbers = ~np.isnan(values)
    np.testing.assert_array_equal(ours[numbers], theirs[numbers])


def test_torch_tensors_and_parameters_of_every_float_are_stored_bit_for_bit():
    torch = framework("torch")
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        tensor = torch.nn.Parameter(torch.randn(4, 6).to(dtype).t()[::2])
        stored = as_stored(tensor)
        assert stored.dtype == str(dtype).removeprefix("torch.")
        values = widen_bfloat16(stored.words) if dtype == torch.bfloat16 else stored.words
        np.testing.assert_array_equal(values, tensor.detach().double().numpy().astype(values.dtype))
    assert as_stored(torch.tensor(1.5, dtype=torch.bfloat16)).words.shape == ()
    for value, reason in (
        (torch.tensor(3), "int64 values"),
        (torch.empty(3, device="meta"), "cannot be converted"),
        (torch.eye(3).to_sparse(), "cannot be converted"),
    ):
        with pytest.raises(LeftOutError, match=f"^{reason}"):
            as_stored(value)


def test_ml_dtypes_bfloat16_arrays_are_stored_bit_for_bit():
    ml_dtypes = framework("ml_dtypes")
    array = np.array([1.0, -2.5, 3e38], ml_dtypes.bfloat16)
    stored = as_stored(array)
    assert stored.dtype == "bfloat16"
    np.testing.assert_array_equal(widen_bfloat16(stored.words), array.astype(np.float32))


def test_recording_imports_no_framework():
    script = (
        "import sys; from koopscope.runs.native.recorder import Recorder; "
        "print([name for name in ('torch', 'jax', 'tensorflow', 'keras') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
