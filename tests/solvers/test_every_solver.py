"""What every registered solver must do.  A new one is tested here from the day it is registered."""

from functools import cache

import numpy as np
import pytest
from oracles.extras import with_extras
from oracles.own import own_solvers

from qsm_recon.errors import ParameterError
from qsm_recon.solvers import registry
from qsm_recon.testing.solver_laws import SolverLaws

# Those that cannot do with a field map have tests of their own.
NAMES = sorted(name for name, solver in own_solvers().items() if not getattr(solver, "needs_echoes", False))


@cache
def laws_of(name):
    """The laws of a solver; what it makes of the unchanged measurement is computed once."""
    return SolverLaws(registry.find_solver(name))


@pytest.mark.parametrize("law", SolverLaws.names())
@pytest.mark.parametrize("name", with_extras(NAMES))
def test_obeys(name, law):
    laws_of(name).check(law)


def test_a_solver_without_a_law_says_so():
    """The others scale: a new one that says nothing obeys none."""
    silent = {name for name in NAMES if registry.find_solver(name).scaling_power is None}
    assert silent == {"wl1l2", "medi", "tfi", "qsminvnet", "fine"}


def test_a_given_weight_stays_that_number(synthetic):
    problem = synthetic.problem()
    solver = registry.make_solver("tv", regularisation_weight=3e-4)
    assert solver.resolved(problem) is solver
    result = solver.solve(problem)
    assert result.parameters["regularisation_weight"] == 3e-4
    assert "default_from" not in result.details
    followed = registry.make_solver("tv").solve(problem)
    again = registry.make_solver("tv", regularisation_weight=followed.parameters["regularisation_weight"])
    assert np.array_equal(again.solve(problem).susceptibility_ppm, followed.susceptibility_ppm)
    assert followed.details["field_error_ppm"] > 0
    with pytest.raises(ParameterError, match="follows the data"):
        registry.make_solver("tv").main_value()


@pytest.mark.parametrize("name", with_extras(NAMES))
def test_runs_without_pyfftw(name, synthetic, without_pyfftw):
    found = registry.make_solver(name, **few(name)).solve(synthetic.problem()).susceptibility_ppm
    assert np.isfinite(found).all()
    assert np.corrcoef(synthetic.truth[synthetic.mask], found[synthetic.mask])[0, 1] > 0.8


def few(name):
    """Iterations that are enough for a rough map."""
    declared = registry.find_solver(name).declared()
    return {
        key: min(p.default, 30) for key, p in declared.items() if "iterations" in key and p.kind is int and p.default
    }
