"""Voxels beside strong sources: simulated with many parts in every voxel, so that they dephase as real ones do."""

import numpy as np
import pytest
from scipy import ndimage, stats

from field.signals import TIMES, ball, make_echoes, wrapped
from qsm_recon.backend.threads import set_thread_count, thread_count
from qsm_recon.field import EchoSeries, estimate_field, fit_complex_echoes
from qsm_recon.field.inconsistent import (
    alias_lattice,
    alias_of_initial_phase,
    refit_first_echoes,
    smallest_gap,
    surprising,
)
from qsm_recon.field.initial_phase import SmoothPhase, typical_deviation
from qsm_recon.field.local_dipole import LocalDipoleFit
from qsm_recon.field.unwrap import rejoin
from qsm_recon.operators.dipole import dipole_kernel
from qsm_recon.operators.gradient import forward_difference, forward_difference_adjoint
from qsm_recon.operators.grid import Grid
from qsm_recon.units import hz_per_ppm

SHAPE = (44, 46, 42)


def sphere_frequency(shape, parts, radius, ppm, b0, direction=(0.0, 0.0, 1.0), size=(1.0, 1.0, 1.0)):
    """Frequency (Hz) of a sphere by the textbook formula, at ``parts``³ points in every voxel."""
    b = np.asarray(direction) / np.linalg.norm(direction)
    fractions = (np.arange(parts) + 0.5) / parts - 0.5
    places = [((np.arange(n) - n / 2)[:, None] + fractions).ravel() * d for n, d in zip(shape, size, strict=True)]
    x = np.meshgrid(*places, indexing="ij", sparse=True)
    squared = sum(a**2 for a in x)
    along = sum(bi * a for bi, a in zip(b, x, strict=True))
    outside = squared > radius**2
    ratio = np.where(outside, radius**3 / np.maximum(squared, radius**2) ** 1.5, 0)
    field = ppm / 3 * ratio * (3 * along**2 / np.maximum(squared, 1e-9) - 1)
    return field * hz_per_ppm(b0)


