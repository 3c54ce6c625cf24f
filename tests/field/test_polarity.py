"""Bipolar readouts and slices of opposite sign are found, and nothing else is taken for them."""

import numpy as np
import pytest

from qsm_recon.errors import DataError
from qsm_recon.field import EchoSeries
from qsm_recon.field.polarity import bipolar_test, fit_groups, turned_slices

SHAPE, B0_TESLA = (24, 20, 16), 3.0
EVEN, UNEVEN = (0.004, 0.012, 0.020, 0.028), (0.0025, 0.0061, 0.0141, 0.0302)


def axes():
    return np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij")


def series(times, *, bipolar=0.0, ramp=0.0, noise=0.01, extra=0.0, sign=1.0):
    """Echoes of a smooth field in a ball; phase ±(bipolar + ramp x), and `extra` on the first echo alone."""
    rng = np.random.default_rng(4)
    x, y, z = axes()
    mask = x**2 + y**2 + z**2 < 0.9
    frequency = 20 * np.sin(3 * x) * np.cos(2 * y) + 8 * z
    echoes = []
    for echo, time in enumerate(times):
        phase = 0.7 + 2 * np.pi * frequency * time + (-1) ** echo * (bipolar + ramp * x) + (extra if echo == 0 else 0)
        echoes.append(np.where(mask, np.exp(-25 * time + 1j * phase), 0) * sign)
    signal = np.stack(echoes, -1)
    signal = signal + noise * (rng.standard_normal(signal.shape) + 1j * rng.standard_normal(signal.shape))
    return EchoSeries(np.abs(signal), np.angle(signal), times, B0_TESLA), mask


@pytest.mark.parametrize("times", [EVEN, EVEN[:3], UNEVEN, tuple(0.003 + 0.0036 * i for i in range(8))])
@pytest.mark.parametrize("noise", [0.005, 0.05])
@pytest.mark.parametrize(("bipolar", "ramp", "typical"), [(0.15, 0, 0.15), (0.3, 0.3, 0.3), (0.3, 0.7, 0.35)])
def test_a_bipolar_readout_is_found_with_its_phase(times, noise, bipolar, ramp, typical):
    found = bipolar_test(*series(times, bipolar=bipolar, ramp=ramp, noise=noise))
    assert found.present
    assert found.phase_rad == pytest.approx(typical, abs=0.1)
    assert found.residual > 2 * found.residual_with_term
    assert found.voxels > 1000


@pytest.mark.parametrize("times", [EVEN, EVEN[:3], UNEVEN, tuple(0.003 + 0.0036 * i for i in range(8))])
@pytest.mark.parametrize("noise", [1e-4, 0.01, 0.1])
def test_a_monopolar_readout_is_taken_for_none(times, noise):
    found = bipolar_test(*series(times, noise=noise))
    assert not found.present
    assert found.phase_rad < 0.05


@pytest.mark.parametrize("times", [(0.0046, 0.0071, 0.020), (0.004, 0.016, 0.020), (0.005, 0.009, 0.020)])
def test_three_uneven_echoes_are_no_bipolar_readout_by_an_alias_of_their_frequency(times):
    """Any frequency explains three echoes with two phases, in steps of the first and third's period."""
    found = bipolar_test(*series(times))
    assert not found.present
    assert found.phase_rad < 0.02  # 0.74 rad and more where an alias was taken
    found = bipolar_test(*series(times, bipolar=0.2))
    assert found.present
    assert found.phase_rad == pytest.approx(0.2, abs=0.02)
    assert bipolar_test(*series(times, bipolar=0.3, ramp=0.7)).present


def test_a_first_echo_with_a_phase_of_its_own_is_no_bipolar_readout():
    assert not bipolar_test(*series(EVEN, extra=0.3)).present


def test_echoes_in_the_wrong_order_are_no_bipolar_readout():
    echoes, mask = series(EVEN, noise=0.002)
    mixed = EchoSeries(echoes.magnitude, echoes.phase_rad[..., [0, 2, 1, 3]], EVEN, B0_TESLA)
    found = bipolar_test(mixed, mask)
    assert found.residual > 0.1
    assert not found.present


def test_two_echoes_and_masks_without_a_block_cannot_tell():
    assert bipolar_test(*series(EVEN[:2], bipolar=0.3)).voxels == 0
    echoes, mask = series(EVEN, bipolar=0.3)
    thin = np.zeros_like(mask)
    thin[10] = mask[10]
    assert not bipolar_test(echoes, thin).present
    with pytest.raises(DataError, match="mask has shape"):
        bipolar_test(echoes, mask[1:])


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("times", [EVEN[:1], EVEN])
def test_alternating_slices_are_found_on_any_axis(axis, times):
    sign = np.where(np.arange(SHAPE[axis]) % 2, -1.0, 1.0).reshape([-1 if a == axis else 1 for a in range(3)])
    echoes, mask = series(times, sign=sign)
    ((found_axis, turned),) = turned_slices(echoes, mask)
    assert found_axis == axis
    inside = mask.any(axis=tuple(a for a in range(3) if a != axis))
    relative = turned[inside] ^ (np.arange(SHAPE[axis])[inside] % 2 == 1)
    assert relative.all() or not relative.any()


