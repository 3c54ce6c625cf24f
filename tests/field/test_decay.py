import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qsm_recon.errors import DataError, ParameterError
from qsm_recon.field import EchoSeries, fit_r2star_arlo, fit_r2star_log_linear
from qsm_recon.field.decay import parabola_integrals

from .signals import TIMES, UNEVEN_TIMES, make_echoes

EVERYWHERE = np.ones((4, 5, 6), dtype=bool)
RATES = np.random.default_rng(5).uniform(2, 150, EVERYWHERE.shape)
AMPLITUDES = np.random.default_rng(6).uniform(1, 9, EVERYWHERE.shape)


@pytest.mark.parametrize("times", [TIMES, UNEVEN_TIMES, TIMES[:2]])
@pytest.mark.parametrize("weighted", [True, False])
def test_log_linear_is_exact_without_noise(times, weighted):
    echoes = make_echoes(3.0, times, r2star=RATES, m0=AMPLITUDES)
    found = fit_r2star_log_linear(echoes, EVERYWHERE, weighted=weighted)
    np.testing.assert_allclose(found.r2star_per_s, RATES, rtol=1e-4)
    np.testing.assert_allclose(found.m0, AMPLITUDES, rtol=1e-4)
    assert found.limited_voxels == 0


@given(rate=st.floats(1, 300), step=st.floats(0.001, 0.01), count=st.integers(3, 8))
@settings(max_examples=40, deadline=None)
def test_arlo_with_the_exact_integral_is_exact_without_noise(rate, step, count):
    times = 0.002 + step * np.arange(count)
    echoes = make_echoes(np.zeros((1, 1, 2)), times, r2star=rate)
    found = fit_r2star_arlo(echoes, np.ones((1, 1, 2), dtype=bool))
    np.testing.assert_allclose(found.r2star_per_s, rate, rtol=1e-3, atol=2e-3 / step * 1e-2)


def arlo_oracle(magnitude, times):
    """Minimise the error of predicting each third echo, by brute force over T2*."""
    step = times[1] - times[0]
    candidates = 1 / np.linspace(1, 400, 400_001)
    cost = np.zeros_like(candidates)
    for first, middle, last in zip(magnitude, magnitude[1:], magnitude[2:], strict=False):
        predicted = (candidates * first - step / 3 * (first + 4 * middle)) / (candidates + step / 3)
        cost += (last - predicted) ** 2
    return 1 / candidates[np.argmin(cost)]


def test_published_arlo_is_the_best_predictor_of_every_third_echo():
    times = np.array([0.004, 0.010, 0.016, 0.022, 0.028])
    echoes = make_echoes(np.zeros((1, 2, 3)), times, r2star=60.0, noise=0.02, seed=2)
    found = fit_r2star_arlo(echoes, np.ones((1, 2, 3), dtype=bool), exact_integral=False)
    for where in np.ndindex(1, 2, 3):
        expected = arlo_oracle(echoes.magnitude[where].astype(np.float64), times)
        assert found.r2star_per_s[where] == pytest.approx(expected, abs=2e-3)


def test_simpson_underestimates_fast_decay_as_documented():
    echoes = make_echoes(np.zeros((1, 1, 1)), np.array([0.0, 0.01, 0.02, 0.03]) + 0.004, r2star=140.0)
    plain = fit_r2star_arlo(echoes, np.ones((1, 1, 1), dtype=bool), exact_integral=False)
    assert plain.r2star_per_s[0, 0, 0] / 140 - 1 == pytest.approx(-0.017, abs=0.001)


def test_uneven_parabola_weights_integrate_parabolas():
    weights = parabola_integrals(UNEVEN_TIMES)
    for power in range(3):
        values = UNEVEN_TIMES**power
        for i, w in enumerate(weights):
            a, b = UNEVEN_TIMES[i], UNEVEN_TIMES[i + 2]
            exact = (b ** (power + 1) - a ** (power + 1)) / (power + 1)
            assert w @ values[i : i + 3] == pytest.approx(exact, rel=1e-10)
    np.testing.assert_allclose(parabola_integrals(TIMES), np.tile(0.008 / 3 * np.array([1, 4, 1]), (2, 1)))


def test_arlo_on_uneven_echoes_is_close():
    echoes = make_echoes(0.0, UNEVEN_TIMES, r2star=RATES / 2, m0=AMPLITUDES)
    found = fit_r2star_arlo(echoes, EVERYWHERE)
    np.testing.assert_allclose(found.r2star_per_s, RATES / 2, rtol=0.03)


def test_noise_biases_neither_method_at_good_signal():
    shape = (30, 30, 30)
    echoes = make_echoes(np.zeros(shape), r2star=40.0, noise=0.01, seed=9)
    for found in (
        fit_r2star_arlo(echoes, np.ones(shape, dtype=bool)),
        fit_r2star_log_linear(echoes, np.ones(shape, dtype=bool)),
    ):
        assert found.r2star_per_s.mean() == pytest.approx(40, abs=0.15)
        assert found.m0.mean() == pytest.approx(1, abs=0.003)


def test_impossible_rates_are_limited_and_counted():
    growing = np.array([1.0, 1.1, 1.2, 1.3])
    vanishing = np.array([1.0, 0.0, 0.0, 0.0])
    decaying = np.exp(-30 * TIMES)
    magnitude = np.stack([growing, vanishing, decaying]).reshape(3, 1, 1, 4)
    echoes = EchoSeries(magnitude, np.zeros_like(magnitude), tuple(TIMES), 7.0)
    for found in (
        fit_r2star_arlo(echoes, np.ones((3, 1, 1), dtype=bool), fastest_per_s=500),
        fit_r2star_log_linear(echoes, np.ones((3, 1, 1), dtype=bool), fastest_per_s=500),
    ):
        rates = found.r2star_per_s.ravel()
        assert rates[0] == 0
        assert rates[2] == pytest.approx(30, rel=1e-4)
        assert np.all(np.isfinite(found.m0))
        assert found.limited_voxels >= 1
    assert fit_r2star_arlo(echoes, np.ones((3, 1, 1), dtype=bool), fastest_per_s=200).r2star_per_s[1, 0, 0] == 200


def test_outside_the_mask_is_zero_and_wrong_calls_are_refused():
    echoes = make_echoes(0.0, r2star=RATES)
    mask = RATES > 70
    found = fit_r2star_arlo(echoes, mask)
    assert np.all(found.r2star_per_s[~mask] == 0)
    assert np.all(found.m0[~mask] == 0)
    with pytest.raises(DataError, match="at least 3 echoes, found 2"):
        fit_r2star_arlo(make_echoes(RATES, TIMES[:2]), EVERYWHERE)
    with pytest.raises(DataError, match="at least 2 echoes"):
        fit_r2star_log_linear(make_echoes(RATES, TIMES[:1]), EVERYWHERE)
    with pytest.raises(ParameterError, match="fastest_per_s"):
        fit_r2star_arlo(echoes, mask, fastest_per_s=0)
