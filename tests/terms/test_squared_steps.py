"""The proximal steps of the fidelities against closed forms and a root finder."""

import numpy as np
import pytest
import scipy.optimize

from qsm_recon.terms.fidelity.chord import (
    held_squared_chord_step,
    squared_chord_step_double,
    squared_chord_step_single,
)
from qsm_recon.terms.fidelity.quadratic import quadratic_step

SHAPE, STRIDE, FIRST, LAST = (5, 3, 6), 8, 1, 4
MU_BEFORE, MU, RELAXATION = 0.8, 1.3, 1.6


class Case:
    """Random arguments on planes FIRST to LAST, with voxels of no weight among them, and what ought to come out."""

    def __init__(self, dtype, nonlinear, spread=1.0, largest_weight=1.2, relaxation=RELAXATION):
        rng = np.random.default_rng(3)
        draw = lambda low, high: rng.uniform(low, high, SHAPE).astype(dtype)  # noqa: E731
        self.measured, self.weight = draw(-2, 2), draw(0, largest_weight)
        self.weight[2, 1] = 0
        self.split = self.measured + draw(-spread, spread)
        self.predicted = (self.split + draw(-spread, spread))[FIRST:LAST]
        self.nonlinear, self.relaxation = nonlinear, relaxation
        self.dtype = dtype

    def padded(self, array):
        padded = np.full((*array.shape[:2], STRIDE), np.nan, self.dtype)
        padded[..., : SHAPE[2]] = array
        return padded

    def run(self, step, dual_scale=1 / MU_BEFORE):
        self.new_split, self.out = self.padded(self.split), self.padded(self.predicted)
        arguments = (self.out, self.new_split, self.padded(self.measured), self.padded(self.weight), FIRST, SHAPE[2])
        self.sums = step(*arguments, *(self.dtype(v) for v in (dual_scale, MU, self.relaxation)), ())
        self.new_split, self.out = self.new_split[..., : SHAPE[2]], self.out[..., : SHAPE[2]]

    def slope(self, z, phi, w):
        return w * np.sin(z - phi) if self.nonlinear else w * (z - phi)

    def misfit(self, d):
        return 1 - np.cos(d) if self.nonlinear else d**2 / 2

    def expected(self, dual_scale=1 / MU_BEFORE):
        z, phi, w = (a[FIRST:LAST].astype(np.float64) for a in (self.split, self.measured, self.weight))
        field = self.predicted.astype(np.float64)
        q = self.relaxation * field + (1 - self.relaxation) * z + dual_scale * self.slope(z, phi, w)
        new = np.empty_like(z)
        for i in np.ndindex(z.shape):
            low, high = q[i] - 3 * w[i] - 9, q[i] + 3 * w[i] + 9
            new[i] = scipy.optimize.brentq(
                lambda x, i=i: self.slope(x, phi[i], w[i]) + MU * (x - q[i]), low, high, xtol=1e-14
            )
        terms = (w * self.misfit(field - phi), (field - new) ** 2, (new - z) ** 2, new**2, (q - new) ** 2)
        return new, 2 * new - q, [term.sum() for term in terms]


class HeldCase(Case):
    """The same for 1 - cos up to the limit, and a slope that rises as the distance beyond."""

    def slope(self, z, phi, w):
        d = z - phi
        near = np.clip(d, -1.0, 1.0)
        return w * (np.sin(near) + d - near)

    def misfit(self, d):
        near, outer = np.minimum(np.abs(d), 1.0), np.maximum(np.abs(d) - 1.0, 0)
        return 1 - np.cos(near) + outer * np.sin(1.0) + outer**2 / 2


def assert_as_expected(case, tolerance, **arguments):
    new, out, sums = case.expected(**arguments)
    assert np.allclose(case.new_split[FIRST:LAST], new, rtol=0, atol=tolerance)
    assert np.allclose(case.out, out, rtol=0, atol=2 * tolerance)
    assert np.allclose(case.sums, sums, rtol=10 * tolerance)
    untouched = np.delete(np.arange(SHAPE[0]), np.arange(FIRST, LAST))
    assert np.array_equal(case.new_split[untouched], case.split[untouched])


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 2e-6), (np.float64, 1e-12)])
@pytest.mark.parametrize("dual_scale", [0.0, 1 / MU_BEFORE])
def test_quadratic_step(dtype, tolerance, dual_scale):
    case = Case(dtype, nonlinear=False)
    case.run(quadratic_step, dual_scale)
    assert_as_expected(case, tolerance, dual_scale=dual_scale)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 2e-6), (np.float64, 1e-12)])
