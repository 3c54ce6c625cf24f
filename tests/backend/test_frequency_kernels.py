"""The linear solve in k-space against a dense system of normal equations."""

import numpy as np
import pytest
from oracles import relative_error
from oracles.fields import difference_symbols, dipole_kernel

from qsm_recon.backend.kernels.frequency import solve_susceptibility
from qsm_recon.operators.gradient import squared_difference_symbol

SPACING, MU1, MU2 = (1.0, 1.3, 0.7), 0.3, 1.7


def dense(symbol):
    """Matrix of a filter on images of its shape."""
    n = symbol.size
    unit = np.eye(n).reshape(n, *symbol.shape)
    columns = np.fft.ifftn(symbol * np.fft.fftn(unit, axes=(1, 2, 3)), axes=(1, 2, 3)).real
    return columns.reshape(n, n).T


@pytest.mark.parametrize("shape", [(4, 5, 6), (5, 4, 3)])
@pytest.mark.parametrize("zero_frequency", [0.0, 1 / 3])
def test_solves_the_normal_equations(shape, zero_frequency):
    rng = np.random.default_rng(4)
    kernel = dipole_kernel("continuous", shape, SPACING, (0.2, 0.3, 1))
    kernel[0, 0, 0] = zero_frequency
    matrix = dense(kernel)
    normal = MU2 * matrix.T @ matrix
    normal += sum(MU1 * dense(e).T @ dense(e) for e in difference_symbols(shape, SPACING))
    image, field = rng.standard_normal((2, *shape))
    right = MU1 * image.ravel() + MU2 * matrix.T @ field.ravel()
    if zero_frequency == 0:  # the mean is not determined: take the solution without one
        right -= right.mean()
    expected = np.linalg.lstsq(normal, right, rcond=1e-12)[0].reshape(shape)

    half = shape[2] // 2 + 1
    image_spectrum, field_spectrum = np.fft.rfftn(image), np.fft.rfftn(field)
    symbols = [squared_difference_symbol(n, h) for n, h in zip(shape, SPACING, strict=True)]
    settings = (MU1, 0.0, MU2, 1.0)
    for first, last in ((0, 2), (2, shape[1])):
        solve_susceptibility(
            image_spectrum, field_spectrum, kernel[..., :half].copy(), *symbols, first, last, half, *settings
        )
    assert relative_error(np.fft.irfftn(image_spectrum, shape, (0, 1, 2)), expected) < 1e-12
    assert relative_error(np.fft.irfftn(field_spectrum, shape, (0, 1, 2)).ravel(), matrix @ expected.ravel()) < 1e-12
