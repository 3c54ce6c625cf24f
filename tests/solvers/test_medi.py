"""MEDI: parity with the toolbox, its options, and what they report."""

import dataclasses

import numpy as np
import pytest
from oracles import relative_error

from qsm_recon.errors import DataError, ParameterError
from qsm_recon.operators.dipole import DipoleOperator
from qsm_recon.operators.grid import Grid
from qsm_recon.problem import Problem
from qsm_recon.solvers.medi import MEDI, regularisation_weight_from_toolbox
from qsm_recon.solvers.registry import make_solver
from qsm_recon.terms.morphology import edge_mask, neumann_difference
from qsm_recon.testing.measurement import Measurement
from qsm_recon.units import rad_per_ppm

VOXEL = (3.75, 3.75, 3.0)
TOOLBOX_SMOOTHING_RAD = 1e-3  # the square root of the 1e-6 under the toolbox's root


@pytest.fixture(scope="module")
def toolbox(shared_folder):
    path = shared_folder / "reference" / "small_case_medi.npz"
    if not path.exists():
        pytest.skip("no stored output of the toolbox")
    with np.load(path) as stored:
        return {name: stored[name] for name in stored.files}


def toolbox_settings(scale, mean_squared_weight=1.0, **changes):
    settings = {
        "regularisation_weight": regularisation_weight_from_toolbox(1000.0, scale, mean_squared_weight),
        "edge_fraction": 0.9,
        "padding": 0,
        "edge_fraction_of": "voxels",
        "smoothing": TOOLBOX_SMOOTHING_RAD / scale,
        "weighting": "given",
        "weight_normalisation": "none",
        "rad_per_ppm": scale,
        "linear_iterations": 0,
        "update_tolerance": 0.0,
        "cg_tolerance": 0.01,
        "cg_iterations": 100,
        "circulant": False,
        "precision": "double",
        "margin": 1e6,
    }
    return MEDI(**{**settings, **changes})


@pytest.mark.parametrize("fraction", [0.05, 0.3, 0.9, 1.0])
def test_edges_of_components_are_the_steepest(fraction):
    """Of three for each voxel of the mask; where that is more than differ at all, whatever differs."""
    shape = (7, 8, 9)
    rng = np.random.default_rng(0)
    mask = rng.random(shape) < 0.3
    magnitude = np.round(rng.uniform(1, 5, shape), 1)  # with equal slopes among them
    slope = np.abs(neumann_difference(np.where(mask, magnitude, 0), VOXEL))
    count = min(round(fraction * 3 * mask.sum()), slope.size - 1)
    expected = slope <= np.sort(slope, axis=None)[slope.size - 1 - count]
    assert (edge_mask(magnitude, mask, VOXEL, fraction) == expected).all()
    flat = np.ones(shape)
    assert edge_mask(flat, np.ones(shape, bool), VOXEL, fraction).all()


def small_problem(small_case, toolbox, factor=1.0):
    mask = small_case["mask"] > 0
    field = mask * small_case["phase"] / 3.0 * factor
    return Problem(field, mask, Grid(mask.shape, VOXEL), small_case["magn"], toolbox["data_weight"])


def test_edge_mask_is_the_toolbox_s(small_case, toolbox):
    found = edge_mask(small_case["magn"], small_case["mask"] > 0, VOXEL, 0.9, "voxels")
    assert np.array_equal(found, np.moveaxis(toolbox["edge_mask"], -1, 0) > 0)


def test_follows_the_toolbox_iterate_by_iterate(small_case, toolbox):
    problem = small_problem(small_case, toolbox)
    counts = toolbox["cg_iterations"].ravel()
    for outer, limit in zip((1, 2, 3, 4), (1e-9, 1e-6, 1e-3, 1e-2), strict=True):
        # The toolbox leaves the constant of the field where it is.
        result = toolbox_settings(3.0, max_iterations=outer)._solve(problem, None, None)
        chi = np.where(problem.mask, result.susceptibility_ppm, 0)
        expected = np.where(problem.mask, toolbox["iterates_rad"][..., outer - 1] / 3.0, 0)
        assert relative_error(chi, expected) < limit
    assert result.history["cg_iterations"] == counts.tolist()
    assert relative_error(chi, toolbox["chi_ppm"]) < 1e-2


