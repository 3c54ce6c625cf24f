"""Finite differences, their adjoint and symbol."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.fields import difference_symbols

from qsm_recon.operators.gradient import (
    forward_difference,
    forward_difference_adjoint,
    gradient_spacing,
    squared_difference_symbol,
)
from qsm_recon.operators.grid import Grid

shapes = st.tuples(*[st.integers(1, 8)] * 3)
spacings = st.tuples(*[st.floats(0.2, 4)] * 3)


@settings(max_examples=50, deadline=None)
@given(shapes, spacings, st.integers(0, 100))
def test_adjoint(shape, spacing, seed):
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal(shape), rng.standard_normal((3, *shape))
    gradient, divergence = forward_difference(x, spacing), forward_difference_adjoint(y, spacing)
    assert gradient.shape == y.shape
    assert divergence.shape == x.shape
    scale = np.linalg.norm(x) * np.linalg.norm(y) / min(spacing)
    assert abs(np.vdot(gradient, y) - np.vdot(x, divergence)) < 1e-13 * scale


@settings(max_examples=50, deadline=None)
@given(shapes, spacings)
def test_symbols(shape, spacing):
    x = np.random.default_rng(0).standard_normal(shape)
    symbols = difference_symbols(shape, spacing)
    expected = [np.fft.ifftn(symbol * np.fft.fftn(x)).real for symbol in symbols]
    assert np.allclose(forward_difference(x, spacing), expected, rtol=0, atol=1e-12)
    for axis, (n, h) in enumerate(zip(shape, spacing, strict=True)):
        along_axis = np.moveaxis(symbols[axis], axis, 0)[:, 0, 0]
        assert np.allclose(squared_difference_symbol(n, h), np.abs(along_axis) ** 2, rtol=0, atol=1e-11)


def test_differences_are_forward_and_periodic():
    image = np.zeros((3, 1, 1))
    image[:, 0, 0] = [1, 4, 9]
    assert forward_difference(image, (2, 1, 1))[0, :, 0, 0] == pytest.approx([1.5, 2.5, -4])


def test_spacing_of_the_conventions():
    grid = Grid((4, 4, 4), (0.5, 1.0, 2.0))
    assert gradient_spacing(grid) == (0.5, 1.0, 2.0)
    assert gradient_spacing(grid, "unit-voxel") == (1.0, 1.0, 1.0)
