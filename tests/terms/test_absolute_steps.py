"""The proximal steps of the l1 fidelities against minimisers found by search, and against each other."""

import itertools

import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st

from qsm_recon.terms.fidelity.absolute import absolute_step, chord_step_double, chord_step_single, held_chord_step
from qsm_recon.terms.fidelity.chord import LIMIT

SHAPE, STRIDE, FIRST, LAST, MU = (5, 3, 6), 8, 1, 4, 1.3
CHORDS = [chord_step_single, chord_step_double]


def held(d):
    """The chord up to the limit, and a slope of 1 beyond."""
    size = np.abs(d)
    return np.where(size <= LIMIT, 2 * np.sin(size / 2), 2 * np.sin(LIMIT / 2) + size - LIMIT)


def dtype_of(step):
    return np.float32 if step is chord_step_single else np.float64


class Run:
    """A sequence of steps on planes FIRST to LAST, with D χ given anew for each, from the state of a fresh start."""

    def __init__(self, step, measured, weight, dtype=None):
        self.step, self.dtype = step, dtype or dtype_of(step)
        self.measured, self.weight = (self.padded(a) for a in (measured, weight))
        self.state = self.padded(np.zeros(SHAPE))
        self.state[..., SHAPE[2] :] = np.nan

    def padded(self, array):
        padded = np.full((*array.shape[:2], STRIDE), np.nan, self.dtype)
        padded[..., : SHAPE[2]] = array
        return padded

    def advance(self, predicted, relaxation=1.0):
        """Returns z - s and the sums."""
        out = self.padded(predicted[FIRST:LAST])
        settings = (self.dtype(0), self.dtype(MU), self.dtype(relaxation), ())
        sums = self.step(out, self.state, self.measured, self.weight, FIRST, SHAPE[2], *settings)
        return out[..., : SHAPE[2]].astype(np.float64), sums


def draw(seed, spread):
    rng = np.random.default_rng(seed)
    measured, weight = rng.uniform(-2, 2, SHAPE), rng.uniform(0, 1.2, SHAPE)
    weight[2, 1] = 0
    return measured, weight, [measured + rng.uniform(-spread, spread, SHAPE) for _ in range(3)]


def minimiser(penalised, q, turns):
    """Smallest point of a function of one variable with kinks at given points, by search between them."""
    edges = sorted({q - 3.0, q + 3.0, *turns})
    best = min(turns, key=penalised)
    for low, high in itertools.pairwise(edges):
        found = scipy.optimize.minimize_scalar(penalised, bounds=(low, high), method="bounded", options={"xatol": 1e-9})
        best = min(best, found.x, key=penalised)
    return best


def expected_first_step(measured, weight, predicted, chord):
    """z of the proximal step from z = φ, s = 0 without relaxation, voxel by voxel."""
    z = np.empty_like(predicted)
    for i in np.ndindex(z.shape):
        phi, w, q = measured[i], weight[i], predicted[i]

        def penalised(x, phi=phi, w=w, q=q):
            misfit = abs(np.exp(1j * (x - phi)) - 1) if chord else abs(x - phi)
            return w * misfit + MU / 2 * (x - q) ** 2

        z[i] = minimiser(penalised, q, [phi + 2 * np.pi * m for m in ((-2, -1, 0, 1, 2) if chord else (0,))])
    return z


@pytest.mark.parametrize(
    ("step", "dtype"),
    [(absolute_step, np.float32), (absolute_step, np.float64), (chord_step_single, None), (chord_step_double, None)],
)
@pytest.mark.parametrize("spread", [0.5, 3.0, 9.0])
def test_step_minimises_its_functional(step, dtype, spread):
    """Also beyond half a turn and beyond whole turns, where an exponential repeats itself."""
    measured, weight, (predicted, *_) = draw(1, spread)
    run = Run(step, measured, weight, dtype)
    out, sums = run.advance(predicted)
    cut = slice(FIRST, LAST)
    q, chord = predicted[cut], step is not absolute_step
    z = expected_first_step(measured[cut], weight[cut], q, chord)
    single = run.dtype == np.float32
    assert np.allclose(out, 2 * z - q, rtol=0, atol=2e-5 if single else 1e-6)
    difference = q - measured[cut]
    misfit = 2 * np.abs(np.sin(difference / 2)) if chord else np.abs(difference)
    terms = (weight[cut] * misfit, (q - z) ** 2, (z - measured[cut]) ** 2, z**2, (q - z) ** 2)
    assert np.allclose(sums, [term.sum() for term in terms], rtol=1e-5)
    untouched = np.delete(np.arange(SHAPE[0]), np.arange(FIRST, LAST))
    assert not run.state[untouched][..., : SHAPE[2]].any()


