"""Closed-form solvers against their formulas and the stored outputs of the toolboxes."""

import numpy as np
import pytest
from oracles import relative_error
from oracles.fields import difference_symbols, dipole_kernel, filtered

from qsm_recon.engines.closed_form import apply_filter, truncated_inverse
from qsm_recon.operators.dipole import DipoleOperator
from qsm_recon.operators.grid import Grid
from qsm_recon.problem import Problem
from qsm_recon.solvers.registry import make_solver


def solve(name, synthetic, **parameters):
    return make_solver(name, precision="double", padding=0, **parameters).solve(synthetic.problem())


def naive(synthetic, k_space_filter):
    """Filter the masked field on the padded grid (15, 18, 15), crop and mask."""
    padded = np.zeros((15, 18, 15))
    padded[:, :, :13] = np.where(synthetic.mask, synthetic.field, 0)
    grid = synthetic.grid
    kernel = dipole_kernel("continuous", padded.shape, grid.voxel_size_mm, grid.b0_direction)
    return np.where(synthetic.mask, filtered(k_space_filter(kernel), padded).real[:, :, :13], 0)


@pytest.mark.parametrize("regulariser", ["identity", "gradient"])
@pytest.mark.parametrize("convention", ["physical", "unit-voxel"])
def test_tikhonov_is_its_formula(regulariser, convention, synthetic):
    spacing = synthetic.grid.voxel_size_mm if convention == "physical" else (1, 1, 1)

    def k_space_filter(kernel):
        symbols = difference_symbols(kernel.shape, spacing)
        penalty = 1 if regulariser == "identity" else sum(np.abs(e) ** 2 for e in symbols)
        denominator = kernel**2 + 0.03 * penalty
        denominator[0, 0, 0] = 1
        return kernel / denominator

    found = solve("tikhonov", synthetic, regularisation_weight=0.03, regulariser=regulariser, gradient=convention)
    assert relative_error(found.susceptibility_ppm, naive(synthetic, k_space_filter)) < 1e-6


@pytest.mark.parametrize(("name", "fill"), [("tkd", True), ("tsvd", False)])
@pytest.mark.parametrize("threshold", [0.05, 0.3])
def test_division_is_its_formula(name, fill, threshold, synthetic):
    def k_space_filter(kernel):
        inverse = np.sign(kernel) / threshold * fill
        large = np.abs(kernel) > threshold
        inverse[large] = 1 / kernel[large]
        return inverse

    found = solve(name, synthetic, threshold=threshold)
    assert relative_error(found.susceptibility_ppm, naive(synthetic, k_space_filter)) < 1e-6


@pytest.mark.parametrize("axes", [(1, 2, 0), (2, 0, 1)])
def test_division_does_not_depend_on_the_order_of_the_axes(axes):
    # On the magic cone the kernel is zero: the sign of what rounding leaves there must not decide what is filled in.
    field, mask = np.random.default_rng(0).normal(0.0, 0.01, (60, 60, 60)), np.ones((60, 60, 60), bool)
    direction = np.array([0.0, 0.0, 1.0])
    solver = make_solver("tkd", precision="double", padding=0, threshold=0.2)
    found = solver.solve(Problem(field, mask, Grid(field.shape, (1, 1, 1), direction))).susceptibility_ppm
    turned = Problem(field.transpose(axes), mask, Grid(field.shape, (1, 1, 1), direction[list(axes)]))
    assert relative_error(solver.solve(turned).susceptibility_ppm, found.transpose(axes)) < 1e-6


def test_correction_of_underestimation_divides_by_the_reported_amplitude(synthetic):
    plain = solve("tkd", synthetic, threshold=0.19)
    corrected = solve("tkd", synthetic, threshold=0.19, correct_underestimation=True)
    amplitude = plain.details["point_spread_amplitude"]
    assert 0.5 < amplitude < 1
    assert relative_error(corrected.susceptibility_ppm * amplitude, plain.susceptibility_ppm) < 1e-6


