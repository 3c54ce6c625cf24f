"""Choosing without a session: how much of a sweep `auto` sees, and that it finds what the whole sweep shows."""

import numpy as np
import pytest

from qsm_recon import make_solver
from qsm_recon.errors import DataError, ParameterError
from qsm_recon.operators.grid import Grid
from qsm_recon.problem import Problem
from qsm_recon.select import tune
from qsm_recon.select.curve import Curve
from qsm_recon.select.minimum_risk import is_settled, minimum_risk
from qsm_recon.select.path import Path, sweep_values
from qsm_recon.select.tune import Follower, select_value, solver_by_selection

TV = make_solver("tv")


class Seen(Follower):
    """Values in the order that they were reconstructed in."""

    def __init__(self):
        self.values = []

    def point(self, point):
        self.values.append(point.value)


@pytest.fixture(scope="module")
def whole(small):
    """Pick and curve of all values."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tune, "BY_RISK", ())
        return select_value(TV, small.problem)


def test_auto_finds_on_part_of_a_sweep_what_the_whole_one_shows(small, whole):
    seen = Seen()
    pick, curve = select_value(TV, small.problem, follower=seen)
    default = TV.resolved(small.problem).main_value()
    likely = [value for value in sweep_values(TV.resolved(small.problem), count=15) if value <= tune.LIKELY * default]
    assert pick.value == pytest.approx(whole[0].value, rel=0.1)
    assert pick.confidence == pytest.approx(whole[0].confidence, abs=0.05)
    assert pick.reason.startswith("risk")
    swept = seen.values[:-2]  # two more refine
    assert swept == likely[: len(swept)]
    assert len(swept) < len(likely)
    assert len(curve) == len(seen.values)


def test_it_begins_anew_with_all_weights_where_the_likely_ones_hold_no_minimum(small, whole, monkeypatch):
    monkeypatch.setattr(tune, "LIKELY", 0.1)
    seen = Seen()
    pick, curve = select_value(TV, small.problem, follower=seen)
    assert pick == whole[0]
    np.testing.assert_array_equal(curve.risk, whole[1].risk)
    assert len(seen.values) == len(curve) + 3


@pytest.mark.parametrize("method", ["lcurve", "stability"])
def test_other_rules_see_the_whole_sweep(small, method):
    _, curve = select_value(make_solver("tikhonov"), small.problem, method, refinements=0)
    assert len(curve) == 15


def curve_of(risk, ratio):
    """A curve with estimated errors and misfits, weakest weight first."""
    parameter = np.geomspace(1e-4, 1e-2, len(risk))
    return Curve(parameter, parameter, 1 / parameter, misfit_ratio=np.array(ratio), risk=np.array(risk, dtype=float))


@pytest.mark.parametrize(
    ("risk", "ratio", "settled"),
    [
        ([3.0, 2.0, 1.0, 2.0, 5.0], [0.1, 0.2, 0.4, 0.7, 1.0], True),
        ([np.nan, 3.0, 2.0, 1.0, 2.0], [0.03, 0.2, 0.4, 0.7, 1.0], True),
        ([2.0, 1.0, 2.0, 5.0], [0.2, 0.4, 0.7, 1.0], False),  # it rose once only
        ([1.5, 2.0, 1.0, 2.0, 5.0], [0.1, 0.2, 0.4, 0.7, 1.0], False),  # it falls again
        ([3.0, 2.0, 1.0], [0.2, 0.4, 1.0], False),  # least at the strongest
        ([3.0, 2.0, 1.0, 2.0, 5.0], [0.5, 0.6, 0.7, 0.8, 1.0], False),  # residuals are still of the errors' size
        ([3.0, 2.0, 1.0, 2.0, 5.0], [0.1, 0.2, 0.3, 0.4, 0.7], False),  # and here below it from the start
    ],
)
def test_when_weaker_weights_would_change_nothing(risk, ratio, settled):
    curve = curve_of(risk, ratio)
    assert is_settled(curve) is settled
    if settled:
        weaker = Curve(
            np.r_[5e-5, curve.parameter], np.r_[5e-5, curve.data_cost], np.r_[2e4, curve.regularisation_cost],
            misfit_ratio=np.r_[0.01, curve.misfit_ratio], risk=np.r_[9.0, curve.risk],
        )  # fmt: skip
        assert minimum_risk(weaker) == minimum_risk(curve)


def test_a_rule_of_closed_forms_is_refused_before_the_sweep(small, monkeypatch):
    """A whole sweep went by before a command said so."""
    monkeypatch.setattr(tune, "select_value", lambda *given, **settings: pytest.fail("swept"))
    with pytest.raises(ParameterError, match=r"selection 'gcv': only closed forms .* 'tv' is none"):
        tune.solver_by_selection(make_solver("tv"), small.problem, "gcv")


def test_an_estimate_below_zero_is_not_called_an_error_of_nothing():
    found = minimum_risk(curve_of([5e-5, 1e-5, -2e-6, 1e-5, 4e-5], [4, 2, 1, 0.7, 0.4]))
    assert found.value is not None
    assert "smallest (less than can be told where" in found.reason
    assert "smallest (1 ppb where" in minimum_risk(curve_of([5e-5, 1e-5, 1e-6, 1e-5, 4e-5], [4, 2, 1, 0.7, 0.4])).reason


def test_nothing_is_settled_without_an_estimate():
    assert not is_settled(Curve(np.array([1.0, 2.0]), np.array([1.0, 2.0]), np.array([2.0, 1.0])))


def test_the_risk_of_added_points_does_not_depend_on_how_far_the_sweep_went(small):
    values = sweep_values(TV.resolved(small.problem), count=8)
    between = float(np.sqrt(values[3] * values[4]))
    found = []
    for end in (5, len(values)):
        path = Path(TV, small.problem)
        stronger = list(path.sweep(values[:end]))[3]
        (added,) = path.sweep([between], (stronger.value, stronger.susceptibility_ppm))
        found.append(added.spectral.overfit)
    assert found[0] is not None
    np.testing.assert_allclose(found[1], found[0], rtol=1e-4)


@pytest.mark.parametrize("value", [0.0, 0.05])
@pytest.mark.parametrize("method", ["tkd", "tv"])
def test_a_field_without_variation_is_named(small, value, method):
    flat = Problem(np.full(small.mask.shape, value, np.float32), small.mask, Grid(small.mask.shape))
    with pytest.raises(DataError, match=r"field_ppm: no variation inside the mask, .* check the field map"):
        solver_by_selection(make_solver(method), flat, "auto")
