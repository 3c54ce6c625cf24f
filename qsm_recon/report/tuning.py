"""Tuning sessions with their pictures: a page to judge by, and a figure for notebooks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qsm_recon.datasets.case import Case
from qsm_recon.errors import ParameterError
from qsm_recon.problem import Problem, require_problem
from qsm_recon.report.described_session import DescribedSession
from qsm_recon.select.pick import Pick
from qsm_recon.select.tune import Follower, run_session
from qsm_recon.solvers.base import Solver

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray


class TuningSession(DescribedSession):
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

    def write_page(self, pick: Pick | None = None) -> Path:
        """Write ``session.html``, one file that needs no network; it opens at the pick."""
        from qsm_recon.report.session_page import write_session_page

        return write_session_page(self, pick)


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

    Raises
    ------
    ParameterError, DataError
        If solver or problem are none, or rule, parameter, sweep or affine is wrong, before anything is written; or the
        folder holds another session.
    """
    from qsm_recon.select.choosers import rule
    from qsm_recon.select.path import sweep_values
    from qsm_recon.select.session import SessionCase

    if not isinstance(solver, Solver):
        raise ParameterError(
            f"solver: expected a method, found {type(solver).__name__}; make one: make_solver('fansi')"
        )
    require_problem(problem)
    matrix = np.diag([*problem.grid.voxel_size_mm, 1.0]) if affine is None else affine
    checked = Case(problem, matrix, name).affine
    rule(method)
    values = sweep_values(solver.resolved(problem), parameter, **sweep)
    session = TuningSession.open(folder, solver, parameter, [SessionCase.of(name, problem, checked, [])])
    run_session(session, [problem], values, method=method, follower=follower)
    return session
