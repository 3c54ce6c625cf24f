"""Rules for choosing, on curves whose answer is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qsm_recon.errors import DataError, ParameterError
from qsm_recon.select.choosers import CHOOSERS, choose, choose_all
from qsm_recon.select.curve import Curve, curvature
from qsm_recon.select.extremum import crossings, interior_minimum
from qsm_recon.select.minimum_risk import LEFT_OFF_CONE

ALPHA = np.geomspace(1e-3, 1e3, 25)


def corner_at(position, alpha=ALPHA):
    """An L whose two arms mirror each other: the corner is exactly where they meet."""
    a = alpha / position
    return Curve(alpha, 1 + a**2, 1 + a**-2)


def test_curvature_of_a_curve_known_in_closed_form():
    t = np.linspace(0.4, 2.5, 60)
    fine = curvature(Curve(np.exp(t), np.exp(t), np.exp(1 / t)))
    at = np.log(fine.parameter)
    expected = (2 / at**3) / (1 + at**-4) ** 1.5
    inner = (at > 0.7) & (at < 2.2)
    np.testing.assert_allclose(fine.value[inner], expected[inner], rtol=0.03)
    assert fine.value[inner].min() > 0  # a convex corner is positive


def test_curvature_does_not_depend_on_units_or_parametrisation():
    plain = corner_at(1.0)
    scaled = Curve(ALPHA, 1e7 * plain.data_cost, 1e-4 * plain.regularisation_cost)
    renamed = Curve(1e-5 * ALPHA**2, plain.data_cost, plain.regularisation_cost)
    np.testing.assert_allclose(curvature(scaled).value, curvature(plain).value, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(curvature(renamed).value, curvature(plain).value, rtol=1e-6, atol=1e-9)


@settings(deadline=None, max_examples=30)
@given(st.floats(0.02, 50))
def test_lcurve_finds_the_corner(position):
    pick = choose(corner_at(position), "lcurve")
    assert pick.value == pytest.approx(position, rel=0.2)
    assert pick.confidence > 0.5


def tikhonov_curve(alpha):
    """Diagonal problem with singular values from 1 to 10^-6: costs, influence, and the error of every solution."""
    rng = np.random.default_rng(1)
    n = 600
    singular = np.geomspace(1, 1e-6, n)
    truth = singular**0.4
    noise = 1e-3
    data = singular * truth + noise * rng.standard_normal(n)
    solutions = [singular * data / (singular**2 + a) for a in alpha]
    misfit = np.array([0.5 * np.sum((singular * x - data) ** 2) for x in solutions])
    size = np.array([0.5 * np.sum(x**2) for x in solutions])
    influence = np.array([np.mean(singular**2 / (singular**2 + a)) for a in alpha])
    predictive = np.array([np.sum((singular * x - singular * truth) ** 2) for x in solutions])
    error = np.array([np.linalg.norm(x - truth) for x in solutions])
    noise_cost = np.full(len(alpha), 0.5 * n * noise**2)
    return Curve(alpha, misfit, size, noise_cost, influence=influence), error, predictive


def test_on_tikhonov_the_corner_is_near_the_best_and_not_at_the_strong_end():
    alpha = np.geomspace(1e-10, 1, 31)
    curve, error, _ = tikhonov_curve(alpha)
    best = alpha[np.argmin(error)]
    pick = choose(curve, "lcurve")
    assert abs(np.log10(pick.value / best)) < 1.2
    assert pick.value < 1e-2  # the curvature with its sign turned round is largest near 1


def test_gcv_is_near_the_smallest_predictive_error():
    alpha = np.geomspace(1e-10, 1, 31)
    curve, _, predictive = tikhonov_curve(alpha)
    pick = choose(curve, "gcv")
    assert np.interp(np.log(pick.value), np.log(alpha), predictive) < 1.5 * predictive.min()
    fallback = choose(curve, "auto")  # of noise and model error this curve knows nothing
    assert fallback.value == pick.value
    assert fallback.confidence < pick.confidence


def test_zero_curvature_is_where_the_bend_ends():
    t = np.linspace(-6, 6, 49)
    # A curve in ρ: η = log(e^-3ρ + e^-0.2ρ) bends convexly at 0; a concave bend at ρ = -2 is subtracted.
    rho = t
    eta = np.log(np.exp(-3 * rho) + np.exp(-0.2 * rho)) - 1.5 * np.log1p(np.exp(-4 * (rho + 2)))
    curve = Curve(np.exp(t), np.exp(rho), np.exp(eta))
    exact = np.gradient(np.gradient(eta, t), t)
    inside = np.flatnonzero((exact[:-1] < 0) & (exact[1:] >= 0) & (t[:-1] > -2) & (t[:-1] < 0))
    pick = choose(curve, "zero-curvature")
    assert np.log(pick.value) == pytest.approx(t[inside[-1]], abs=0.5)
    assert pick.value < choose(curve, "lcurve").value


@pytest.mark.parametrize("power", [1.0, 0.3])
def test_a_straight_curve_has_no_corner(power):
    curve = Curve(ALPHA, ALPHA, ALPHA**-power)
    for method in ("lcurve", "zero-curvature"):
        pick = choose(curve, method)
        assert pick.value is None
        assert pick.confidence == 0
        assert "no interior optimum" in pick.reason


def test_a_concave_curve_has_no_corner():
    curve = Curve(ALPHA, 1 / (1 + ALPHA**-2), 1 / (1 + ALPHA**2))
    assert choose(curve, "lcurve").value is None


def test_a_corner_beyond_the_sweep_is_not_reported_at_its_end():
    curve = corner_at(1e-4)
    assert choose(curve, "lcurve").value is None


@pytest.mark.parametrize("seed", range(5))
def test_costs_known_to_one_per_cent_do(seed):
    rng = np.random.default_rng(seed)
    exact = corner_at(0.7)
    noisy = Curve(
        ALPHA,
        exact.data_cost * np.exp(0.01 * rng.standard_normal(len(ALPHA))),
        exact.regularisation_cost * np.exp(0.01 * rng.standard_normal(len(ALPHA))),
    )
    assert choose(noisy, "lcurve").value == pytest.approx(0.7, rel=0.4)


def test_a_tail_that_is_not_monotone_is_flagged_and_left_out():
    exact = corner_at(1.0)
    data, size = exact.data_cost.copy(), exact.regularisation_cost.copy()
    data[:4] *= (3.0, 2.5, 2.0, 1.5)  # not converged at the weak end
    broken = Curve(ALPHA, data, size)
    np.testing.assert_array_equal(np.flatnonzero(broken.violations()), [1, 2, 3, 4])
    assert len(broken.trusted()) == len(ALPHA) - 4
    assert choose(broken, "lcurve").value == pytest.approx(choose(exact, "lcurve").value, rel=1e-6)


def test_too_few_points_are_no_curve():
    short = corner_at(1.0, ALPHA[10:14])
    assert "five" in choose(short, "lcurve").reason
    with pytest.raises(DataError, match="five or more"):
        curvature(short)


def test_u_curve_does_not_depend_on_units():
    plain = Curve(ALPHA, ALPHA, 1 / ALPHA)
    scaled = Curve(ALPHA, 1e6 * ALPHA, 1e-3 / ALPHA)
    assert choose(plain, "ucurve").value == pytest.approx(1.0, rel=1e-6)
    assert choose(scaled, "ucurve").value == pytest.approx(1.0, rel=1e-6)


def test_discrepancy_is_where_the_misfit_is_the_noise():
    curve = Curve(ALPHA, ALPHA**2, 1 / ALPHA, noise_cost=np.full(len(ALPHA), 0.04))
    assert choose(curve, "discrepancy").value == pytest.approx(0.2, rel=1e-6)
    weaker = Curve(ALPHA, ALPHA**2, 1 / ALPHA, noise_cost=np.full(len(ALPHA), 1e-9))
    assert "sweep further down" in choose(weaker, "discrepancy").reason
    stronger = Curve(ALPHA, ALPHA**2, 1 / ALPHA, noise_cost=np.full(len(ALPHA), 1e9))
    assert "sweep further up" in choose(stronger, "discrepancy").reason
    assert "unknown" in choose(Curve(ALPHA, ALPHA**2, 1 / ALPHA), "discrepancy").reason


def test_frequency_is_where_the_bands_are_equal_times_the_published_factor():
    bands = np.stack([np.ones_like(ALPHA), (ALPHA / 0.3) ** -0.2, np.ones_like(ALPHA)], axis=1)
    pick = choose(Curve(ALPHA, ALPHA, 1 / ALPHA, band_means=bands), "frequency")
    assert pick.value == pytest.approx(0.3 * 1.75, rel=1e-6)
    never = np.stack([np.ones_like(ALPHA), np.full_like(ALPHA, 0.5), np.ones_like(ALPHA)], axis=1)
    assert choose(Curve(ALPHA, ALPHA, 1 / ALPHA, band_means=never), "frequency").value is None


def test_stability_is_where_the_map_changes_least():
    change = np.stack([ALPHA, (ALPHA / 2.0) ** 0.5 + (ALPHA / 2.0) ** -0.5], axis=1)
    assert choose(Curve(ALPHA, ALPHA, 1 / ALPHA, sensitivity=change), "stability").value == pytest.approx(2.0, rel=0.02)
    # A map of which nothing is left changes least of all, and is not meant.
    empty = change[:, 1] * np.where(ALPHA > 100, 1e-3, 1)
    assert choose(
        Curve(ALPHA, ALPHA, 1 / ALPHA, sensitivity=np.stack([ALPHA, empty], axis=1)), "stability"
    ).value == pytest.approx(2.0, rel=0.02)
    flat = np.stack([ALPHA, 1 + 0.005 * np.cos(ALPHA)], axis=1)
    assert choose(Curve(ALPHA, ALPHA, 1 / ALPHA, sensitivity=flat), "stability").value is None
    falling = np.stack([ALPHA, 1 / ALPHA], axis=1)
    assert choose(Curve(ALPHA, ALPHA, 1 / ALPHA, sensitivity=falling), "stability").value is None


def curve_with(risk_at=None, cone_at=None, stable_at=None):
    """The risk is smallest at the first value, residuals fit the cone at the second, the map is stable at the third."""
    change = risk = ratio = None
    if stable_at is not None:
        change = np.stack([ALPHA, (ALPHA / stable_at) ** 0.5 + (ALPHA / stable_at) ** -0.5], axis=1)
    if risk_at is not None:
        risk = np.where(np.abs(np.log(ALPHA / risk_at)) < 3, 1e-6 + 1e-6 * np.log(ALPHA / risk_at) ** 2, np.nan)
    if cone_at is not None:
        ratio = LEFT_OFF_CONE * (ALPHA / cone_at) ** 1.5
    return Curve(ALPHA, ALPHA**2, 1 / ALPHA, sensitivity=change, risk=risk, misfit_ratio=ratio)


@pytest.mark.parametrize(
    ("places", "expected", "word"),
    [
        ((3.0, 2.5, 2.0), 3.0, "estimated error"),
        ((0.2, None, None), 0.2, "estimated error"),
        ((None, 4.0, 2.0), 4.0, "off the magic cone"),
        ((None, None, 2.0), 5.0, "2.5 times stability"),
        ((ALPHA[-1] * 2, ALPHA[-1] * 10, 2.0), 5.0, "2.5 times stability"),
    ],
)
def test_auto_goes_by_the_risk_else_by_what_is_left_on_the_cone_else_by_stability(places, expected, word):
    pick = choose(curve_with(*places))
    assert pick.value == pytest.approx(expected, rel=0.02)
    assert word in pick.reason
    assert 0 < pick.confidence <= 1


def test_the_smallest_risk_is_interpolated_and_never_at_an_end():
    shifted = curve_with(ALPHA[5] * 1.1)
    assert choose(shifted, "risk").value == pytest.approx(ALPHA[5] * 1.1, rel=1e-3)
    falling = Curve(ALPHA, ALPHA, 1 / ALPHA, risk=1 / ALPHA)
    assert choose(falling, "risk").value is None
    assert "strongest" in choose(falling, "risk").reason
    few = Curve(ALPHA, ALPHA, 1 / ALPHA, risk=np.where(np.arange(len(ALPHA)) < 2, 1.0, np.nan))
    assert "too few" in choose(few, "risk").reason


def test_auto_is_sure_where_two_rules_agree():
    agree, differ = choose(curve_with(3.0, 2.5)), choose(curve_with(3.0, 0.3))
    assert agree.value == differ.value
    assert agree.confidence > 1.5 * differ.confidence


def test_auto_says_why_it_finds_nothing():
    straight = choose(Curve(ALPHA, ALPHA, 1 / ALPHA))
    assert straight.value is None
    assert "no interior optimum" in straight.reason
    beyond = choose(curve_with(stable_at=ALPHA[-1] / 1.5))
    assert beyond.value is None


def test_every_rule_answers_on_every_curve():
    for curve in (corner_at(1.0), Curve(ALPHA, ALPHA, 1 / ALPHA), corner_at(1.0, ALPHA[:3])):
        picks = choose_all(curve)
        assert [pick.method for pick in picks] == list(CHOOSERS)
        for pick in picks:
            assert pick.reason
            assert pick.value is None or curve.parameter[0] <= pick.value <= curve.parameter[-1]


def test_an_unknown_rule_is_named():
    with pytest.raises(ParameterError, match="did you mean 'ucurve'"):
        choose(corner_at(1.0), "u-curve")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"parameter": ALPHA[::-1]}, "increase"),
        ({"data_cost": ALPHA - 1}, "data_cost must be positive"),
        ({"regularisation_cost": ALPHA[:4]}, "shape"),
    ],
)
def test_bad_curves_are_refused(changes, message):
    arrays = {"parameter": ALPHA, "data_cost": ALPHA, "regularisation_cost": 1 / ALPHA, **changes}
    with pytest.raises(DataError, match=message):
        Curve(**arrays)


def test_minimum_of_a_parabola_and_crossings_of_a_line():
    x = np.linspace(-2, 3, 9)
    assert interior_minimum(x, (x - 0.4) ** 2)[0] == pytest.approx(0.4)
    assert interior_minimum(x, x) is None
    assert crossings(x, x - 1.1) == [pytest.approx(1.1)]
    assert crossings(x, np.ones_like(x)) == []
