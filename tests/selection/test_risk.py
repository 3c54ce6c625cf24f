"""The estimated risk: against filters whose risk is known, and against the truth."""

import signal
from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from qsm_recon.operators.dipole import DipoleOperator, dipole_kernel
from qsm_recon.operators.grid import Grid
from qsm_recon.problem import Problem
from qsm_recon.select.choosers import choose
from qsm_recon.select.curve import curve_of_points
from qsm_recon.select.path import Path
from qsm_recon.select.risk import PROBE_SIZE, RiskProbe, SpectralMisfit, errors_of_field, estimated_risks
from qsm_recon.select.tune import select_value
from qsm_recon.solvers.continued import ContinuedSeries
from qsm_recon.solvers.direct import Tikhonov
from qsm_recon.solvers.filter_weights import spectra_of
from qsm_recon.solvers.registry import make_solver
from qsm_recon.solvers.total_variation import LinearTV
from qsm_recon.terms.cone_errors import cone_errors
from qsm_recon.terms.field_scale import field_scale
from qsm_recon.terms.field_spectrum import SHELL_EDGES, TRUSTED_BAND, SpectralBins
from qsm_recon.units import rad_per_ppm

SHAPE = (48, 45, 50)  # sizes that are transformed as they are


def textured(noise, shape=SHAPE, seed=0, size=(1.0, 1.0, 1.0), direction=(0.0, 0.0, 1.0)):
    """Susceptibility with structure at all scales that fills a periodic grid, its field with white noise, and both."""
    rng = np.random.default_rng(seed)
    k = np.sqrt(sum(np.square(f) for f in np.ix_(*map(np.fft.fftfreq, shape, size))))
    k[0, 0, 0] = np.inf
    truth = np.fft.ifftn(np.fft.fftn(rng.standard_normal(shape)) / k**1.8).real
    truth *= 0.03 / truth.std()
    grid = Grid(shape, size, direction)
    field = DipoleOperator(grid, dtype=np.float64).forward(truth) + noise * rng.standard_normal(shape)
    return Problem(field.astype(np.float32), np.ones(shape, dtype=bool), grid), truth


@pytest.mark.parametrize(("size", "direction"), [((1, 1, 1), (0, 0, 1)), ((0.8, 1, 1.6), (0.4, 0.1, 0.9))])
def test_the_cone_shows_the_errors_of_a_field(size, direction):
    bins = SpectralBins(Grid(SHAPE, size, direction))
    wanted = np.linspace(3.0, 1.0, bins.shells) ** 2
    noise = bins.coloured_noise(wanted, 1)
    found = bins.cone(bins.power(bins.transform(noise)) / noise.size)
    centres = np.sqrt(np.multiply(SHELL_EDGES[:-1], SHELL_EDGES[1:]))
    assert found[3:] == pytest.approx(wanted[3:], rel=0.2)
    assert found[5:] == pytest.approx(wanted[5:], rel=0.1)
    assert noise.std() == pytest.approx(np.sqrt(np.interp(1.0, centres, wanted)), rel=0.2)
    problem, _ = textured(0.0, SHAPE, size=size, direction=direction)
    dipole_field = bins.power(bins.transform(problem.field_ppm)) / noise.size
    assert bins.cone(dipole_field)[4] < 0.02 * dipole_field[4, TRUSTED_BAND:].mean()


def test_every_frequency_is_counted_once():
    for shape in ((16, 18, 20), (15, 17, 19), (1, 12, 9)):
        grid = Grid(shape)
        bins = SpectralBins(grid)
        radius = np.sqrt(sum(np.square(2 * f) for f in np.ix_(*[np.fft.fftfreq(n) for n in shape])))
        inside = (radius >= SHELL_EDGES[0]) & (radius < SHELL_EDGES[-1])
        assert bins.counts.sum() == np.count_nonzero(inside)
        image = np.random.default_rng(0).standard_normal(shape)
        whole = np.abs(np.fft.fftn(image)) ** 2
        assert (bins.power(bins.transform(image)) * bins.counts).sum() == pytest.approx(whole[inside].sum(), rel=1e-6)


def known_filter(problem, beta):
    """(shells,) of (2 h - 1) / |D|² for Tikhonov's filter, from the formula."""
    bins = SpectralBins(problem.grid)
    kernel = dipole_kernel(problem.grid, dtype=np.float64)
    followed = kernel**2 / (kernel**2 + beta)
    mean = bins._sum(followed * bins.twice) / np.maximum(bins.counts, 1)
    return bins, mean


class Untold(Tikhonov):
    """A filter that does not tell that it is one."""

    def transfer(self, grid):
        return None


