"""Total field inversion and its multi-echo form on a field with a strong source outside the mask."""

import numpy as np
import pytest
from oracles import relative_error

from qsm_recon.errors import ParameterError
from qsm_recon.operators.dipole import DipoleOperator
from qsm_recon.operators.grid import Grid
from qsm_recon.problem import Problem
from qsm_recon.solvers.multi_echo import McTFI
from qsm_recon.solvers.registry import make_solver
from qsm_recon.solvers.total_field import TFI
from qsm_recon.units import rad_per_ppm

SHAPE, B0, TIMES = (40, 38, 36), 3.0, (0.005, 0.012, 0.019, 0.026)


class Head:
    """A ball with two sources inside and a strong one beside it; noise-free field, echoes with a phase offset."""

    def __init__(self, outside=9.0, noise=0.0):
        rng = np.random.default_rng(3)
        self.grid = Grid(SHAPE, (2.0, 2.0, 2.0), (0.0, 0.2, 1.0))
        x, y, z = np.ix_(*[np.arange(n) - (n - 1) / 2 for n in SHAPE])
        self.mask = x**2 + y**2 + z**2 < 12**2
        self.truth = self.mask * (0.2 * ((x - 4) ** 2 + y**2 + z**2 < 9) - 0.1 * ((x + 5) ** 2 + y**2 + z**2 < 8))
        air = outside * (x**2 + (y - 1) ** 2 + (z - 15.5) ** 2 < 4)
        operator = DipoleOperator(self.grid, dtype=np.float64, padding=20)
        self.field = operator.forward(self.truth + air)
        self.r2star = np.where(self.truth > 0, 50.0, 15.0)
        self.m0 = 1.0 + 0.2 * (x > 0) * np.ones(SHAPE)
        self.offset = 0.4 * np.sin(0.1 * (x + y + z))
        times = np.array(TIMES)
        scales = np.array([rad_per_ppm(B0, t) for t in TIMES])
        phase = self.offset[..., None] + scales * self.field[..., None]
        echoes = self.m0[..., None] * np.exp(-self.r2star[..., None] * times + 1j * phase)
        self.echoes = echoes + noise * (rng.standard_normal(echoes.shape) + 1j * rng.standard_normal(echoes.shape))
        self.magnitude = np.abs(self.echoes[..., 0])

    def problem(self, **changes):
        given = {"magnitude": self.magnitude, "echoes": self.echoes, "echo_times_s": TIMES, "b0_tesla": B0}
        return Problem(self.field, self.mask, self.grid, **{**given, "r2star_per_s": self.r2star, **changes})

    def error(self, chi):
        return relative_error(*(v[self.mask] - v[self.mask].mean() for v in (chi, self.truth)))


@pytest.fixture(scope="module")
def head():
    return Head()


def test_tells_background_from_none(head):
    quick = {"max_iterations": 1, "cg_iterations": 2}
    present = TFI(**quick).solve(head.problem()).details
    assert (present["background"], present["preconditioner"]) == ("present", "binary")
    removed = TFI(**quick).solve(Head(outside=0.0).problem()).details
    assert (removed["background"], removed["preconditioner"]) == ("removed", "circulant")


@pytest.mark.parametrize("kind", ["none", "circulant", "binary", "r2star", "adaptive"])
def test_needs_no_background_removal(head, kind):
    result = TFI(preconditioner=kind, background="present", edge_fraction=0.0, cg_iterations=40).solve(head.problem())
    assert head.error(result.susceptibility_ppm) < 0.45
    # Pretending that there is no background gives a worse map.
    wrong = make_solver("medi", edge_fraction=0.0, fidelity="linear", csf_weight=0.0).solve(head.problem())
    assert head.error(result.susceptibility_ppm) < 0.7 * head.error(wrong.susceptibility_ppm)


def test_preconditioning_does_not_move_the_minimiser():
    head = Head(outside=1.0)
    settings = {"background": "removed", "max_iterations": 12, "update_tolerance": 1e-4, "cg_iterations": 150}
    settings |= {"cg_tolerance": 1e-3, "precision": "double", "smoothing": 1e-2, "padding": 0, "edge_fraction": 0.0}
    results = [TFI(preconditioner=kind, **settings).solve(head.problem()) for kind in ("circulant", "binary")]
    assert results[0].history["objective"][-1] == pytest.approx(results[1].history["objective"][-1], rel=1e-4)
    # Neither term sees a constant, which the preconditioner therefore moves.
    first, second = (r.susceptibility_ppm[head.mask] - r.susceptibility_ppm[head.mask].mean() for r in results)
    assert relative_error(second, first) < 0.02


