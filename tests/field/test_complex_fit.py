import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import least_squares

from qsm_recon.backend.threads import set_thread_count, thread_count
from qsm_recon.errors import DataError, ParameterError
from qsm_recon.field import EchoSeries, estimate_field, fit_complex_echoes
from qsm_recon.field.voxels import check_mask
from qsm_recon.io import binary_mask

from .signals import TIMES, UNEVEN_TIMES, axes, ball, make_echoes, wrapped

NYQUIST = 62.5
VOXEL = np.ones((1, 1, 1), dtype=bool)


@given(
    frequency=st.floats(-0.98 * NYQUIST, 0.98 * NYQUIST),
    initial=st.floats(-3.1, 3.1),
    rate=st.floats(0, 120),
)
@settings(max_examples=60, deadline=None)
def test_exact_without_noise(frequency, initial, rate):
    for times in (TIMES, UNEVEN_TIMES, TIMES[:2], TIMES[:3]):
        found = fit_complex_echoes(make_echoes(np.full((1, 1, 1), frequency), times, initial, rate), VOXEL)
        assert found.frequency_hz[0, 0, 0] == pytest.approx(frequency, abs=2e-4)
        assert abs(wrapped(found.initial_phase_rad[0, 0, 0] - initial)) < 2e-5
        assert found.residual[0, 0, 0] < 1e-6
        assert found.report["unconverged_voxels"] == 0


@pytest.mark.parametrize("times", [(0.003, 0.004, 0.020), (0.0025, 0.0035, 0.020), (0.004, 0.006, 0.020)])
def test_one_short_gap_among_few_echoes_tells_aliases_apart(times):
    """A grid too coarse for that took a neighbouring alias in a third of the voxels."""
    x, y, z = axes((20, 18, 16))
    mask, frequency = ball(x.shape), 20 * np.sin(3 * x) * np.cos(2 * y) + 8 * z
    found = fit_complex_echoes(make_echoes(frequency, np.array(times), noise=0.03, seed=5), mask)
    error = (found.frequency_hz - frequency)[mask]
    assert np.abs(error).max() < 4.0  # an alias is 57 Hz and more away
    assert error.std() < 1.2 * np.sqrt(np.mean(found.noise_hz[mask] ** 2))


@given(offset=st.floats(-3.1, 3.1), stretch=st.floats(0.3, 3))
@settings(max_examples=25, deadline=None)
def test_a_phase_offset_changes_nothing_and_time_scales_the_frequency(offset, stretch):
    frequency = np.random.default_rng(4).uniform(-50, 50, (3, 3, 3))
    mask = np.ones((3, 3, 3), dtype=bool)
    echoes = make_echoes(frequency, noise=0.03)
    plain = fit_complex_echoes(echoes, mask)
    turned = EchoSeries(echoes.magnitude, wrapped(echoes.phase_rad + offset), echoes.echo_times_s, 7.0)
    moved = fit_complex_echoes(turned, mask)
    np.testing.assert_allclose(moved.frequency_hz, plain.frequency_hz, atol=1e-3)
    np.testing.assert_allclose(moved.noise_hz, plain.noise_hz, rtol=1e-3)
    slower = EchoSeries(echoes.magnitude, echoes.phase_rad, tuple(stretch * TIMES), 7.0)
    stretched = fit_complex_echoes(slower, mask)
    np.testing.assert_allclose(stretched.frequency_hz * stretch, plain.frequency_hz, atol=1e-3)
    np.testing.assert_allclose(stretched.noise_hz * stretch, plain.noise_hz, rtol=1e-3)


def test_two_turns_in_one_echo_are_the_same_data():
    echoes = make_echoes(np.random.default_rng(1).uniform(-50, 50, (3, 4, 5)), noise=0.02)
    mask = np.ones((3, 4, 5), dtype=bool)
    shifted = EchoSeries(
        echoes.magnitude, echoes.phase_rad + 2 * np.pi * np.array([0, 1, -2, 3]), echoes.echo_times_s, 7.0
    )
    a, b = fit_complex_echoes(echoes, mask), fit_complex_echoes(shifted, mask)
    np.testing.assert_allclose(a.frequency_hz, b.frequency_hz, atol=1e-4)


def complex_residuals(parameters, times, magnitude, phase):
    model = magnitude * np.exp(1j * (parameters[0] + 2 * np.pi * parameters[1] * times))
    difference = model - magnitude * np.exp(1j * phase)
    return np.concatenate([difference.real, difference.imag])


