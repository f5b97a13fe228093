"""Ranges of a flattened tensor and the slabs they are made of: nothing twice, nothing missing."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from koopscope.runs.hdf5.slabs import aligned_ranges, slabs

SHAPES = st.lists(st.integers(1, 6), max_size=4).map(tuple)


@given(SHAPES, st.data())
def test_slabs_are_the_range_in_order_and_few(shape, data):
    size = math.prod(shape)
    start = data.draw(st.integers(0, size))
    stop = data.draw(st.integers(start, size))
    flat = np.arange(size).reshape(shape)
    parts = list(slabs(shape, start, stop))
    taken = [
        flat[tuple(slice(a, a + n) for a, n in zip(part.start, part.count, strict=True))].reshape(
            -1
        )
        for part in parts
    ]
    np.testing.assert_array_equal(
        np.concatenate([np.empty(0, int), *taken]), np.arange(start, stop)
    )
    assert len(parts) <= max(1, 2 * len(shape) - 1)


@given(SHAPES, st.data())
def test_aligned_ranges_cover_all_once_each_one_slab_within_the_width(shape, data):
    chunk = tuple(data.draw(st.integers(1, size)) for size in shape)
    width = data.draw(st.integers(1, 40))
    ranges = list(aligned_ranges(shape, chunk, width))
    assert [stop for _, stop in ranges[:-1]] == [start for start, _ in ranges[1:]]
    assert (ranges[0][0], ranges[-1][1]) == (0, math.prod(shape))
    for start, stop in ranges:
        assert 0 < stop - start <= width
        assert len(list(slabs(shape, start, stop))) == 1


def test_ranges_end_where_chunks_end_and_split_larger_chunks_evenly():
    assert list(aligned_ranges((100,), (8,), 20))[:3] == [(0, 16), (16, 32), (32, 48)]
    assert list(aligned_ranges((100,), (50,), 20))[:4] == [(0, 17), (17, 34), (34, 50), (50, 67)]