@pytest.mark.parametrize("beta", [1e-2, 0.03, 0.1])
def test_the_error_of_a_filter_is_known_at_every_frequency(beta):
    problem, truth = textured(0.004)
    solver = make_solver("tikhonov", regulariser="identity", regularisation_weight=beta, padding=0)
    found = RiskProbe(problem).misfit(solver, solver.solve(problem))
    assert found.ratio is None
    assert found.errors[4:] == pytest.approx(np.full(5, 0.004**2), rel=0.2)
    actual = np.mean(np.square(solver.solve(problem).susceptibility_ppm - truth))
    assert estimated_risks([found])[0] == pytest.approx(
        actual, rel=0.25
    )  # the errors are taken to be 0.8 of what is seen
    known = replace(spectra_of(problem), errors=(0.004**2,) * len(found.errors))
    assert known.on(problem.grid).of(solver.transfer(problem.grid)) == pytest.approx(actual, rel=0.08)


@pytest.mark.parametrize("size", [(1.0, 1.0, 1.0), (0.8, 0.8, 3.2)])
@pytest.mark.parametrize("name", ["tkd", "tsvd", "tikhonov"])
@pytest.mark.parametrize("noise", [0.001, 0.006])
def test_default_of_a_filter_is_near_the_best(name, size, noise):
    """Corners of k-space hold half of the noise; without them thresholds came out too small."""
    problem, truth = textured(noise, (48, 48, 24), seed=4, size=size)
    solver = make_solver(name, padding=0)

    def error(value):
        found = solver.with_regularisation(value).solve(problem)
        return np.std(found.susceptibility_ppm - truth)

    chosen = solver.resolved(problem).main_value()
    best = min(error(min(chosen * factor, 0.66)) for factor in np.geomspace(1 / 16, 16, 17))
    assert error(chosen) < (1.05 if size[0] == size[2] else 1.13) * best
    assert error(chosen / 16) > 1.15 * best  # else any value would do


@pytest.mark.parametrize("shape", [(4, 4, 4), (2, 3, 4), (1, 12, 9), (40, 40, 1), (3, 40, 40)])
@pytest.mark.parametrize("noise", [0.0, 0.01])
@pytest.mark.parametrize("name", ["tkd", "tsvd", "tikhonov"])
def test_every_field_has_a_default_of_a_filter(name, noise, shape):
    field = noise * np.random.default_rng(0).standard_normal(shape)
    problem = Problem(field.astype(np.float32), np.ones(shape, bool), Grid(shape, (1.0, 1.0, 1.0)))
    solver = make_solver(name)
    chosen = solver.resolved(problem).main_value()
    assert solver.main_parameter().low <= chosen <= solver.main_parameter().high
    assert np.isfinite(solver.solve(problem).susceptibility_ppm).all()


def test_default_of_a_filter_knows_no_unit():
    problem, _ = textured(0.004, (32, 36, 30), size=(1.0, 1.0, 2.0))
    tenfold = replace(problem, field_ppm=10 * problem.field_ppm)
    larger = replace(problem, grid=replace(problem.grid, voxel_size_mm=(2.0, 2.0, 4.0)))
    for name, power in (("tkd", 0), ("tikhonov", 2)):
        value = make_solver(name).resolved(problem).main_value()
        assert make_solver(name).resolved(tenfold).main_value() == pytest.approx(value, rel=1e-3)
        assert make_solver(name).resolved(larger).main_value() == pytest.approx(value * 2**power, rel=1e-3)


@pytest.mark.parametrize("constant", [0.05, -0.5])
def test_a_constant_in_the_field_is_no_error_of_it(constant):
    """A filter's risk is read off the field itself, where a mask's edge scatters the constant over the cone."""
    problem, _ = textured(0.004)
    x, y, z = np.ix_(*[np.linspace(-1, 1, n) for n in SHAPE])
    problem = replace(problem, mask=x**2 + y**2 + z**2 < 0.8)
    shifted = replace(problem, field_ppm=problem.field_ppm + np.float32(constant))
    solver = make_solver("tikhonov", regularisation_weight=0.01)
    one, other = (RiskProbe(part).misfit(solver, solver.solve(part)) for part in (problem, shifted))
    assert other.errors == pytest.approx(one.errors, rel=1e-3)
    assert estimated_risks([other])[0] == pytest.approx(estimated_risks([one])[0], rel=1e-3)