def test_high_r2star_preconditioner_needs_the_map(head):
    with pytest.raises(ParameterError, match="R2"):
        TFI(preconditioner="r2star").solve(head.problem(r2star_per_s=None))


# ---- all echoes ----


def test_multi_echo_finds_map_decay_and_phase(head):
    result = McTFI(edge_fraction=0.0, model="full").solve(head.problem())
    assert head.error(result.susceptibility_ppm) < 0.45
    assert result.susceptibility_ppm.dtype == np.float32
    assert not result.susceptibility_ppm[~head.mask].any()
    for name, truth in (("r2star_per_s", head.r2star), ("m0", head.m0)):
        assert relative_error(result.images[name][head.mask], truth[head.mask]) < 0.05
    difference = np.angle(np.exp(1j * (result.images["initial_phase_rad"] - head.offset)))[head.mask]
    assert np.median(np.abs(difference)) < 0.1


@pytest.mark.parametrize("model", ["full", "reduced"])
def test_multi_echo_objective_falls(model):
    head = Head(noise=0.02)
    settings = {"model": model, "update_tolerance": 0.0, "max_iterations": 6, "cg_iterations": 10}
    objective = McTFI(**settings).solve(head.problem()).history["objective"]
    assert all(np.diff(objective) < 1e-6 * objective[0])


def test_multi_echo_forms_agree_without_noise(head):
    maps = [McTFI(model=m, edge_fraction=0.0).solve(head.problem()).susceptibility_ppm for m in ("full", "reduced")]
    assert relative_error(maps[1], maps[0]) < 0.1


def test_multi_echo_agrees_with_the_field_map_where_that_is_exact():
    # Same weights (one magnitude), no noise, nothing outside: the two functionals differ by the weight's shape only.
    head = Head(outside=0.0)
    by_field = TFI(edge_fraction=0.0).solve(head.problem()).susceptibility_ppm
    by_echoes = McTFI(edge_fraction=0.0).solve(head.problem()).susceptibility_ppm
    assert relative_error(by_echoes, by_field) < 0.1


def test_multi_echo_obeys_the_callback_and_starts_from_a_map(head):
    start = head.truth.astype(np.float32)
    seen = []
    result = McTFI(update_tolerance=0.0).solve(
        head.problem(), start_ppm=start, callback=lambda state: seen.append(state) or len(seen) < 2
    )
    assert len(seen) == result.iterations == 2
    assert "callback" in result.stop_reason
    assert not result.converged


def test_multi_echo_does_not_see_a_constant_frequency(head):
    """Neither in the field map nor in the echoes."""
    constant, settings = 0.05, {"edge_fraction": 0.0, "max_iterations": 4, "background": "removed"}
    turned = head.echoes * np.exp(1j * constant * np.array([rad_per_ppm(B0, t) for t in TIMES]))
    shifted = Problem(
        head.field + constant, head.mask, head.grid, magnitude=head.magnitude, echoes=turned, echo_times_s=TIMES,
        b0_tesla=B0, r2star_per_s=head.r2star,
    )  # fmt: skip
    one, other = (McTFI(**settings).solve(problem) for problem in (head.problem(), shifted))
    assert relative_error(other.susceptibility_ppm, one.susceptibility_ppm) < 1e-3
    np.testing.assert_allclose(other.images["initial_phase_rad"], one.images["initial_phase_rad"], atol=1e-3)


def test_multi_echo_needs_echoes(head):
    with pytest.raises(ParameterError, match="complex echoes"):
        McTFI().solve(head.problem(echoes=None))
    with pytest.raises(ParameterError, match=r"two echoes or more, found one.*choose tfi"):
        McTFI().solve(head.problem(echoes=head.echoes[..., :1], echo_times_s=TIMES[:1]))


def test_without_background_only_the_box_around_the_mask_is_computed(head):
    quick = {"max_iterations": 1, "cg_iterations": 2}
    shapes = {
        kind: TFI(background=kind, margin=2.0, **quick).solve(head.problem()).details["padded_shape"]
        for kind in ("present", "removed")
    }
    assert np.prod(shapes["removed"]) < 0.3 * np.prod(shapes["present"])
    assert min(shapes["present"]) >= min(SHAPE) + 16