def test_small_parameters_invert_the_field_exactly():
    """Noise-free and nowhere near the magic cone's zeros: what went in comes out, but for the mean."""
    shape, direction = (15, 9, 5), (0.31, -0.22, 0.93)
    kernel = dipole_kernel("continuous", shape, (1, 1, 1), direction)
    chi = np.random.default_rng(0).standard_normal(shape)
    problem = Problem(filtered(kernel, chi).real, np.ones(shape, bool), Grid(shape, (1, 1, 1), direction))
    smallest = np.abs(np.delete(kernel.ravel(), 0)).min()
    for name, parameters in (
        ("tkd", {"threshold": smallest / 2}),
        ("tsvd", {"threshold": smallest / 2}),
        ("tikhonov", {"regularisation_weight": 1e-12, "regulariser": "identity"}),
    ):
        found = make_solver(name, precision="double", padding=0, **parameters).solve(problem).susceptibility_ppm
        assert relative_error(found, chi - chi.mean()) < 1e-5


def test_strong_tikhonov_gives_zero(synthetic):
    strong = solve("tikhonov", synthetic, regularisation_weight=1e6).susceptibility_ppm
    assert np.abs(strong).max() < 1e-6


@pytest.mark.parametrize("name", ["tkd", "tsvd", "tikhonov"])
def test_constant_added_to_the_field_changes_nothing(name, synthetic):
    everywhere = np.ones_like(synthetic.mask)
    grid = Grid((15, 18, 12), synthetic.grid.voxel_size_mm)  # fast sizes: no padding
    one, other = (
        make_solver(name).solve(Problem(field[..., :12], everywhere[..., :12], grid)).susceptibility_ppm
        for field in (synthetic.field, synthetic.field + 0.5)
    )
    assert relative_error(other, one) < 1e-4


# ---- the toolboxes ----


@pytest.fixture(scope="module")
def toolbox(small_case, shared_folder):
    """Inputs and outputs of the toolboxes' small case."""
    with np.load(shared_folder / "reference" / "small_case_direct.npz") as outputs:
        return small_case, dict(outputs)


def divide_as_the_toolbox(inputs, *, fill):
    """Truncated division of the unmasked field by the toolbox's own kernel.

    It has D(0) = 1/3, and on this grid |D| is 0.2 to the last digit at some frequencies, where rounding decides.
    """
    operator = DipoleOperator(Grid(inputs["phase"].shape, (3.75, 3.75, 3.0)), dtype=np.float64)
    kernel = operator.transform.spectrum_view(operator.kernel)
    stored = inputs["kernel"][..., : kernel.shape[2]].copy()
    stored_at_zero, stored[0, 0, 0] = stored[0, 0, 0], 0
    assert stored_at_zero == pytest.approx(1 / 3)
    assert np.allclose(kernel, stored, rtol=0, atol=1e-9)
    kernel[...] = stored
    kernel[0, 0, 0] = stored_at_zero
    return apply_filter(operator, inputs["phase"], truncated_inverse(operator.kernel, 0.2, fill=fill))


def test_tsvd_equals_the_toolbox_with_zeroed_frequencies(toolbox):
    inputs, outputs = toolbox
    found = divide_as_the_toolbox(inputs, fill=False)
    assert relative_error(found * inputs["mask"], outputs["tkd_threshold_0p2_zeroed"]) < 1e-5


def test_tkd_equals_the_toolbox_but_for_the_sign_it_fills_with(toolbox):
    """Where |D| is small the toolbox puts +1/t whatever the sign of D; add what that makes of the negative ones."""
    inputs, outputs = toolbox
    kernel, t = inputs["kernel"], 0.2
    wrong_sign = np.where(np.abs(kernel) <= t, (1 - np.sign(kernel)) / t, 0)
    found = divide_as_the_toolbox(inputs, fill=True)
    assert relative_error(found * inputs["mask"], outputs["tkd_threshold_0p2_filled"]) > 0.1
    found += filtered(wrong_sign, inputs["phase"]).real
    assert relative_error(found * inputs["mask"], outputs["tkd_threshold_0p2_filled"]) < 1e-5


def test_tikhonov_equals_the_toolbox(toolbox):
    inputs, outputs = toolbox
    phase = inputs["phase"]
    problem = Problem(phase, np.ones(phase.shape, bool), Grid(phase.shape, (3.75, 3.75, 3.0)))
    settings = {"regularisation_weight": 3e-3, "regulariser": "gradient", "gradient": "unit-voxel"}
    found = make_solver("tikhonov", precision="double", padding=0, **settings).solve(problem).susceptibility_ppm
    found = found + 3 * phase.mean()  # the toolbox's D(0) = 1/3 keeps the mean, and makes it three times as large
    assert relative_error(found * inputs["mask"], outputs["l2_gradient_beta_3em3"]) < 1e-5
