"""Sizes of padded grids."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsm_recon.backend.fft import fast_length
from qsm_recon.errors import ParameterError
from qsm_recon.operators.padding import padded_shape, padding_around

sizes = st.tuples(*[st.integers(1, 300)] * 3)
margins = st.tuples(*[st.integers(0, 64)] * 3)


@given(sizes, margins)
def test_every_axis_is_the_next_fast_size(shape, margin):
    expected = tuple(fast_length(n + m) for n, m in zip(shape, margin, strict=True))
    assert padded_shape(shape, margin) == expected


@given(sizes, st.integers(0, 64))
def test_one_number_pads_every_axis(shape, margin):
    assert padded_shape(shape, margin) == padded_shape(shape, (margin,) * 3)


def test_fast_sizes_are_left_alone():
    assert padded_shape((160, 162, 225)) == (160, 162, 225)
    assert padded_shape((164, 205, 205)) == (180, 216, 216)  # 164 = 4 · 41, 205 = 5 · 41


@pytest.mark.parametrize("padding", [-1, (0, 0, -2)])
def test_negative_padding_is_refused(padding):
    with pytest.raises(ParameterError, match="non-negative"):
        padded_shape((4, 4, 4), padding)


# ---- what an image lacks around a mask ----


def box(shape, *edges):
    mask = np.zeros(shape, bool)
    mask[tuple(slice(*edge) for edge in edges)] = True
    return mask


def test_nothing_is_added_where_the_mask_lies_well_inside():
    assert padding_around(box((40, 40, 40), (8, 32), (8, 30), (10, 32)), (1, 1, 1), 8) == (0, 0, 0)
    assert padding_around(box((40, 40, 40), (5, 35), (5, 35), (5, 35)), (1.7, 1.7, 2), 8) == (0, 0, 0)


@pytest.mark.parametrize(
    ("edges", "lacking"),
    [
        ((0, 40), 20),  # a slab: 10 mm on either side, a quarter more than the reach
        ((1, 39), 14),  # not cut, but too near: 8 mm on either side, less what there is
        ((0, 30), 8),  # cut on one side: 10 + 8 mm, less 10
        ((0, 20), 0),  # there is room enough on the other side
    ],
)
def test_what_is_missing_is_added(edges, lacking):
    mask = box((40, 60, 60), edges, (20, 40), (20, 40))
    assert padding_around(mask, (1, 1, 1), 8) == (lacking, 0, 0)
    assert padding_around(mask.transpose(2, 0, 1), (1, 1, 1), 8) == (0, lacking, 0)


def test_a_reach_is_in_mm():
    assert padding_around(np.ones((4, 4, 4), bool), (1.0, 2.0, 3.0), 8) == (20, 10, 8)
    assert padding_around(np.ones((4, 4, 4), bool), (1.0, 2.0, 3.0), 0) == (0, 0, 0)