@pytest.mark.parametrize("beta", [1e-2, 0.03, 0.1])
def test_the_part_of_an_error_that_a_filter_follows_is_found(beta):
    problem, truth = textured(0.004)
    solver = Untold(regulariser="identity", regularisation_weight=beta, padding=0)
    probe = RiskProbe(problem)
    found = probe.misfit(solver, solver.solve(problem))
    bins, followed = known_filter(problem, beta)
    expected = (probe._amplified * (2 * followed - 1)).sum(axis=1) / np.prod(SHAPE)
    np.testing.assert_allclose(found.overfit[3:], expected[3:], rtol=0.03, atol=0.02 * np.abs(expected).max())
    # The estimate and the truth, in the frequencies that count, with the errors as they are (white).
    risk = found.misfit + 0.004**2 * np.sum(found.overfit)
    error = bins.power(bins.transform(solver.solve(problem).fitted_field_ppm - forward(truth)))
    actual = (probe._amplified * error).sum() / np.prod(SHAPE) ** 2
    assert risk == pytest.approx(actual, rel=0.1)


def forward(truth):
    return DipoleOperator(Grid(truth.shape), dtype=np.float64).forward(truth)


@pytest.mark.parametrize("weight", [1e-3, 2e-3])
def test_the_risk_is_that_at_the_errors_that_the_field_has(weight):
    """Further errors as large as these let more through a threshold: it came out 2.7 and 3.8 times as large."""
    shape = (32, 36, 30)
    rng = np.random.default_rng(5)
    truth = np.kron(rng.choice([-0.05, 0.0, 0.0, 0.05], (4, 4, 5)), np.ones((8, 9, 6)))
    field = forward(truth) + 0.02 * rng.standard_normal(shape)
    problem = Problem(field.astype(np.float32), np.ones(shape, dtype=bool), Grid(shape))
    solver = make_solver("tv", regularisation_weight=weight, padding=0)
    probe, result = RiskProbe(problem), solver.solve(problem)
    found = probe.misfit(solver, result)
    error = probe._bins.power(probe._bins.transform(result.fitted_field_ppm - forward(truth)))
    actual = (probe._amplified * error).sum() / np.prod(shape) ** 2
    assert found.misfit + 0.02**2 * np.sum(found.overfit) == pytest.approx(actual, rel=0.25)


def test_risks_scale_with_the_field_and_ratios_do_not():
    problem, _ = textured(0.004)
    tenfold = replace(problem, field_ppm=10 * problem.field_ppm)
    one, ten = (
        RiskProbe(part).misfit(solver, solver.solve(part))
        for part, solver in (
            (problem, Untold(regulariser="identity", regularisation_weight=0.02)),
            (tenfold, Untold(regulariser="identity", regularisation_weight=0.02)),
        )
    )
    assert ten.ratio == pytest.approx(one.ratio, rel=1e-3)
    assert ten.misfit == pytest.approx(100 * one.misfit, rel=1e-3)
    np.testing.assert_allclose(ten.overfit, one.overfit, rtol=1e-2, atol=1e-3)
    assert errors_of_field([ten, ten]) == pytest.approx(100 * errors_of_field([one, one]), rel=1e-3)


@pytest.mark.parametrize("name", ["tikhonov", "tkd", "tv", "fansi", "wl1l2", "tgv", "medi"])
def test_the_smallest_risk_is_near_the_smallest_error(name):
    problem, truth = textured(0.002 if name == "tkd" else 0.006, (32, 36, 30), seed=2)
    solver = make_solver(name, padding=0)  # the truth is periodic
    centre = {"tikhonov": 0.05, "tkd": 0.04}.get(name, 1e-3)
    values = [float(value) for value in centre * np.geomspace(16, 1 / 16, 9)]
    points = list(Path(solver, problem).sweep(values))[::-1]
    pick = choose(curve_of_points([[point] for point in points]), "risk")
    errors = [np.std(point.susceptibility_ppm - truth) for point in points]
    at_pick = np.interp(np.log(pick.value), np.log(values[::-1]), errors)
    assert at_pick < 1.06 * min(errors)
    assert max(errors) > 1.3 * min(errors)  # else any weight would do


class Rimless(Untold):
    """Its map ends four voxels before the mask, as after spherical means."""

    def _solve(self, problem, callback, start_ppm):
        found = super()._solve(problem, callback, start_ppm)
        found.mask = np.pad(np.ones([n - 8 for n in SHAPE], bool), 4)
        return found


def test_residuals_count_where_the_map_is():
    problem, _ = textured(0.004)
    expected, found = (
        RiskProbe(problem).misfit(solver, solver.solve(problem))
        for solver in (kind(regulariser="identity", regularisation_weight=0.03) for kind in (Untold, Rimless))
    )
    assert found.ratio == pytest.approx(expected.ratio, rel=0.05)  # 1.8; with the rim 3.3
    assert found.overfit[-1] == pytest.approx(expected.overfit[-1], abs=0.2)  # 0.16; with the rim -1.6


