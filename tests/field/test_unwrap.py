import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qsm_recon.field import fit_complex_echoes
from qsm_recon.field.unwrap import unwrap_in_space

from .signals import axes, ball, make_echoes

SHAPE = (24, 26, 28)


def alias(truth, period):
    return truth - period * np.rint(truth / period)


@given(slope=st.floats(-250, 250), bend=st.floats(-150, 150), period=st.floats(90, 300))
@settings(max_examples=25, deadline=None)
def test_smooth_images_come_back_up_to_their_median(slope, bend, period):
    x, y, z = axes(SHAPE)
    truth = slope * (x + 0.4 * z) + bend * (y**2 + z**2)  # steps between neighbours stay below 30 Hz
    mask = ball(SHAPE)
    found = unwrap_in_space(alias(truth, period), mask, period)
    result = alias(truth, period) + period * found.turns
    offset = (result - truth)[mask]
    np.testing.assert_allclose(offset, period * np.rint(offset[0] / period), atol=1e-6)
    assert abs(np.median(result[mask])) <= period / 2 + 1e-6
    assert np.all(found.turns[~mask] == 0)
    assert found.open_jumps == 0
    assert found.regions == 1


def test_whole_periods_of_input_do_not_matter():
    truth = 300 * axes(SHAPE)[0]
    mask = np.ones(SHAPE, dtype=bool)
    extra = np.random.default_rng(0).integers(-3, 4, SHAPE)
    found = unwrap_in_space(truth + 100 * extra, mask, 100.0)
    result = truth + 100 * (extra + found.turns)
    np.testing.assert_allclose(result, truth + 100 * np.rint((result - truth).flat[0] / 100), atol=1e-9)
    assert abs(np.median(result)) <= 50


def test_regions_without_contact_each_take_the_median_nearest_zero():
    x = axes(SHAPE)[0]
    mask = np.abs(x) > 0.15
    truth = np.where(x > 0, 240.0, -30.0) + 60 * x
    found = unwrap_in_space(alias(truth, 100.0), mask, 100.0)
    result = alias(truth, 100.0) + 100 * found.turns
    assert found.regions == 2
    for side in (x > 0.15, x < -0.15):
        assert abs(np.median(result[side])) <= 50
        assert np.ptp((result - truth)[side]) < 1e-6


def test_an_empty_mask_is_no_work():
    found = unwrap_in_space(np.zeros(SHAPE), np.zeros(SHAPE, dtype=bool), 100.0)
    assert not found.aliased
    assert not found.turns.any()


def test_noisy_voxels_follow_their_neighbourhood_and_bridge_no_gaps():
    rng = np.random.default_rng(2)
    x, y, z = axes(SHAPE)
    truth = 220 * x + 40 * y
    noisy = (np.abs(x) < 0.12) & (y**2 + z**2 < 0.8)  # a sheet of noise through most of the image
    measured = np.where(noisy, rng.uniform(-50, 50, SHAPE), truth)
    noise = np.where(noisy, 60.0, 0.5)
    mask = np.ones(SHAPE, dtype=bool)
    found = unwrap_in_space(alias(measured, 100.0), mask, 100.0, noise)
    result = alias(measured, 100.0) + 100 * found.turns
    offset = (result - truth)[~noisy]
    np.testing.assert_allclose(offset, np.rint(offset[0] / 100) * 100, atol=1e-6)
    assert np.abs(result - truth - offset[0])[noisy].max() < 75


def test_the_alternating_quantity_chooses_between_aliases():
    truth = 60.0 + 20 * axes(SHAPE)[0]  # the median is nearer to the wrong alias, -40
    mask = np.ones(SHAPE, dtype=bool)
    measured = alias(truth, 100.0)
    sign = np.where(np.rint((truth - measured) / 100) % 2 == 1, -1.0, 1.0)  # +1 once the right turn is added
    found = unwrap_in_space(measured, mask, 100.0, alternating=sign)
    np.testing.assert_allclose(measured + 100 * found.turns, truth, atol=1e-9)
    without = unwrap_in_space(measured, mask, 100.0)
    np.testing.assert_allclose(measured + 100 * without.turns, truth - 100, atol=1e-9)


def test_results_repeat():
    measured = np.random.default_rng(0).uniform(-50, 50, SHAPE)
    mask = ball(SHAPE)
    first = unwrap_in_space(measured, mask, 100.0)
    second = unwrap_in_space(measured, mask, 100.0)
    assert first.aliased
    assert first.open_jumps > 0  # white noise has no continuous version
    np.testing.assert_array_equal(first.turns, second.turns)


@pytest.mark.parametrize("strength_ppm", [-1.5, 1.0])
def test_field_of_a_strong_sphere_at_seven_tesla(strength_ppm):
    """Outside a calcification the field passes the Nyquist range of 8 ms spacing several times."""
    shape, radius = (48, 48, 48), 5.0
    i, j, k = np.indices(shape) - 23.5
    r = np.sqrt(i**2 + j**2 + k**2)
    field_ppm = np.where(r > radius, strength_ppm / 3 * (radius / r) ** 3 * (3 * k**2 / r**2 - 1), 0.0)
    truth = field_ppm * 42.576 * 7 + 15 * i / 24
    echoes = make_echoes(truth, m0=np.where(r > radius, 1.0, 0.02), noise=0.01, seed=1)
    mask = r < 23
    found = fit_complex_echoes(echoes, mask)
    outside = mask & (r > radius + 0.5)
    assert np.abs(truth[outside]).max() > 2 * 62.5
    error = np.abs(found.frequency_hz - truth)[outside]
    assert np.mean(error > 6 * found.noise_hz[outside]) < 1e-3
    inside = r < radius
    assert found.noise_hz[inside].mean() > 20 * found.noise_hz[outside].mean()