@pytest.mark.parametrize("times", [TIMES, UNEVEN_TIMES])
def test_fit_is_the_least_squares_solution(times):
    frequency = np.random.default_rng(8).uniform(-40, 40, (2, 2, 3))
    echoes = make_echoes(frequency, times, noise=0.08, seed=3)
    found = fit_complex_echoes(echoes, np.ones((2, 2, 3), dtype=bool))
    for where in np.ndindex(frequency.shape):
        magnitude = echoes.magnitude[where].astype(np.float64)
        phase = echoes.phase_rad[where].astype(np.float64)
        start = [float(found.initial_phase_rad[where]) + 0.05, float(found.frequency_hz[where]) + 0.5]
        solution = least_squares(
            complex_residuals, start, args=(times, magnitude, phase), x_scale=[1, 10], xtol=1e-14, ftol=1e-14
        )
        assert found.frequency_hz[where] == pytest.approx(solution.x[1], abs=1e-4)
        assert abs(wrapped(found.initial_phase_rad[where] - solution.x[0])) < 1e-5
        relative = np.linalg.norm(solution.fun) / np.linalg.norm(magnitude)
        assert found.residual[where] == pytest.approx(relative, rel=1e-4)


def test_no_better_alias_exists_even_in_noise():
    """Brute force over one whole period of frequency finds nothing that fits better by more than the grid allows."""
    echoes = make_echoes(np.zeros((5, 5, 5)), r2star=60.0, noise=0.3, seed=5)
    found = fit_complex_echoes(echoes, np.ones((5, 5, 5), dtype=bool))
    signal = echoes.magnitude.astype(np.float64) ** 2 * np.exp(1j * echoes.phase_rad.astype(np.float64))
    search = np.linspace(-NYQUIST, NYQUIST, 4001)
    best = np.max(np.abs(signal @ np.exp(-2j * np.pi * TIMES[:, None] * search)), axis=-1)
    own = np.abs(np.sum(signal * np.exp(-2j * np.pi * TIMES * found.frequency_hz[..., None]), axis=-1))
    np.testing.assert_array_less(best * 0.98, own)
    assert np.mean(own > best * (1 - 1e-6)) > 0.95


@pytest.mark.parametrize("times", [TIMES, UNEVEN_TIMES])
@pytest.mark.parametrize("given_sigma", [True, False])
def test_noise_map_is_the_monte_carlo_standard_deviation(times, given_sigma):
    sigma, shape = 0.02, (40, 40, 40)
    amplitude = np.linspace(0.6, 3, shape[0])[:, None, None] * np.ones(shape)
    echoes = make_echoes(12.0, times, m0=amplitude, noise=sigma, seed=7)
    found = fit_complex_echoes(echoes, np.ones(shape, dtype=bool), noise_sigma=sigma if given_sigma else None)
    assert found.report["noise_sigma"] == pytest.approx(sigma, rel=0.02)
    for plane in (0, 20, 39):
        scatter = np.std(found.frequency_hz[plane] - 12.0)
        assert np.mean(found.noise_hz[plane]) == pytest.approx(scatter, rel=0.05)
    everywhere = (found.frequency_hz - 12.0) / found.noise_hz
    assert np.std(everywhere) == pytest.approx(1, rel=0.02)
    assert np.mean(everywhere) == pytest.approx(0, abs=0.02)


ROUNDED_TIMES = np.array([0.00492, 0.00984, 0.01477, 0.01969])  # even but for the rounding in a header


@pytest.mark.parametrize("times", [TIMES, UNEVEN_TIMES, ROUNDED_TIMES])
@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_strong_fields_are_unwrapped_in_space(times, noise):
    shape = (40, 42, 44)
    x, y, z = axes(shape)
    truth = 500 * np.exp(-6 * ((x - 0.1) ** 2 + y**2 + z**2)) - 120 * z**2 + 30 * x
    mask = ball(shape)
    found = fit_complex_echoes(make_echoes(truth, times, initial=1 + 0.5 * x, noise=noise, seed=3), mask)
    error = found.frequency_hz[mask] - truth[mask]
    assert found.report["aliased"]
    assert found.report["open_jumps"] == 0
    assert np.abs(error).max() < (1e-3 if noise == 0 else 6 * found.noise_hz[mask].max())
    # The initial phase follows the right alias.
    assert np.abs(wrapped(found.initial_phase_rad - 1 - 0.5 * x)[mask]).max() < (1e-4 if noise == 0 else 0.3)
    assert np.all(found.frequency_hz[~mask] == 0)


def test_a_smooth_field_within_the_range_is_left_alone():
    shape = (12, 12, 12)
    truth = 40 * axes(shape)[0]
    found = fit_complex_echoes(make_echoes(truth), np.ones(shape, dtype=bool))
    assert not found.report["aliased"]
    assert found.report["unwrapped_voxels"] == 0