def test_echoes_are_disturbed_as_the_field_is():
    problem, _ = textured(0.004, (20, 22, 18))
    times = (0.005, 0.015)
    echoes = np.stack([np.exp(1j * rad_per_ppm(3.0, t) * problem.field_ppm) for t in times], axis=-1)
    problem = replace(problem, echoes=echoes.astype(np.complex64), echo_times_s=times, b0_tesla=3.0)
    other = RiskProbe(problem)._disturbed(np.full(9, 1e-4))
    added = other.field_ppm - problem.field_ppm
    assert added.std() == pytest.approx(PROBE_SIZE * 0.01, rel=0.1)
    for j, t in enumerate(times):
        turned = np.angle(other.echoes[..., j] / problem.echoes[..., j])
        np.testing.assert_allclose(turned, rad_per_ppm(3.0, t) * added, atol=1e-4)


def test_errors_are_read_where_the_residual_is_about_as_large():
    low, high = (SpectralMisfit(ratio, (error,) * 9, 1.0) for ratio, error in ((0.4, 1.0), (1.6, 4.0)))
    assert errors_of_field([high, low, None]) == pytest.approx(np.full(9, 2.0))
    assert np.isnan(estimated_risks([high, None, low])).all()
    known = replace(low, overfit=(-0.1,) * 9)
    assert estimated_risks([known])[0] == pytest.approx(1.0 - 0.9)


@pytest.mark.parametrize("factor", [0.01, 1.0, 30.0])
def test_the_scale_of_a_field_follows_its_units_and_its_voxels(factor):
    problem, truth = textured(0.003)
    scale = field_scale(problem)
    assert scale.error_ppm == pytest.approx(0.003, rel=0.1)
    steps = [np.diff(truth, axis=axis).std() for axis in range(3)]
    assert scale.gradient_ppm_per_mm == pytest.approx(np.sqrt(np.mean(np.square(steps))), rel=0.35)
    other = field_scale(replace(problem, field_ppm=factor * problem.field_ppm))
    assert other.error_ppm == pytest.approx(factor * scale.error_ppm, rel=1e-3)
    assert other.coarseness == pytest.approx(scale.coarseness, rel=1e-3)
    finer = field_scale(replace(problem, grid=Grid(SHAPE, (factor,) * 3)))
    assert finer.coarseness == pytest.approx(scale.coarseness, rel=1e-3)
    assert finer.gradient_ppm_per_mm == pytest.approx(scale.gradient_ppm_per_mm / factor, rel=1e-3)


def test_the_order_of_axes_has_no_say_where_there_is_no_signal():
    """The nearest voxel with a signal is often one of several."""
    problem, _ = textured(0.003)
    rng = np.random.default_rng(4)
    holes = gaussian_filter(rng.standard_normal(SHAPE), 2.0, mode="wrap")
    holes = holes > np.quantile(holes, 0.7)
    field = np.where(holes, rng.uniform(-1, 1, SHAPE), problem.field_ppm).astype(np.float32)
    found = []
    for order in ((0, 1, 2), (2, 1, 0), (1, 2, 0)):
        grid = Grid(tuple(SHAPE[i] for i in order), b0_direction=tuple(float(i == 2) for i in order))
        turned, mask, signal = (np.ascontiguousarray(i.transpose(order)) for i in (field, problem.mask, ~holes))
        magnitude = signal.astype(np.float32)
        found.append(field_scale(Problem(turned, mask, grid, magnitude=magnitude)))
    for scale in found[1:]:
        assert scale.error_ppm == pytest.approx(found[0].error_ppm, rel=1e-3)
        assert scale.gradient_ppm_per_mm == pytest.approx(found[0].gradient_ppm_per_mm, rel=1e-3)


