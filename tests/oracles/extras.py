"""Methods that need an extra of the package: their tests are skipped, with a reason, where it is not installed."""

import pytest

from qsm_recon.solvers.registry import find_solver


def with_extras(names):
    """Names of methods as parameters of a test; those that cannot run here are skipped."""
    return [marked(name, name) for name in names]


def marked(name, *values, id=None):
    """Values of a test's parameters, of which one stands for a method, skipped where that cannot run here."""
    solver = find_solver(name)
    reason = f"{name} needs {' and '.join(solver.missing())}: install the extra qsm_recon[{solver.extra}]"
    return pytest.param(*values, id=id, marks=[pytest.mark.skip(reason=reason)] if solver.missing() else [])