@pytest.mark.parametrize("dual_scale", [0.0, 1 / MU_BEFORE])
@pytest.mark.parametrize("spread", [0.3, 3.0])
def test_held_square_step(dtype, tolerance, dual_scale, spread):
    case = HeldCase(dtype, nonlinear=False, spread=spread)
    case.run(held_squared_chord_step, dual_scale)
    assert_as_expected(case, tolerance, dual_scale=dual_scale)


@pytest.mark.parametrize("dual_scale", [0.0, 1 / MU_BEFORE])
@pytest.mark.parametrize(("spread", "relaxation"), [(0.1, RELAXATION), (0.9, RELAXATION), (3.0, 1.0)])
def test_nonlinear_step_in_double_precision_solves_its_equation(dual_scale, spread, relaxation):
    case = Case(np.float64, nonlinear=True, spread=spread, relaxation=relaxation)
    case.run(squared_chord_step_double, dual_scale)
    assert_as_expected(case, 1e-12, dual_scale=dual_scale)


def test_nonlinear_step_in_single_precision_solves_its_equation_from_nearby():
    case = Case(np.float32, nonlinear=True, spread=0.3)
    case.run(squared_chord_step_single)
    assert_as_expected(case, 3e-6)


def test_repeating_the_single_precision_step_arrives_at_the_fixed_point():
    """With D χ at the solution of the outer problem the state no longer moves, however far it started."""
    case = Case(np.float32, nonlinear=True, spread=2.0)
    case.predicted = case.measured[FIRST:LAST].copy()
    for _ in range(60):
        case.run(squared_chord_step_single, dual_scale=1 / MU)
        case.split = case.new_split.copy()
    assert np.allclose(case.split[FIRST:LAST], case.measured[FIRST:LAST], atol=1e-5)


@pytest.mark.parametrize("step", [squared_chord_step_single, squared_chord_step_double])
def test_squared_chord_step_arrives_where_its_equation_has_several_solutions(step):
    """Weights above mu give several roots: repeated steps must still arrive at one of them."""
    dtype = np.float32 if step is squared_chord_step_single else np.float64
    case = Case(dtype, nonlinear=True, spread=6.0, largest_weight=8.0, relaxation=1.0)
    q = case.predicted.astype(np.float64)  # without relaxation and dual it does not change
    for _ in range(60 if dtype is np.float32 else 1):
        case.run(step, dual_scale=0.0)
        case.split = case.new_split.copy()
    new, phi, w = (a[FIRST:LAST].astype(np.float64) for a in (case.split, case.measured, case.weight))
    assert np.abs(w * np.sin(new - phi) + MU * (new - q)).max() < (2e-5 if dtype is np.float32 else 1e-10)


@pytest.mark.parametrize("step", [quadratic_step, squared_chord_step_single, squared_chord_step_double])
def test_nothing_moves_where_the_field_is_its_splitting(step):
    """The fixed points are those of the exact step, also beyond 60 degrees, where over-relaxed voxels are damped."""
    dtype = np.float32 if step is squared_chord_step_single else np.float64
    case = Case(dtype, nonlinear=step is not quadratic_step, spread=3.0)
    case.predicted = case.split[FIRST:LAST].copy()
    case.run(step, dual_scale=1 / MU)
    tolerance = 2e-6 if dtype is np.float32 else 1e-13
    assert np.allclose(case.new_split, case.split, rtol=0, atol=tolerance)


@pytest.mark.parametrize("step", [squared_chord_step_single, squared_chord_step_double])
def test_measured_field_does_not_matter_where_it_has_no_weight(step):
    dtype = np.float32 if step is squared_chord_step_single else np.float64
    case = Case(dtype, nonlinear=True, spread=0.5)
    case.weight[...] = 0
    case.measured += 2.5
    z, field = case.split[FIRST:LAST].copy(), case.predicted.copy()
    case.run(step)
    assert np.allclose(case.new_split[FIRST:LAST], RELAXATION * field + (1 - RELAXATION) * z, rtol=0, atol=1e-6)