@pytest.mark.parametrize("times", [TIMES, TIMES[:3], UNEVEN_TIMES])
def test_bipolar_phase_is_recovered(times):
    shape = (20, 22, 24)
    x, y, _ = axes(shape)
    truth, beta = 25 * x - 10 * y, 0.3 + 0.5 * x
    echoes = make_echoes(truth, times, bipolar=beta)
    mask = ball(shape)
    found = fit_complex_echoes(echoes, mask, bipolar=True)
    assert np.abs(found.frequency_hz - truth)[mask].max() < 2e-3
    assert np.abs(wrapped(found.bipolar_phase_rad - beta))[mask].max() < 2e-4
    assert np.abs(wrapped(found.initial_phase_rad - 0.5))[mask].max() < 2e-4
    without = fit_complex_echoes(echoes, mask)
    assert without.bipolar_phase_rad is None
    assert np.abs(without.frequency_hz - truth)[mask].max() > 1


@pytest.mark.parametrize("times", [TIMES, UNEVEN_TIMES])
def test_bipolar_fit_unwraps_its_halved_range(times):
    shape = (30, 30, 30)
    x, y, z = axes(shape)
    truth = 180 * np.exp(-4 * (x**2 + y**2 + z**2)) + 20 * z
    mask = ball(shape)
    found = fit_complex_echoes(make_echoes(truth, times, bipolar=-0.4 + 0.2 * y, noise=0.005), mask, bipolar=True)
    assert found.report["aliased"]
    offset = found.frequency_hz[mask] - truth[mask]
    assert np.abs(offset).max() < 8 * found.noise_hz[mask].max() < 5
    assert np.abs(wrapped(found.bipolar_phase_rad + 0.4 - 0.2 * y))[mask].max() < 0.15


def test_bipolar_noise_map_matches_monte_carlo():
    shape = (30, 30, 30)
    times = np.arange(1, 7) * 0.004
    echoes = make_echoes(np.full(shape, 9.0), times, bipolar=0.4, noise=0.02, seed=11)
    found = fit_complex_echoes(echoes, np.ones(shape, dtype=bool), bipolar=True)
    assert found.report["noise_sigma"] == pytest.approx(0.02, rel=0.02)
    assert np.std(found.frequency_hz) == pytest.approx(found.noise_hz.mean(), rel=0.03)


def test_single_echo_is_its_unwrapped_phase():
    shape = (20, 20, 20)
    x, y, _ = axes(shape)
    truth = 70 * x + 30 * y
    mask = ball(shape)
    found = fit_complex_echoes(make_echoes(truth, np.array([0.02]), initial=0.0), mask)
    assert found.report["aliased"]
    assert np.abs(found.frequency_hz - truth)[mask].max() < 1e-3
    assert np.all(found.initial_phase_rad == 0)
    assert found.report["noise_sigma_from"] == "assumed"
    known = fit_complex_echoes(make_echoes(truth, np.array([0.02]), r2star=0.0), mask, noise_sigma=0.01)
    np.testing.assert_allclose(known.noise_hz[mask], 0.01 / (2 * np.pi * 0.02), rtol=1e-5)


def test_two_echoes_are_their_phase_difference():
    echoes = make_echoes(np.linspace(-40, 40, 27).reshape(3, 3, 3), TIMES[:2], noise=0.05)
    found = fit_complex_echoes(echoes, np.ones((3, 3, 3), dtype=bool))
    difference = wrapped(echoes.phase_rad[..., 1] - echoes.phase_rad[..., 0]) / (2 * np.pi * 0.008)
    np.testing.assert_allclose(found.frequency_hz, difference, atol=1e-3)
    assert found.report["noise_sigma_from"] == "assumed"


def test_voxels_without_signal_are_left_out_and_counted():
    m0 = np.ones((4, 4, 4))
    m0[1, 2, 3] = 0
    mask = np.ones((4, 4, 4), dtype=bool)
    for times in (TIMES, UNEVEN_TIMES, TIMES[:1]):
        found = fit_complex_echoes(make_echoes(10.0, times, initial=0.0, m0=m0), mask)
        assert found.report["undetermined_voxels"] == 1
        assert not found.mask[1, 2, 3]
        assert found.frequency_hz[1, 2, 3] == found.noise_hz[1, 2, 3] == 0
        np.testing.assert_allclose(found.frequency_hz[found.mask], 10, atol=1e-3)
        assert np.all(found.noise_hz[found.mask] > 0)


