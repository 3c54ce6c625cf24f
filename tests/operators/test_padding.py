"""Sizes of padded grids."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsm_recon.backend.fft import fast_length
from qsm_recon.errors import ParameterError
from qsm_recon.operators.padding import padded_shape

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
