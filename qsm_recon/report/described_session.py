"""Tuning sessions in words: units, command lines, errors where a truth is known."""

from __future__ import annotations

import shlex

import numpy as np

from qsm_recon.select.pick import Pick
from qsm_recon.select.session import Session
from qsm_recon.solvers.registry import find_solver


class DescribedSession(Session):
    """A :class:`qsm_recon.select.session.Session` that says what it is about."""

    @property
    def unit(self) -> str:
        """Unit of the parameter that is swept; empty where it has none."""
        unit = find_solver(self.algorithm).declared()[self.parameter].unit
        return "" if unit == "1" else unit

    def command(self, value: float, case: int = 0) -> str:
        """Command line that reconstructs a data set with a value, to the method's own accuracy; numbers are exact."""
        solver = self.solver(value)
        words = ["python", "-m", "qsm_recon.run", "--algo", solver.name]
        for name, declared in solver.declared().items():
            setting = getattr(solver, name)
            if setting != declared.default or name == self.parameter:
                words += ["--set", f"{name}={setting}"]
        return shlex.join([*words, *self.cases[case].arguments])

    def error_at(self, pick: Pick) -> float | None:
        """NRMSE (%) at a pick, between points interpolated, mean over data sets; None where there is no truth."""
        errors = []
        for case in range(len(self.cases)):
            points = self.of_case(case)
            known = [point.metrics.get("nrmse") for point in points]
            if pick.value is None or any(value is None for value in known):
                return None
            log_values = np.log([point.value for point in points])
            errors.append(np.interp(np.log(pick.value), log_values, np.array(known, dtype=float)))
        return float(np.mean(errors))
