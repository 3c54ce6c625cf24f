"""Tuning sessions with their pictures: a page to judge by, and a figure for notebooks."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qsm_recon.select.pick import Pick
from qsm_recon.select.session import Session
from qsm_recon.select.tune import Follower, run_session
from qsm_recon.solvers.base import Solver
from qsm_recon.solvers.registry import find_solver

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from qsm_recon.problem import Problem


class TuningSession(Session):
    """A :class:`qsm_recon.select.session.Session` that can be looked at."""

    def plot(self, case: int | None = None) -> Figure:
        """Draw L-curve, curvature, spectra and misfit with what each rule picks; see :meth:`Session.curve`."""
        from qsm_recon.report.session_figure import session_figure

        names = [item.name for item in (self.cases if case is None else [self.cases[case]])]
        pick, unit = self.pick(case=case), self.unit
        found = "found no interior optimum" if pick.value is None else f"chose {pick.value:.4g} {unit}".rstrip()
        title = f"{self.algorithm} on {' + '.join(names)}: auto {found} for the {self.parameter.replace('_', ' ')}"
        label = f"{self.parameter} [{unit}]" if unit else self.parameter
        return session_figure(self.curve(case), self.picks(case), label, title)

    @property
    def unit(self) -> str:
        """Unit of the parameter that is swept; empty where it has none."""
        unit = find_solver(self.algorithm).declared()[self.parameter].unit
        return "" if unit == "1" else unit

    def write_page(self, pick: Pick | None = None) -> Path:
        """Write ``session.html``, one file that needs no network; it opens at the pick."""
        from qsm_recon.report.session_page import write_session_page

        return write_session_page(self, pick)

    def command(self, value: float, case: int = 0) -> str:
        """Command line that reconstructs a data set with a value, to the method's own accuracy."""
        solver = self.solver(value)
        words = ["python", "-m", "qsm_recon.run", "--algo", solver.name]
        for name, declared in solver.declared().items():
            setting = getattr(solver, name)
            if setting != declared.default or name == self.parameter:
                words += ["--set", f"{name}={setting:g}" if isinstance(setting, float) else f"{name}={setting}"]
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


def tune(
    solver: Solver,
    problem: Problem,
    folder: str | Path,
    *,
    parameter: str | None = None,
    affine: NDArray[np.floating] | None = None,
    name: str = "data",
    method: str = "auto",
    follower: Follower | None = None,
    **sweep: Any,
) -> TuningSession:
    """Tune a parameter, for notebooks: sweep, keep every map, and choose.

    Parameters
    ----------
    solver
        The method; its other parameters stay as they are.
    problem
        The measurement.
    folder
        Where the session goes; if it is there already, it goes on.
    parameter
        What is varied; the main parameter by default.
    affine
        (4, 4) voxel-to-world matrix in mm.
    name
        Of the data set.
    method
        Rule that the sweep is refined around.
    follower
        Told how it goes on.
    sweep
        ``count``, ``strongest``, ``weakest``; see :func:`qsm_recon.select.path.sweep_values`.

    Returns
    -------
    TuningSession
        ``.pick()``, ``.picks()``, ``.plot()``, ``.susceptibility_ppm(point)`` and ``.write_page()``.
    """
    from qsm_recon.select.path import sweep_values
    from qsm_recon.select.session import SessionCase

    matrix = np.diag([*problem.grid.voxel_size_mm, 1.0]) if affine is None else affine
    case = SessionCase.of(name, problem, matrix, [])
    session = TuningSession.open(folder, solver, parameter, [case])
    values = sweep_values(solver.resolved(problem), parameter, **sweep)
    run_session(session, [problem], values, method=method, follower=follower)
    return session
