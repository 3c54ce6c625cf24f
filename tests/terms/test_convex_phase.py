"""How long the linear fidelity stands in for a nonlinear one."""

import numpy as np
import pytest

from qsm_recon.backend.fft import FourierTransform
from qsm_recon.terms.convex_phase import CONVEX_RAD, excess
from qsm_recon.terms.field_model import WeightedField


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("power", [1, 2])
def test_excess_is_what_exceeds_a_quarter_turn(dtype, power):
    rng = np.random.default_rng(0)
    measured, weight = 3 * rng.standard_normal((6, 4, 8)), rng.uniform(0, 2, (6, 4, 8))
    predicted = 3 * rng.standard_normal((3, 4, 8))
    expected = np.sum((weight[2:5] * np.maximum(np.abs(predicted - measured[2:5]) - np.pi / 2, 0))[..., :7])
    found = excess(predicted.astype(dtype), measured.astype(dtype), (weight**power).astype(dtype), power, 2, 7)
    assert found == pytest.approx(expected, rel=1e-5)
    in_ppm = excess(predicted / 20, measured / 20, weight, 1, 2, 7, 1 / 20)
    assert in_ppm == pytest.approx(expected / 20, rel=1e-6)


def outer_iterations(distances):
    """Linear outer iterations of the Gauss-Newton model when predicted fields end at these distances from φ (rad)."""
    shape, scale = (4, 5, 6), 20.0
    transform = FourierTransform(shape, np.float64)
    model = WeightedField(transform, np.zeros(shape), np.ones(shape), scale, None)
    for iteration, distance in enumerate(distances, start=1):
        assert model.provisional
        if model.begin_outer(iteration, transform.load_image(np.full(shape, distance / scale))):
            return iteration - 1
    return None


def test_outer_iterations_are_linear_until_the_excess_rests():
    assert outer_iterations([0.0, 1.0]) == 1, "at least one, though χ = 0 may fit everything"
    assert outer_iterations([0.0, 9.0, 3.0, 1.5]) == 3
    first = 1.0 + CONVEX_RAD
    assert outer_iterations([0.0, first, 0.7 + CONVEX_RAD, 0.6 + CONVEX_RAD]) == 3
