"""Filters in k-space against their formulas."""

import numpy as np
import pytest
from oracles import relative_error
from oracles.fields import dipole_kernel, filtered

from qsm_recon.engines.closed_form import (
    apply_filter,
    point_spread_amplitude,
    regularised_inverse,
    truncated_inverse,
)
from qsm_recon.operators.dipole import DipoleOperator
from qsm_recon.operators.grid import Grid

VOXEL_SIZE, DIRECTION = (0.8, 1.1, 2.0), (0.3, -0.2, 0.9)
SHAPES = [(8, 10, 12), (9, 5, 15), (10, 9, 15)]


def operator_and_kernel(shape):
    operator = DipoleOperator(Grid(shape, VOXEL_SIZE, DIRECTION), dtype=np.float64)
    return operator, dipole_kernel("continuous", shape, VOXEL_SIZE, DIRECTION)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("fill", [False, True])
def test_truncated_inverse(shape, fill):
    operator, kernel = operator_and_kernel(shape)
    expected = np.zeros(shape)
    large = np.abs(kernel) > 0.19
    expected[large] = 1 / kernel[large]
    if fill:
        expected[~large] = np.sign(kernel[~large]) / 0.19
    field = np.random.default_rng(0).standard_normal(shape)
    found = apply_filter(operator, field, truncated_inverse(operator.kernel, 0.19, fill=fill))
    assert relative_error(found, filtered(expected, field).real) < 1e-12


@pytest.mark.parametrize("shape", SHAPES)
def test_regularised_inverse_solves_the_normal_equations(shape):
    operator, kernel = operator_and_kernel(shape)
    field = np.random.default_rng(0).standard_normal(shape)
    chi = apply_filter(operator, field, regularised_inverse(operator.kernel, 0.03))
    assert np.allclose(filtered(kernel, filtered(kernel, chi).real - field).real + 0.03 * chi, 0, atol=1e-12)


def test_regularised_inverse_is_zero_where_nothing_is_known():
    kernel = np.array([0.0, 0.5])
    assert regularised_inverse(kernel, np.array([0.0, 0.0])) == pytest.approx([0, 2])


@pytest.mark.parametrize("shape", SHAPES)
def test_point_spread_amplitude_is_the_mean_over_the_whole_of_k_space(shape):
    operator, kernel = operator_and_kernel(shape)
    inverse = truncated_inverse(operator.kernel, 0.19, fill=True)
    expected = np.minimum(np.abs(kernel) / 0.19, 1).mean()
    assert point_spread_amplitude(operator, inverse) == pytest.approx(expected, rel=1e-12)
    # It is the value that a point of susceptibility one comes back with.
    point = np.zeros(shape)
    point[3, 2, 4] = 1
    found = apply_filter(operator, operator.forward(point), inverse)
    assert found[3, 2, 4] == pytest.approx(expected, rel=1e-12)