def averaged(fine, parts):
    """Mean over the parts of every voxel."""
    nx, ny, nz = (n // parts for n in fine.shape)
    return fine.reshape(nx, parts, ny, parts, nz, parts).mean(axis=(1, 3, 5))


def dephased_echoes(fine_hz, parts, times, b0, noise, initial, seed=0):
    """Echoes whose voxels are sums over their parts."""
    rng = np.random.default_rng(seed)
    signals = []
    for t in times:
        signal = averaged(np.exp(2j * np.pi * fine_hz * t), parts) * np.exp(1j * initial - 20 * t)
        signals.append(signal + noise * (rng.standard_normal(signal.shape) + 1j * rng.standard_normal(signal.shape)))
    signal = np.stack(signals, axis=-1)
    return EchoSeries(np.abs(signal), np.angle(signal), tuple(times), b0)


@pytest.fixture(scope="module")
def strong_source():
    """A sphere of -2 ppm at 7 T, four echoes, and its true frequency."""
    fine = sphere_frequency(SHAPE, 4, 3.3, -2.0, 7.0)
    x = np.linspace(-1, 1, SHAPE[0])[:, None, None]
    return dephased_echoes(fine, 4, TIMES, 7.0, 0.01, 0.8 + 0.6 * x), averaged(fine, 4)


def test_whole_periods_beside_a_strong_source_are_found(strong_source):
    echoes, truth = strong_source
    mask = np.ones(SHAPE, dtype=bool)
    found = estimate_field(echoes, mask, grid=Grid(SHAPE))
    error = found.frequency_hz - truth
    error -= np.median(error)
    assert found.report["open_jumps"] > 200  # what spatial unwrapping alone leaves
    assert np.abs(error).max() < 125  # no whole period is left
    wrong = np.abs(error) > 62.5  # on the surface, where parts of a voxel are hundreds of Hz apart
    assert np.count_nonzero(wrong) <= 20
    assert found.reliability[wrong].max(initial=0) < 0.5
    assert np.sqrt(np.mean(error**2)) < 2.0  # Hz; without the dipole model 3.0
    assert found.report["voxels_in_doubt"] > 0
    distance = np.sqrt(sum((axis - n / 2 + 0.5) ** 2 for axis, n in zip(np.indices(SHAPE), SHAPE, strict=True)))
    far = (np.abs(truth) < 3) & (distance > 6)
    assert np.all(found.reliability[far] == 1)
    assert found.reliability.min() > 0
    assert found.reliability.max() == 1


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
@pytest.mark.parametrize("flips", [(True, False, True), (False, True, True)])
def test_neither_storage_nor_air_around_changes_the_field(order, flips):
    """Blocks counted from the first voxel moved the initial phase with them: maps of one scan differed by 2 %."""
    fine = sphere_frequency((26, 25, 23), 4, 3.3, -2.0, 7.0)
    x = np.linspace(-1, 1, 26)[:, None, None]
    echoes = dephased_echoes(fine, 4, TIMES, 7.0, 0.01, 0.8 + 0.6 * x)
    backwards = tuple(axis for axis in range(3) if flips[axis])

    def stored(image):
        return np.pad(np.flip(image.transpose(*order, *range(3, image.ndim)), backwards), [(1, 2)] * 3 + [(0, 0)])

    moved = EchoSeries(stored(echoes.magnitude), stored(echoes.phase_rad), echoes.echo_times_s, 7.0)
    mask = np.ones((26, 25, 23), dtype=bool)
    usual = fit_complex_echoes(echoes, mask)
    there = stored(mask[..., None])[..., 0]
    found = fit_complex_echoes(moved, there)
    assert usual.report["refitted_voxels"] > 50
    for name in ("frequency_hz", "initial_phase_rad", "reliability"):
        expected = stored(getattr(usual, name)[..., None])[..., 0]
        np.testing.assert_allclose(getattr(found, name)[there], expected[there], atol=1e-3)


def test_without_a_grid_voxels_in_doubt_are_still_counted_and_trusted_less(strong_source):
    echoes, truth = strong_source
    found = fit_complex_echoes(echoes, np.ones(SHAPE, dtype=bool))
    error = found.frequency_hz - truth
    wrong = np.abs(error - np.median(error)) > 62.5
    assert found.report["voxels_at_open_steps_left"] > 0
    assert found.report["voxels_at_open_steps_modelled"] == 0
    assert np.median(found.reliability[wrong]) < 0.2


def test_a_weak_field_is_left_alone():
    shape = (24, 20, 22)
    truth = sphere_frequency(shape, 1, 6.0, 0.05, 7.0)
    echoes = make_echoes(truth, TIMES, initial=0.4, noise=0.01, seed=4)
    found = estimate_field(echoes, np.ones(shape, dtype=bool), grid=Grid(shape))
    assert np.all(found.reliability == 1)
    assert found.report["voxels_in_doubt"] == 0
    assert found.report["inconsistent_voxels"] <= 2
    assert np.abs(found.frequency_hz - truth).max() < 6 * found.field_noise_ppm.max() * hz_per_ppm(7.0)


def test_a_wrong_model_of_the_signal_is_reported_and_not_patched():
    """Bipolar echoes taken for monopolar ones: nearly every voxel is inconsistent, and no refit can help."""
    shape = (16, 16, 16)
    echoes = make_echoes(np.full(shape, 10.0), TIMES, bipolar=0.5, noise=0.002)
    found = fit_complex_echoes(echoes, np.ones(shape, dtype=bool), noise_sigma=0.002)
    assert found.report["inconsistent_voxels"] > 0.9 * 16**3
    assert "refitted_voxels" not in found.report


def test_first_echoes_are_refitted_where_parts_of_a_voxel_come_apart():
    """Two thirds of each voxel at 0 Hz, the rest further and further away: the mean is what the field should be."""
    rng = np.random.default_rng(5)
    away = np.linspace(0, 60, 400)
    signal = (2 + np.exp(2j * np.pi * away[:, None] * TIMES)) / 3
    signal = signal + 0.005 * (rng.standard_normal(signal.shape) + 1j * rng.standard_normal(signal.shape))
    refit = refit_first_echoes(
        np.angle(signal), np.abs(signal), TIMES, sigma=0.005, deviation_rad=0.02, excess=np.full(400, 20.0), branches=1
    )
    all_echoes = fit_complex_echoes(
        EchoSeries(
            np.abs(signal).reshape(20, 20, 1, 4), np.angle(signal).reshape(20, 20, 1, 4), tuple(TIMES), 7.0
        ),
        np.ones((20, 20, 1), dtype=bool),
    ).frequency_hz.ravel()  # fmt: skip
    far = away > 25
    error, plain = np.abs(refit.frequency_hz - away / 3)[far], np.abs(all_echoes - away / 3)[far]
    assert np.median(error) < 0.4 * np.median(plain)
    assert np.mean(error < 3 * refit.error_hz[far]) > 0.9
    assert np.mean(refit.echoes[away < 2] == 4) > 0.85
    assert np.mean(refit.echoes[far] < 4) > 0.8


@pytest.mark.parametrize(
    ("ratio", "deviation", "lattice"),
    [(0.5, 0.03, 2), (1.0, 0.03, 1), (0.6, 0.03, 5), (2 / 3, 0.05, 3), (0.5, 0.5, 1), (0.25, 0.02, 4)],
)
def test_aliases_that_the_initial_phase_tells_apart(ratio, deviation, lattice):
    assert alias_lattice(ratio, deviation) == lattice
    added = np.arange(lattice) - lattice // 2
    strayed = 2 * np.pi * ratio * added + 0.5 * deviation
    np.testing.assert_array_equal(alias_of_initial_phase(wrapped(strayed), ratio, lattice), added)
    if lattice > 1:
        assert smallest_gap(lattice, ratio) >= 8 * deviation


def test_the_smooth_initial_phase_is_that_of_the_trusted_voxels():
    shape = (40, 36, 33)
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    phase = 2.5 + 1.5 * x - 0.4 * y * z + 0.3 * z**2  # passes through pi
    rng = np.random.default_rng(0)
    noisy = wrapped(phase + 0.1 * rng.standard_normal(shape))
    voxels = np.arange(noisy.size)
    smooth = SmoothPhase.fit(noisy.ravel(), np.ones(noisy.size), np.ones(noisy.size, bool), voxels, shape)
    inner = ((np.abs(x) < 0.5) & (np.abs(y) < 0.5) & (np.abs(z) < 0.5)).ravel()
    assert np.abs(wrapped(smooth.at(voxels) - phase.ravel()))[inner].max() < 0.05
    strayed = wrapped(noisy.ravel() - smooth.at(voxels))
    assert 0.1 < typical_deviation(strayed) < 0.15  # the noise, and what smoothing bends at the border
    dark = SmoothPhase.fit(noisy.ravel(), np.zeros(noisy.size), np.ones(noisy.size, bool), voxels, shape)
    assert np.isfinite(dark.at(voxels)).all()


@pytest.mark.parametrize("shape", [(23, 18, 31), (9, 1, 13), (5, 4, 1)])
def test_the_smooth_initial_phase_is_the_sum_over_trusted_voxels_at_nodes(shape):
    """Against scipy and loops over corners, where voxels that are not trusted stick out of the others."""
    rng = np.random.default_rng(3)
    voxels = np.flatnonzero(rng.random(shape) < 0.8)
    phase, power = rng.uniform(-9, 9, voxels.size), rng.uniform(0.5, 2, voxels.size)
    places = np.array(np.unravel_index(voxels, shape))
    trusted = places[0] >= 2
    smooth = SmoothPhase.fit(phase, power, trusted, voxels, shape)
    low, high = (extreme(places[:, trusted], axis=1) for extreme in (np.min, np.max))
    count = np.ceil((high - low + 1) / 4).astype(int)
    np.testing.assert_array_equal(smooth.first, (low + high) / 2 - 2.0 * (count - 1))
    where = np.clip((places - smooth.first[:, None]) / 4, 0, count[:, None] - 1)
    expected = np.zeros(count, complex)
    for node in np.ndindex(*count):
        share = np.prod(np.maximum(1 - np.abs(where - np.reshape(node, (3, 1))), 0), axis=0)
        expected[node] = np.sum((share * power * np.exp(1j * phase))[trusted])
    expected = sum(unit * ndimage.gaussian_filter(part, 1.0, mode="constant")
                   for unit, part in ((1, expected.real), (1j, expected.imag)))  # fmt: skip
    np.testing.assert_allclose(smooth.nodes, expected, atol=1e-6 * np.abs(expected).max())
    unit = smooth.nodes / np.abs(smooth.nodes)
    parts = [ndimage.map_coordinates(part, where, order=1, mode="nearest") for part in (unit.real, unit.imag)]
    assert np.abs(wrapped(smooth.at(voxels) - np.arctan2(parts[1], parts[0]))).max() < 1e-9


@pytest.mark.parametrize("shape", [(44, 46, 42), (21, 1, 17)])
def test_voxels_in_doubt_do_not_depend_on_threads(shape):
    fine = sphere_frequency(shape, 2, 3.3, -2.0, 7.0)
    echoes = dephased_echoes(fine, 2, TIMES, 7.0, 0.01, 0.8)
    before, found = thread_count(), []
    for count in (1, 3):
        set_thread_count(count)
        found.append(estimate_field(echoes, ball(shape), grid=Grid(shape)))
    set_thread_count(before)
    for name in ("frequency_hz", "initial_phase_rad", "reliability"):
        np.testing.assert_array_equal(*(getattr(estimate, name) for estimate in found))


def test_surprising_voxels_come_together_or_stand_far_out():
    mask = np.ones((9, 9, 9), dtype=bool)
    excess = np.ones(mask.shape)
    excess[1, 1, 1] = 10  # alone: noise
    excess[5, 5, 5] = excess[5, 6, 6] = 10  # together
    excess[8, 0, 8] = 30  # alone, far out
    found = surprising(excess[mask], 2, mask).reshape(mask.shape)
    assert set(map(tuple, np.argwhere(found))) == {(5, 5, 5), (5, 6, 6), (8, 0, 8)}


@pytest.mark.parametrize(
    ("direction", "size"), [((0, 0, 1), (1, 1, 1)), ((0.3, -0.5, 0.81), (1, 1, 1)), ((0, 1, 0), (0.8, 1.0, 1.5))]
)
def test_a_dipole_model_sees_through_wrong_turns(direction, size):
    """A tenth of the voxels near a sphere are off by a period; the model is nearer to the truth than half of one."""
    shape, period = (30, 32, 28), 100.0
    truth = sphere_frequency(shape, 2, 4.0, 1.5, 7.0, direction, size)
    truth = averaged(truth, 2)
    rng = np.random.default_rng(1)
    near = np.abs(truth) > 40
    wrong = near & (rng.random(shape) < 0.1)
    measured = truth + period * wrong + rng.standard_normal(shape)
    model = LocalDipoleFit(Grid(shape, size, direction), period)
    predicted = model.refine(measured, np.full(shape, 0.06 * period), 10)
    assert np.abs(predicted - truth)[wrong].max() < 0.4 * period
    assert np.median(np.abs(predicted - truth)[wrong]) < 0.1 * period


@pytest.mark.parametrize("shape", [(12, 15, 11), (14, 9, 17)])
def test_a_dipole_model_descends_as_the_dense_formula_says(shape):
    """One reweighting from nothing, and its conjugate gradient written out with images and operators."""
    size, direction, period = (0.8, 1.0, 1.5), (0.3, -0.5, 0.81), 100.0
    rng = np.random.default_rng(6)
    measured, deviation = 20 * rng.standard_normal(shape), rng.uniform(5, 20, shape)
    deviation[rng.random(shape) < 0.2] = np.inf
    model = LocalDipoleFit(Grid(shape, size, direction), period)
    predicted = model.refine(measured, deviation, 1)
    padded = model.susceptibility_hz.shape
    grid, box = Grid(padded, size, direction), tuple(slice(0, n) for n in shape)
    dipole = dipole_kernel(grid).astype(np.float64)
    symbol = np.zeros(padded) + sum(
        np.reshape((2 - 2 * np.cos(2 * np.pi * np.fft.fftfreq(n))) / h**2, [-1 if a == axis else 1 for a in range(3)])
        for axis, (n, h) in enumerate(zip(padded, size, strict=True))
    )

    def filtered(image, by):
        return np.fft.irfftn(by * np.fft.rfftn(image), padded, axes=(0, 1, 2))

    known = np.isfinite(deviation)
    weight, field = np.zeros(padded), np.zeros(padded)
    weight[box][known], field[box][known] = deviation[known] ** -2, measured[known]
    curvature = 1 / (4.0 * period) / (0.1 * period)

    def weighted(image):
        return weight * (image - np.sum(weight * image) / weight.sum())

    def hessian(image):
        variation = forward_difference_adjoint(curvature * forward_difference(image, size), size)
        return filtered(weighted(filtered(image, dipole)), dipole) + variation

    mean = weight.mean()
    inverse = 1 / (mean * dipole**2 + curvature * symbol[..., : padded[2] // 2 + 1] + 1e-6 * mean)
    gradient, map_ = filtered(weighted(field), dipole), np.zeros(padded)
    direction = descended = filtered(gradient, inverse)
    first = product = np.vdot(gradient, descended)
    for _ in range(8):
        if product <= 1e-3 * first:
            break
        image = hessian(direction)
        length = product / np.vdot(direction, image)
        map_, gradient = map_ + length * direction, gradient - length * image
        descended = filtered(gradient, inverse)
        before, product = product, np.vdot(gradient, descended)
        direction = descended + product / before * direction
    found = model.susceptibility_hz - model.susceptibility_hz.mean()  # a constant has no field
    np.testing.assert_allclose(found, map_ - map_.mean(), atol=1e-4 * np.abs(map_).max())
    offset = np.sum(weight * field) / weight.sum()
    expected = filtered(map_, dipole)[box] + offset
    np.testing.assert_allclose(predicted, expected, atol=1e-4 * np.abs(expected).max())


def test_a_dipole_model_has_no_unit():
    shape = (18, 20, 16)
    truth = averaged(sphere_frequency(shape, 2, 4.0, 1.5, 7.0), 2)
    deviation = np.full(shape, 6.0)
    deviation[:3] = np.inf
    once = LocalDipoleFit(Grid(shape), 100.0).refine(truth, deviation, 4)
    thousandfold = LocalDipoleFit(Grid(shape), 1e5).refine(1e3 * truth, 1e3 * deviation, 4)
    np.testing.assert_allclose(thousandfold, 1e3 * once, atol=1e-3 * np.abs(1e3 * once).max())


def test_heads_on_real_anatomy_keep_no_whole_period(shared_folder):
    """The goal set for them: at most five voxels a period off, and none of these trusted."""
    for name in ("head_a", "head_b"):
        path = shared_folder / "data" / "heads" / f"{name}.npz"
        if not path.exists():
            pytest.skip(f"{path.name} is not there")
        with np.load(path) as head:
            magnitude = head["magnitude"].astype(np.float32) * np.float32(head["magnitude_scale"])
            phase = head["phase"].astype(np.float32) * np.float32(np.pi / 32767)
            mask, truth, size = head["mask"], head["field_hz"], tuple(head["voxel_size_mm"])
            times, b0 = tuple(head["echo_times_s"]), float(head["b0_tesla"])
        found = estimate_field(EchoSeries(magnitude, phase, times, b0), mask, grid=Grid(mask.shape, size))
        error = np.where(mask, found.frequency_hz - truth, 0)
        error -= np.median(error[mask])
        wrong = np.abs(error) > 0.5 * found.report["ambiguity_hz"]
        assert np.count_nonzero(wrong) <= 5
        assert found.reliability[wrong].max(initial=0) < 0.5


@pytest.mark.parametrize("freedom", [1, 2, 5])
def test_a_misfit_surprises_alone_or_in_company(freedom):
    rng = np.random.default_rng(0)
    mask = rng.random((12, 13, 14)) < 0.7
    count = np.count_nonzero(mask)
    chance = np.where(rng.random(count) < 0.05, 10.0 ** rng.uniform(-9, -3, count), 0.5)
    excess = stats.chi2.isf(chance, freedom) / freedom
    image = np.zeros(mask.shape, int)
    image[mask] = chance < 3e-4
    company = ndimage.correlate(image, np.ones((3, 3, 3), int), mode="constant")[mask] > 1
    expected = (chance < 1e-7) | ((chance < 3e-4) & company)
    assert 0 < np.count_nonzero(expected) < np.count_nonzero(image)
    np.testing.assert_array_equal(surprising(excess, freedom, mask), expected)


def test_settled_voxels_stay_where_loose_ones_are_joined():
    rng = np.random.default_rng(0)
    truth = np.add.outer(np.linspace(0, 6, 20), np.linspace(0, 3, 16))[:, :, None] + np.linspace(0, 1, 12)
    mask = np.ones(truth.shape, bool)
    mask[:, :, -2:] = False
    loose = mask & (rng.random(truth.shape) < 0.3)
    moved = np.where(loose, rng.integers(-2, 3, truth.shape), 0)
    found = rejoin(truth + moved, mask, loose, np.ones(truth.shape), np.full(truth.shape, 0.01))
    np.testing.assert_array_equal(found, -moved)