@pytest.mark.parametrize("empty", [0, 2])
@pytest.mark.parametrize("shape", [(1, 1, 1), (6, 6, 6)])
@pytest.mark.filterwarnings("error")
def test_an_echo_without_signal_in_the_whole_mask_says_nothing_of_the_noise(empty, shape):
    mask = np.pad(np.ones(shape, bool), 4)
    echoes = make_echoes(np.full(mask.shape, 10.0), UNEVEN_TIMES, noise=0.02)
    magnitude = echoes.magnitude.copy()
    magnitude[mask, empty] = 0
    found = estimate_field(EchoSeries(magnitude, echoes.phase_rad, echoes.echo_times_s, echoes.b0_tesla), mask)
    assert found.report["noise_sigma_from"] == "assumed"
    assert 0.005 < found.report["noise_sigma"] < 0.015
    assert found.report["inconsistent_voxels"] == 0
    assert np.all(found.field_noise_ppm[mask] > 0)
    np.testing.assert_allclose(found.frequency_hz[mask], 10, atol=2)


@pytest.mark.filterwarnings("error")
def test_a_mask_without_any_signal_is_left_out_silently():
    mask = np.zeros((5, 5, 5), bool)
    mask[2, 2, 2] = True
    echoes = make_echoes(10.0, m0=np.where(mask, 0.0, 1.0))
    found = fit_complex_echoes(echoes, mask)
    assert not found.mask.any()
    assert not found.noise_hz.any()


def test_residual_map_shows_where_the_model_fails():
    echoes = make_echoes(np.zeros((2, 1, 1)))
    phase = echoes.phase_rad.copy()
    phase[1, 0, 0] += [0.0, 1.0, -1.0, 0.5]
    found = fit_complex_echoes(EchoSeries(echoes.magnitude, phase, tuple(TIMES), 7.0), np.ones((2, 1, 1), dtype=bool))
    assert found.residual[0, 0, 0] < 1e-6
    assert found.residual[1, 0, 0] > 0.3


@pytest.mark.parametrize("shape", [(30, 1, 1), (30, 25, 1), (1, 25, 30)])
def test_flat_images_work(shape):
    truth = 150 * sum(axes(shape))
    found = fit_complex_echoes(make_echoes(truth), np.ones(shape, dtype=bool))
    assert found.report["aliased"]
    np.testing.assert_allclose(found.frequency_hz, truth, atol=1e-3)


def test_threads_do_not_change_the_result():
    echoes = make_echoes(np.random.default_rng(0).uniform(-50, 50, (9, 8, 7)), noise=0.1)
    mask = np.ones((9, 8, 7), dtype=bool)
    before = thread_count()
    try:
        set_thread_count(1)
        one = fit_complex_echoes(echoes, mask)
        set_thread_count(3)
        three = fit_complex_echoes(echoes, mask)
    finally:
        set_thread_count(before)
    np.testing.assert_array_equal(one.frequency_hz, three.frequency_hz)
    np.testing.assert_array_equal(one.noise_hz, three.noise_hz)


def test_wrong_calls_are_named():
    echoes = make_echoes(np.zeros((3, 3, 3)))
    with pytest.raises(DataError, match=r"mask has shape \(3, 3, 4\)"):
        fit_complex_echoes(echoes, np.ones((3, 3, 4), dtype=bool))
    with pytest.raises(DataError, match="mask is empty"):
        fit_complex_echoes(echoes, np.zeros((3, 3, 3)))
    with pytest.raises(DataError, match="expected a binary mask"):
        fit_complex_echoes(echoes, np.linspace(0, 1, 27).reshape(3, 3, 3))
    with pytest.raises(DataError, match="at least 3 echoes, found 2"):
        fit_complex_echoes(make_echoes(np.zeros((3, 3, 3)), TIMES[:2]), np.ones((3, 3, 3)), bipolar=True)
    with pytest.raises(ParameterError, match="noise_sigma"):
        fit_complex_echoes(echoes, np.ones((3, 3, 3)), noise_sigma=-1)


@pytest.mark.parametrize(
    ("values", "accepted"),
    [
        ((0, 1), True),
        ((0, 255), True),
        ((0, -1), False),
        ((0, 1, 2), False),
        ((0, np.nan), False),
        ((0, 0.5, 1), False),
    ],
)
def test_a_mask_is_the_same_thing_everywhere(values, accepted):
    """In Python as in files: what one place took, another refused."""
    mask = np.resize(np.array(values, dtype=np.float64), (3, 3, 3))
    if accepted:
        assert np.array_equal(check_mask(mask, (3, 3, 3)), mask > 0)
        assert np.array_equal(binary_mask(mask, "mask"), mask > 0)
        return
    for take in (lambda: check_mask(mask, (3, 3, 3)), lambda: binary_mask(mask, "mask")):
        with pytest.raises(DataError, match="mask"):
            take()