def test_toolbox_lambda_converts_with_the_scale_of_weight_and_phase(small_case, toolbox):
    # The same functional with the weight brought to root mean square 1, and in other units of phase.
    problem = small_problem(small_case, toolbox)
    mean_squared = float(np.mean(toolbox["data_weight"][problem.mask] ** 2))
    expected = toolbox_settings(3.0, max_iterations=1).solve(problem).susceptibility_ppm
    normalised = toolbox_settings(3.0, mean_squared, max_iterations=1, weight_normalisation="rms")
    assert relative_error(normalised.solve(problem).susceptibility_ppm, expected) < 1e-6


def test_alpha_keeps_its_meaning_with_field_strength_and_echo_time(synthetic):
    maps = []
    for b0, time in ((3.0, 0.020), (7.0, 0.004), (1.5, 0.010)):
        problem = synthetic.problem(b0_tesla=b0, echo_times_s=(time,))
        solver = MEDI(max_iterations=30, update_tolerance=1e-4, cg_tolerance=1e-3, cg_iterations=100)
        result = solver.solve(problem)
        assert result.details["rad_per_ppm"] == pytest.approx(rad_per_ppm(b0, time))
        maps.append(result.susceptibility_ppm)
    for other in maps[1:]:
        assert relative_error(other, maps[0]) < 0.01


def test_scales_with_the_field(synthetic):
    factor, settings = 4.0, {"max_iterations": 4, "update_tolerance": 0.0}
    expected = (
        MEDI(**settings, regularisation_weight=3e-4, smoothing=5e-4).solve(synthetic.problem()).susceptibility_ppm
    )
    scaled = synthetic.problem(field_ppm=factor * synthetic.field, echo_times_s=(0.020 / factor,))
    solver = MEDI(**settings, regularisation_weight=factor * 3e-4, smoothing=factor * 5e-4)
    assert relative_error(solver.solve(scaled).susceptibility_ppm / factor, expected) < 1e-4


def test_small_phase_makes_it_linear(synthetic):
    linear = MEDI(fidelity="linear").solve(synthetic.problem()).susceptibility_ppm
    nonlinear = MEDI(rad_per_ppm=0.01, linear_iterations=0).solve(synthetic.problem()).susceptibility_ppm
    assert relative_error(nonlinear, linear) < 1e-3


def test_linear_start_survives_strong_fields(synthetic):
    # 20 rad per ppm make the strongest fields several rad, beyond what the sine can tell from wraps.
    problem = synthetic.problem(field_ppm=8 * synthetic.field)
    truth = 8 * synthetic.truth[problem.mask]
    errors = []
    for first in (0, 2):
        chi = MEDI(linear_iterations=first, rad_per_ppm=20.0).solve(problem).susceptibility_ppm[problem.mask]
        errors.append(relative_error(chi - chi.mean(), truth - truth.mean()))
    assert errors[1] < 0.7 * errors[0]


def test_without_magnitude_everything_is_smoothed(synthetic):
    problem = synthetic.problem(magnitude=None)
    result = MEDI().solve(problem)
    assert result.details["edges"].startswith("none")
    assert np.array_equal(result.susceptibility_ppm, MEDI(edge_fraction=0.0).solve(problem).susceptibility_ppm)


# ---- the constant that no term sees ----


@pytest.mark.parametrize("name", ["medi", "tfi"])
def test_the_map_gets_no_pedestal_however_long_it_iterates(name):
    """Rounding of a residual's mean was divided by next to nothing: the map rose by hundreds of ppm."""
    measured = Measurement()
    solver = make_solver(
        name, regularisation_weight=1e-3, update_tolerance=0.0, cg_tolerance=0.0, cg_iterations=120, max_iterations=20
    )
    found = solver.solve(measured.problem()).susceptibility_ppm[measured.mask]
    assert abs(found.mean(dtype=np.float64) - measured.truth[measured.mask].mean()) < 0.005