def test_every_other_pair_of_slices_is_found_too():
    sign = np.where(np.arange(SHAPE[2]) % 4 < 2, -1.0, 1.0)
    echoes, mask = series(EVEN[:1], sign=sign)
    ((axis, turned),) = turned_slices(echoes, mask)
    assert axis == 2
    assert np.array_equal(np.diff(turned[2:14]), np.diff(sign[2:14] < 0))


@pytest.mark.parametrize("times", [EVEN[:1], EVEN, EVEN[-1:]])
def test_usual_slices_are_left_alone(times):
    assert turned_slices(*series(times, noise=0.2)) == []
    noise = series((0.02,), noise=1e3)
    assert turned_slices(*noise) == []


def test_a_mask_of_the_whole_image_is_as_good_as_another():
    """Of one echo the magnitude itself, which is not to be written to, was in hand there: a traceback."""
    sign = np.where(np.arange(SHAPE[2]) % 2, -1.0, 1.0)
    echoes, _ = series(EVEN[:1], sign=sign)
    ((axis, turned),) = turned_slices(echoes, np.ones(SHAPE, bool))
    assert axis == 2
    assert np.array_equal(turned[2:14], sign[2:14] < 0) or np.array_equal(turned[2:14], sign[2:14] > 0)


@pytest.mark.parametrize("along", [(0, 1), (0, 1, 2)])
def test_signs_that_alternate_along_several_axes_are_all_found(along):
    """A reconstruction that leaves out the shift of its Fourier transform writes a chequerboard."""
    pattern = sum(index for axis, index in enumerate(np.indices(SHAPE)) if axis in along) % 2 == 1
    echoes, mask = series(EVEN[:1], sign=np.where(pattern, -1.0, 1.0))
    found = turned_slices(echoes, mask)
    assert tuple(axis for axis, _ in found) == along
    turned = np.zeros(SHAPE, bool)
    for axis, some in found:
        turned ^= some.reshape([-1 if a == axis else 1 for a in range(3)])
    relative = (turned ^ pattern)[mask]
    assert relative.all() or not relative.any()


@pytest.mark.parametrize("holes", [0.15, 0.3])
def test_a_bipolar_readout_is_found_in_a_mask_full_of_holes(holes):
    """Hardly a block of 4 × 4 × 4 voxels lies wholly inside; a mask by phase quality looks like that."""
    for bipolar in (0.0, 0.3):
        echoes, mask = series(EVEN, bipolar=bipolar)
        found = bipolar_test(echoes, mask & (np.random.default_rng(5).random(SHAPE) > holes))
        assert found.voxels > 1000
        assert found.present == (bipolar > 0)
        assert found.phase_rad == pytest.approx(bipolar, abs=0.02)


@pytest.mark.parametrize("first", [4, 5, 6, 7])
def test_a_bipolar_readout_is_found_in_four_slices_wherever_they_begin(first):
    echoes, mask = series(EVEN, bipolar=0.3)
    mask = mask & ((np.arange(SHAPE[2]) >= first) & (np.arange(SHAPE[2]) < first + 4))
    found = bipolar_test(echoes, mask)
    assert found.present
    assert found.phase_rad == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize("groups", [1, 2])
def test_groups_of_echoes_are_fitted_as_the_formula_says(groups):
    """Against a fine search over the frequency, voxel by voxel."""
    rng = np.random.default_rng(12)
    times = np.array([0.004, 0.010, 0.016, 0.022, 0.028])
    group = np.arange(5) % groups
    truth = rng.uniform(-60, 60, 40)
    phase = 2 * np.pi * truth[:, None] * times + np.array([0.4, -0.3])[group] + rng.normal(0, 0.1, (40, 5))
    magnitude = np.exp(-20 * times) * rng.uniform(0.5, 1, (40, 1))
    frequency, intercepts, misfit = fit_groups(magnitude, phase, times, groups, truth, 40.0)
    search = truth[:, None] + np.linspace(-20, 20, 8001)
    turned = magnitude[:, None] ** 2 * np.exp(1j * (phase[:, None] - 2 * np.pi * search[..., None] * times))
    sums = np.stack([turned[..., group == g].sum(axis=-1) for g in range(groups)], axis=-1)
    height = np.abs(sums).sum(axis=-1)
    best = height.argmax(axis=1)
    np.testing.assert_allclose(frequency, search[np.arange(40), best], atol=0.02)  # four regressions
    least = 2 * (np.sum(magnitude**2, axis=1) - height.max(axis=1))
    np.testing.assert_allclose(misfit, least, atol=1e-5 * np.sum(magnitude**2, axis=1).max())
    off = np.angle(np.exp(1j * (intercepts - np.angle(sums[np.arange(40), best]))))
    assert intercepts.shape == (40, groups)
    assert np.abs(off).max() < 5e-3