def long_voxels(noise, size=(0.5, 0.5, 5.0), shape=(72, 72, 16)):
    """Balls of some sizes in a ball, in voxels that are long along the field: a mask of few slices."""
    grid = Grid(shape, size)
    x, y, z = np.ix_(*[(np.arange(n) - (n - 1) / 2) * h for n, h in zip(shape, size, strict=True)])
    mask = (x / 16) ** 2 + (y / 16) ** 2 + (z / 36) ** 2 < 1
    rng, truth = np.random.default_rng(3), np.zeros(shape)
    for _ in range(40):
        (a, b, c), radius = rng.uniform(-1, 1, 3) * (11, 11, 25), rng.uniform(2, 5)
        truth += rng.uniform(-0.1, 0.1) * ((x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2 < radius**2)
    truth *= mask
    field = DipoleOperator(grid, dtype=np.float64, padding=16).forward(truth) + noise * rng.standard_normal(shape)
    return Problem(np.where(mask, field, 0).astype(np.float32), mask, grid, field_kind="local"), truth


def test_long_voxels_do_not_pass_for_errors():
    problem, truth = long_voxels(0.001)
    assert 0.0007 < field_scale(problem).error_ppm < 0.004  # what shows near their cone: 0.016
    mask = problem.mask

    def error(solver):
        found = solver.solve(problem).susceptibility_ppm[mask]
        wanted = truth[mask] - truth[mask].mean()
        return float(np.linalg.norm(found - found.mean() - wanted) / np.linalg.norm(wanted))

    assert error(LinearTV()) < 0.1
    pick, _ = select_value(LinearTV(), problem)
    assert error(LinearTV(regularisation_weight=pick.value)) < 0.15


def test_what_shows_near_the_cone_of_cubes_is_error():
    """The constants of default weights were decided with that."""
    for shape in (SHAPE, (20, 24, 18)):
        problem, _ = textured(0.003, shape)
        bins = SpectralBins.padded(problem.grid)
        spectrum, window = bins.transform(problem.field_ppm), np.ones(shape, np.float32)
        found, cone = cone_errors(bins, spectrum, window), bins.cone(bins.power(spectrum) / window.sum())
        np.testing.assert_allclose(found.shells, cone, rtol=1e-6)
        assert np.isinf(found.bounds).all()


def test_power_seen_through_a_window_is_scattered_by_it():
    shape = (12, 9, 10)
    bins = SpectralBins(Grid(shape))
    rng = np.random.default_rng(0)
    window = rng.uniform(0, 1, (7, 9, 8))
    power = np.abs(bins.transform(rng.standard_normal(shape))) ** 2
    transformed = np.fft.fftn(window, shape, (0, 1, 2))
    whole = np.fft.fftn(np.fft.irfftn(power, shape, (0, 1, 2))).real
    expected = np.fft.ifftn(np.fft.fftn(np.abs(transformed) ** 2) * np.fft.fftn(whole)).real
    expected /= whole.size * np.square(window).sum()
    np.testing.assert_allclose(bins.scattered(power, window), expected[..., : shape[2] // 2 + 1], rtol=1e-9)


@pytest.mark.parametrize("shape", [(12, 9, 10), (7, 6, 5)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_image_is_transformed_there_and_back_in_its_precision(shape, dtype):
    image = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    bins = SpectralBins(Grid(shape))
    spectrum = bins.transform(image)
    accuracy = 1e-5 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(spectrum, np.fft.rfftn(image), atol=accuracy * image.size)
    back = bins.image(spectrum)
    assert back.dtype == dtype
    np.testing.assert_allclose(back, image, atol=accuracy)
    np.testing.assert_allclose(bins.transform(image[:4, :5, :3]), np.fft.rfftn(image[:4, :5, :3], shape, (0, 1, 2)),
                               atol=accuracy * image.size)  # fmt: skip


def test_the_scale_of_an_odd_little_field_is_finite():
    for shape in ((1, 5, 4), (3, 3, 3), (2, 9, 1)):
        mask = np.ones(shape, dtype=bool)
        field = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
        for values in (field, np.zeros(shape, np.float32), np.full(shape, 0.3, np.float32)):
            scale = field_scale(Problem(values, mask, Grid(shape)))
            assert scale.error_ppm > 0
            assert scale.gradient_ppm_per_mm > 0
            assert np.isfinite(scale.coarseness)


class Interrupted(ContinuedSeries):
    """Runs during which the user presses Ctrl-C."""

    def solve(self, solver, callback=None, start_ppm=None):
        """Press it in the first iteration."""

        def press(state):
            signal.raise_signal(signal.SIGINT)
            return callback is None or callback(state)

        return super().solve(solver, press, start_ppm)


def test_ctrl_c_during_the_second_reconstruction_ends_the_sweep():
    problem, _ = textured(0.002)

    class InterruptedProbe(LinearTV):
        """Only the probe has another problem, the field with more errors."""

        def series(self, found):
            """See :class:`Solver`."""
            return super().series(found) if found is problem else Interrupted(found)

    with pytest.raises(KeyboardInterrupt):
        list(Path(InterruptedProbe(), problem).sweep([1e-3, 3e-4, 1e-4, 3e-5]))