@pytest.mark.parametrize("step", CHORDS)
@pytest.mark.parametrize("relaxation", [1.0, 1.7])
def test_state_remembers_splitting_and_dual(step, relaxation):
    """Several steps against the same with z and s kept apart, with residuals of many turns."""
    from oracles.variational import chord_step

    measured, weight, fields = draw(2, 8.0)
    run = Run(step, measured, weight)
    cut = slice(FIRST, LAST)
    d, s = np.zeros(measured[cut].shape), np.zeros(measured[cut].shape)
    for predicted in fields:
        out, _ = run.advance(predicted, relaxation)
        r = d + relaxation * (predicted[cut] - measured[cut] - d) + s
        d = chord_step(r, weight[cut] / MU)
        s = r - d
        assert np.allclose(out, measured[cut] + d - s, rtol=0, atol=1e-4 if step is chord_step_single else 1e-10)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 2e-5), (np.float64, 1e-7)])
@pytest.mark.parametrize("relaxation", [1.0, 1.7])
@pytest.mark.parametrize("spread", [0.5, 2.0, 9.0])
def test_held_step_minimises_its_functional(dtype, tolerance, relaxation, spread):
    """Several steps against a search voxel by voxel with z and s kept apart; on both sides of the bend, and on it."""
    measured, weight, fields = draw(6, spread)
    run = Run(held_chord_step, measured, weight, dtype)
    cut = slice(FIRST, LAST)
    d, s = np.zeros(measured[cut].shape), np.zeros(measured[cut].shape)
    on_the_bend = 0
    for predicted in fields:
        out, sums = run.advance(predicted, relaxation)
        residual, old = predicted[cut] - measured[cut], d
        r = d + relaxation * (residual - d) + s
        d = np.empty_like(r)
        for i in np.ndindex(r.shape):
            penalised = lambda x, q=r[i], w=weight[cut][i]: w * held(x) + MU / 2 * (x - q) ** 2  # noqa: E731
            d[i] = minimiser(penalised, r[i], [-float(LIMIT), 0.0, float(LIMIT)])
        s = r - d
        on_the_bend += (np.abs(d) == LIMIT).sum()
        assert np.allclose(out, measured[cut] + d - s, rtol=0, atol=tolerance)
        z = measured[cut] + d
        terms = (weight[cut] * held(residual), (residual - d) ** 2, (d - old) ** 2, z**2, s**2)
        assert np.allclose(sums, [term.sum() for term in terms], rtol=1e-4)
    if (spread, relaxation) == (2.0, 1.0):
        assert on_the_bend > 0


@pytest.mark.parametrize("step", [absolute_step, held_chord_step, *CHORDS])
def test_splitting_stays_on_the_measured_field_where_the_threshold_is_not_exceeded(step):
    measured, weight, _ = draw(3, 1.0)
    weight[...] = 1.0
    run = Run(step, measured, weight)
    size = 0.9 / MU
    for sign in (1, -1, -1, 1):  # the dual wanders within its bounds
        out, sums = run.advance(measured + sign * size)
        dual = measured[FIRST:LAST] - out
        assert np.abs(dual).max() <= 1 / MU * (1 + 1e-6)
        assert sums[2] == 0


@pytest.mark.parametrize("step", [*CHORDS, held_chord_step])
def test_chord_step_with_small_residuals_is_the_absolute_step(step):
    rng = np.random.default_rng(4)
    measured, weight = rng.uniform(-2e-3, 2e-3, SHAPE), rng.uniform(0, 2e-3, SHAPE)
    straight = Run(absolute_step, measured, weight, dtype_of(step))
    chord = Run(step, measured, weight)
    for _ in range(4):
        predicted = measured + rng.uniform(-4e-3, 4e-3, SHAPE)
        (a, sums_a), (b, sums_b) = straight.advance(predicted, 1.5), chord.advance(predicted, 1.5)
        assert np.allclose(a, b, rtol=0, atol=2e-8)
        assert np.allclose(sums_a, sums_b, rtol=1e-4)


@pytest.mark.parametrize("step", [absolute_step, held_chord_step, *CHORDS])
def test_measured_field_does_not_matter_without_weight(step):
    _, _, fields = draw(5, 1.0)
    outs = []
    for measured in (np.zeros(SHAPE), np.full(SHAPE, 2.5)):
        run = Run(step, measured, np.zeros(SHAPE))
        run.advance(fields[0])
        out, _ = run.advance(fields[1], 1.0)
        outs.append(out)
    assert np.allclose(outs[0], outs[1], rtol=0, atol=1e-6)
    assert np.allclose(outs[0], fields[1][FIRST:LAST], rtol=0, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(weight=st.floats(0, 1e4), scale=st.floats(1e-6, 1e4), relaxation=st.floats(1, 1.99), seed=st.integers(0, 2**31))
def test_everything_stays_finite(weight, scale, relaxation, seed):
    """Weights far above mu, where the step is not unique, and residuals of thousands of turns."""
    rng = np.random.default_rng(seed)
    for step in (absolute_step, held_chord_step, *CHORDS):
        single = step in (absolute_step, held_chord_step)
        run = Run(step, rng.uniform(-3, 3, SHAPE), np.full(SHAPE, weight), np.float32 if single else None)
        for _ in range(3):
            out, sums = run.advance(scale * rng.standard_normal(SHAPE), relaxation)
            assert np.isfinite(out).all()
            assert np.isfinite(sums).all()