# ---- spherical means ----


def sphere_problem(**changes):
    """A susceptibility inside, and a background field of a source outside the mask; 2 mm voxels."""
    shape, grid = (40, 40, 40), Grid((40, 40, 40), (2.0, 2.0, 2.0))
    x, y, z = np.ix_(*[np.arange(n) - 19.5 for n in shape])
    mask = x**2 + y**2 + z**2 < 14**2
    inside = np.where((x - 3) ** 2 + y**2 + z**2 < 9, 0.2, 0.0) * mask
    outside = np.where((x**2 + y**2 + (z - 18) ** 2) < 4, 5.0, 0.0)
    operator = DipoleOperator(grid, dtype=np.float64)
    magnitude = np.ones(shape)
    return inside, mask, Problem(operator.forward(inside + outside), mask, grid, magnitude, **changes)


def test_spherical_means_remove_background_and_report_the_smaller_mask():
    inside, mask, problem = sphere_problem()
    result = MEDI(smv_radius=6.0, edge_fraction=0.0).solve(problem)
    assert result.mask.sum() < mask.sum()
    assert not result.susceptibility_ppm[~result.mask].any()
    assert result.details["mask_voxels"] == result.mask.sum()
    assert result.details["given_mask_voxels"] == mask.sum()
    assert np.array_equal(MEDI(edge_fraction=0.0, max_iterations=1).solve(problem).mask, mask)
    # The outside source leaves no trace: the same map comes from the field without it.
    local = DipoleOperator(problem.grid, dtype=np.float64).forward(inside)
    expected = MEDI(smv_radius=6.0, edge_fraction=0.0).solve(Problem(local, mask, problem.grid, problem.magnitude))
    assert relative_error(result.susceptibility_ppm, expected.susceptibility_ppm) < 0.05
    truth = inside[result.mask] - inside[result.mask].mean()
    found = result.susceptibility_ppm[result.mask]
    assert relative_error(found - found.mean(), truth) < 0.1


def test_spherical_means_count_as_explained():
    """The field less what was fitted is what is left unexplained: noise here, and none of the background."""
    _inside, mask, clean = sphere_problem(b0_tesla=3.0, echo_times_s=(0.02,))
    noise = 0.002 * np.random.default_rng(0).standard_normal(mask.shape)
    problem = Problem(clean.field_ppm + noise, mask, clean.grid, clean.magnitude, b0_tesla=3.0, echo_times_s=(0.02,))
    result = MEDI(smv_radius=6.0, edge_fraction=0.0).solve(problem)
    left = (problem.field_ppm - result.fitted_field_ppm)[result.mask]
    assert 0.0012 < left.std() < 0.0022
    assert (problem.field_ppm - problem.field_ppm[mask].mean())[result.mask].std() > 0.01
    assert not result.fitted_field_ppm[~result.mask].any()


def test_too_large_a_ball_is_refused():
    _inside, _mask, problem = sphere_problem()
    with pytest.raises(ParameterError, match=r"smv_radius|ball of radius"):
        MEDI(smv_radius=30.0).solve(problem)


# ---- zero reference ----


def test_fluid_is_the_zero_reference_and_becomes_uniform():
    _inside, _mask, plain = sphere_problem()
    x, y, z = np.ix_(*[np.arange(40) - 19.5] * 3)
    fluid = (x + 4) ** 2 + y**2 + z**2 < 12
    rate = np.where(fluid, 1.0, 20.0)
    _inside, _mask, problem = sphere_problem(r2star_per_s=rate)
    result = MEDI(csf_weight=5.0, edge_fraction=0.0).solve(problem)
    found = result.images["csf_mask"]
    assert np.array_equal(found, fluid)
    values = result.susceptibility_ppm[fluid]
    assert abs(values.mean()) < 1e-6
    assert values.std() < 0.5 * MEDI(edge_fraction=0.0).solve(plain).susceptibility_ppm[fluid].std()


