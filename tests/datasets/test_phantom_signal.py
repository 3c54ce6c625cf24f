"""Field, signal, k-space cropping and voxel averages of the phantom."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_erosion, gaussian_filter

from qsm_recon.backend.cache_folder import cache_folder
from qsm_recon.operators.dipole import DipoleOperator
from qsm_recon.operators.grid import Grid
from qsm_recon.phantom import PhantomParameters, build_phantom
from qsm_recon.phantom.geometry import fine_grid, output_grid
from qsm_recon.phantom.resampling import average_voxels, averaging_matrix, crop_k_space
from qsm_recon.phantom.signal import (
    add_noise,
    dipole_field,
    noise_free_echoes,
    smooth_phase_offset,
    steady_state,
)
from qsm_recon.phantom.tissue import TissueMaps
from qsm_recon.units import rad_per_ppm


def sphere(n, radius, voxel=1.0):
    axis = (np.arange(n) - (n - 1) / 2) * voxel
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    return x, y, z, (x**2 + y**2 + z**2 < radius**2).astype(np.float32)


@pytest.mark.parametrize("direction", [(0, 0, 1), (1, 0, 0), (0.6, 0.0, 0.8)])
def test_field_of_a_sphere_is_the_closed_form(direction):
    x, y, z, body = sphere(72, 12.0)
    body = gaussian_filter(body, 1.0)  # a voxelled edge rings on a grid; outside, blurring changes nothing
    field = dipole_field(body, (1.0, 1.0, 1.0), tuple(np.array(direction) / np.linalg.norm(direction)), padding=2.0)
    r2 = x**2 + y**2 + z**2
    along = x * direction[0] + y * direction[1] + z * direction[2]
    volume = body.sum() * 3 / (4 * np.pi)  # the radius cubed of the sphere as drawn
    expected = volume / 3 * (3 * along**2 / r2 - 1) / r2**1.5
    outside = (r2 > 18**2) & (r2 < 30**2)
    assert np.abs(field - expected)[outside].max() < 0.02 * np.abs(expected[outside]).max()
    assert np.abs(field[r2 < 6**2]).max() < 0.01


def test_steady_state_matches_the_bloch_recursion():
    m0, r1 = np.float32(0.8), np.float32(0.9)
    longitudinal = 1.0
    flip = np.radians(15.0)
    for _ in range(2000):
        recovery = np.exp(-0.05 * 0.9)
        longitudinal = 1 - (1 - longitudinal * np.cos(flip)) * recovery
    assert steady_state(m0, r1) == pytest.approx(0.8 * longitudinal * np.sin(flip), rel=1e-5)


def test_uniform_body_has_the_phase_and_decay_of_its_echo_time():
    shape = (12, 10, 8)
    maps = TissueMaps(*(np.full(shape, v, np.float32) for v in (0.0, 0.7, 0.8, 40.0)))
    field = np.full(shape, 0.03, np.float32)
    times = (0.004, 0.028)
    for time, image in zip(times, noise_free_echoes(maps, field, times, 7.0, (6, 5, 4)), strict=True):
        magnitude = steady_state(np.float32(0.7), np.float32(0.8)) * np.exp(-40 * time)
        expected = magnitude * np.exp(1j * rad_per_ppm(7.0, time) * 0.03)
        assert np.allclose(image, expected, rtol=2e-4)


def test_cropping_keeps_a_band_limited_object_in_place():
    fine, coarse = (30, 28, 33), (20, 14, 21)
    rng = np.random.default_rng(1)
    waves = rng.integers(-5, 6, size=(6, 3))
    weights = rng.normal(size=6) + 1j * rng.normal(size=6)

    def image(shape):
        axes = [(np.arange(n) + 0.5) / n for n in shape]  # voxel centres over a common field of view
        x, y, z = np.meshgrid(*axes, indexing="ij")
        return sum(
            w * np.exp(2j * np.pi * (k[0] * x + k[1] * y + k[2] * z)) for w, k in zip(weights, waves, strict=True)
        )

    assert np.allclose(crop_k_space(image(fine).astype(np.complex64), coarse), image(coarse), atol=1e-4)


def test_spins_that_dephase_within_a_voxel_cancel():
    x = np.arange(64)
    signal = np.exp(2j * np.pi * x / 2.1)[:, None, None] * np.ones((1, 8, 8))
    assert np.abs(crop_k_space(signal.astype(np.complex64), (32, 8, 8))).mean() < 0.1


@settings(max_examples=40, deadline=None)
@given(
    fine=st.tuples(*[st.integers(4, 20)] * 3),
    ratio=st.tuples(*[st.floats(0.2, 1.0)] * 3),
    seed=st.integers(0, 1000),
)
def test_averages_keep_sums_and_never_overshoot(fine, ratio, seed):
    coarse = tuple(max(1, int(n * r)) for n, r in zip(fine, ratio, strict=True))
    volume = np.random.default_rng(seed).normal(size=fine).astype(np.float32)
    averaged = average_voxels(volume, coarse)
    assert averaged.mean() == pytest.approx(volume.mean(), abs=1e-5)
    assert averaged.max() <= volume.max() + 1e-5
    assert averaged.min() >= volume.min() - 1e-5
    matrices = [averaging_matrix(f, c).astype(float) for f, c in zip(fine, coarse, strict=True)]
    expected = np.einsum("ai,bj,ck,ijk->abc", *matrices, volume.astype(float))
    assert np.allclose(averaged, expected, atol=1e-5)


def test_noise_has_the_asked_peak_snr():
    echoes = np.zeros((40, 40, 40, 2), np.complex64)
    echoes[20, 20, 20, 0] = 3.0
    add_noise(echoes, 100.0, noise_seed=5)
    rest = echoes.reshape(-1, 2)[:30000]
    for part in (rest.real, rest.imag):
        assert part.std(axis=0) == pytest.approx(0.03, rel=0.02)
    assert abs(np.corrcoef(rest[:, 0].real, rest[:, 1].real)[0, 1]) < 0.02


def test_grids_span_the_same_field_of_view():
    output = output_grid((1.0, 1.0, 1.0))
    fine = fine_grid(output, 0.65)
    assert output.shape == (164, 205, 205)
    assert fine.shape == (252, 315, 315)
    assert np.allclose(fine.voxel_size_mm, 0.65, atol=1e-3)
    for first, second in zip(output.axes_mm, fine.axes_mm, strict=True):
        assert first.mean() == pytest.approx(second.mean(), abs=1e-3)


SMALL = {"case": "sim2", "size": "reduced", "voxel_size_mm": (4.0, 4.0, 4.0)}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A tiny phantom; the module shares its anatomy through a cache of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QSM_RECON_CACHE", str(tmp_path_factory.mktemp("cache")))
        cache_folder.cache_clear()
        yield build_phantom(PhantomParameters(**SMALL, snr=float("inf")))
    cache_folder.cache_clear()


def test_true_field_is_the_field_of_the_truth(small):
    field = dipole_field(small.susceptibility_ppm, small.voxel_size_mm, small.b0_direction)
    mask = small.evaluation_mask & (small.labels != 16) & (small.labels != 11)
    difference = (field - small.field_ppm)[mask]
    assert difference.std() < 0.25 * small.field_ppm[mask].std()


def test_phase_of_the_echoes_follows_the_field(small):
    mask = small.evaluation_mask & np.isin(small.labels, (7, 8))
    phase = np.angle(small.echoes[..., 1] * np.conj(small.echoes[..., 0]))[mask]
    expected = rad_per_ppm(7.0, 0.008) * small.field_ppm[mask]
    assert np.corrcoef(phase, expected)[0, 1] > 0.9
    assert np.polyfit(expected, phase, 1)[0] == pytest.approx(1.0, abs=0.15)


def test_options_change_what_they_name(small):
    other = build_phantom(
        PhantomParameters(
            **SMALL, snr=float("inf"), background=True, rf_phase_offset_rad=1.0, b0_direction=(1.0, 0.0, 1.0)
        )
    )
    assert np.array_equal(other.labels, small.labels)
    assert other.b0_direction == pytest.approx((2**-0.5, 0, 2**-0.5))
    inside = small.evaluation_mask
    assert not small.background_field_ppm.any()
    # Air is four orders of magnitude less diamagnetic than tissue contrast is strong: ppm against hundredths.
    assert other.background_field_ppm[inside].std() > 3 * other.field_ppm[inside].std()
    assert abs(other.background_field_ppm[inside].mean()) < 0.1
    assert np.std(other.field_ppm[inside] - small.field_ppm[inside]) > 0.3 * np.std(small.field_ppm[inside])


def test_background_is_harmonic_in_the_brain(small):
    phantom = build_phantom(PhantomParameters(**SMALL, background=True))
    assert np.array_equal(phantom.mask, small.mask)
    field = phantom.background_field_ppm.astype(float)
    laplacian = sum(np.roll(field, s, a) for a in range(3) for s in (-1, 1)) - 6 * field
    second = np.abs(np.roll(field, 1, 2) + np.roll(field, -1, 2) - 2 * field)
    deep = binary_erosion(phantom.mask, iterations=3)
    assert np.median(np.abs(laplacian[deep])) < 0.15 * np.median(second[deep])


def test_phase_offset_is_smooth_and_of_the_asked_size():
    grid = output_grid((4.0, 4.0, 4.0))
    offset = smooth_phase_offset(grid, 2.0)
    assert np.allclose(offset, 2 * smooth_phase_offset(grid, 1.0))
    assert max(np.abs(g).max() for g in np.gradient(offset)) < 0.3


@pytest.mark.parametrize(("direction", "least", "most"), [((0, 0, 1), 0.03, 0.12), ((0.3, -0.2, 0.93), 0.08, 0.2)])
def test_averages_commute_with_the_dipole_model_at_coarse_scales_only(direction, least, most):
    fine, coarse = (48,) * 3, (24,) * 3
    rng, world = np.random.default_rng(0), np.indices(fine) - 23.5
    chi = np.zeros(fine, np.float32)
    for _ in range(20):
        centre, radius = rng.uniform(-14, 14, (3, 1, 1, 1)), rng.uniform(1.5, 5)
        chi[((world - centre) ** 2).sum(axis=0) < radius**2] = rng.uniform(-0.1, 0.15)
    averaged = average_voxels(DipoleOperator(Grid(fine, (1, 1, 1), direction)).forward(chi), coarse)
    of_average = DipoleOperator(Grid(coarse, (2, 2, 2), direction)).forward(average_voxels(chi, coarse))
    off = averaged - of_average
    assert least < np.linalg.norm(off) / np.linalg.norm(averaged) < most
    power = np.abs(np.fft.fftn(off)) ** 2
    highest = np.maximum.reduce(np.meshgrid(*[np.abs(np.fft.fftfreq(24))] * 3, indexing="ij"))
    assert power[highest > 0.25].sum() > 0.75 * power.sum()
    assert np.sqrt(power[highest <= 0.125].sum()) < 0.02 * np.linalg.norm(np.fft.fftn(averaged)[highest <= 0.125])
