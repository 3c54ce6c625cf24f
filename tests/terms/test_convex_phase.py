"""How long the linear fidelity stands in for a nonlinear one."""

import numpy as np
import pytest

from qsm_recon.backend.fft import FourierTransform
from qsm_recon.terms.convex_phase import CONVEX_RAD, SETTLED, SHORTEST, ConvexPhase, excess
from qsm_recon.terms.field_model import WeightedField


def length(excess_after, iterations=None, most=2000):
    """Iterations that a phase takes when the excess after each is given, and those it looked at."""
    phase, looked = ConvexPhase(iterations), []
    for iteration in range(1, most + 1):
        if phase.watches:
            looked.append(iteration)
            half = 0.5 * excess_after(iteration)
            phase.add(8, half)
            phase.add(0, half)
        phase.finish_iteration()
        if not phase.going:
            return iteration, looked
    return None, looked


def test_ends_at_the_first_look_where_no_residual_is_large():
    assert length(lambda _: 0.0) == (5, [5])


def test_looks_four_times_an_octave():
    _, looked = length(lambda k: 1.0 / k**2, most=80)
    assert looked == [5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80]


def test_goes_on_while_doubling_the_iterations_takes_two_fifths_of_the_excess():
    assert length(lambda k: k**-0.8)[0] is None, "2^-0.8 = 0.57"
    assert length(lambda k: k**-0.7)[0] == SHORTEST, "2^-0.7 = 0.62"


def test_ends_when_what_is_left_stays():
    """Falls as 1 / k to a floor: after twice the iterations, (1 / 2k + floor) / (1 / k + floor) of it is left."""
    floor = 0.005
    done, looked = length(lambda k: 1 / k + floor)
    ratios = {k: (1 / k + floor) / (2 / k + floor) for k in looked if k >= SHORTEST}
    assert ratios[done] >= SETTLED
    assert all(ratio < SETTLED for k, ratio in ratios.items() if k < done)


@pytest.mark.parametrize("iterations", [0, 1, 12])
def test_a_given_number_is_kept_to(iterations):
    phase = ConvexPhase(iterations)
    for _ in range(iterations):
        assert phase.going
        assert not phase.watches
        phase.finish_iteration()
    assert not phase.going


def test_begins_anew_without_memory():
    phase = ConvexPhase(None)
    for _ in range(2):
        done = 0
        while phase.going:
            if phase.watches:
                phase.add(0, 1.0)
            phase.finish_iteration()
            done += 1
        assert done == SHORTEST
        phase.restart()


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