def test_fluid_needs_a_map_and_voxels():
    _inside, _mask, problem = sphere_problem()
    with pytest.raises(ParameterError, match="R2"):
        MEDI(csf_weight=1.0).solve(problem)
    _inside, _mask, problem = sphere_problem(r2star_per_s=np.full((40, 40, 40), 30.0))
    with pytest.raises(DataError, match="no voxel below 5"):
        MEDI(csf_weight=1.0).solve(problem)


def test_reports_reweighted_voxels(synthetic):
    field = synthetic.field.copy()
    field[7, 9, 6] += 0.15
    result = MEDI(merit=True, fidelity="linear", max_iterations=4, regularisation_weight=3e-4, smoothing=5e-4).solve(
        synthetic.problem(field_ppm=field)
    )
    assert result.details["reweighted_voxels"] >= 1


# ---- the same functional on the other engine ----


def test_agrees_with_admm_on_the_same_functional(synthetic):
    # Random magnitudes: nearly a third of the components are free, and the rest are far from smooth in the data.
    same = {"regularisation_weight": 5e-3, "margin": 1e6, "padding": 6, "precision": "double"}
    newton = MEDI(
        **same, fidelity="linear", smoothing=1e-5, max_iterations=100, update_tolerance=1e-4, cg_tolerance=1e-3,
        cg_iterations=300,
    )  # fmt: skip
    admm = {"max_iterations": 1000, "tolerance": 0.0}
    by_newton = newton.solve(synthetic.problem())
    by_admm = make_solver("tv", regularisation_weighting="edges", **same, **admm).solve(synthetic.problem())
    assert by_newton.history["objective"][-1] == pytest.approx(by_admm.history["objective"][-1], rel=5e-3)
    assert by_admm.history["regularisation"][-1] * 5e-3 > 0.2 * by_admm.history["objective"][-1]
    assert relative_error(by_newton.susceptibility_ppm, by_admm.susceptibility_ppm) < 0.05
    # The edges matter: with everything smoothed the minimum is another.
    plain = make_solver("tv", **same, **admm).solve(synthetic.problem())
    assert plain.history["objective"][-1] > 1.04 * by_admm.history["objective"][-1]
    assert relative_error(plain.susceptibility_ppm, by_admm.susceptibility_ppm) > 0.1


def test_edges_of_the_other_engine_need_a_magnitude_image(synthetic):
    with pytest.raises(ParameterError, match="edges needs a magnitude image"):
        make_solver("tv", regularisation_weighting="edges").solve(synthetic.problem(magnitude=None))


def test_box_around_the_mask_changes_little(synthetic):
    # Twelve more voxels on every side: the box leaves them out, margin=1e6 does not.
    wide = [(12, 12)] * 3
    images = {
        "field_ppm": np.pad(synthetic.field, wide),
        "mask": np.pad(synthetic.mask, wide),
        "magnitude": np.pad(synthetic.magnitude, wide),
    }
    problem = synthetic.problem(**images, grid=synthetic.grid.resized(images["mask"].shape))
    boxed, whole = (MEDI(margin=margin, cg_iterations=100).solve(problem) for margin in (8.0, 1e6))
    assert np.prod(boxed.details["padded_shape"]) < 0.6 * np.prod(whole.details["padded_shape"])
    assert boxed.susceptibility_ppm.shape == problem.grid.shape
    first, second = (r.susceptibility_ppm[problem.mask] for r in (boxed, whole))
    assert relative_error(first - first.mean(), second - second.mean()) < 0.1


def test_says_that_without_a_magnitude_there_are_no_edges(synthetic):
    problem = dataclasses.replace(synthetic.problem(), magnitude=None)
    solver = make_solver("medi", max_iterations=1)
    (remark,) = solver.remarks(problem)
    assert "without a magnitude image no edges are known" in remark
    assert solver.solve(problem).details["warnings"] == [remark]
    assert make_solver("medi", edge_fraction=0.0).remarks(problem) == []
    with_magnitude = dataclasses.replace(problem, magnitude=np.ones(problem.grid.shape, np.float32))
    assert solver.remarks(with_magnitude) == []
