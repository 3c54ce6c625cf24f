"""Tuning: a sweep, refined around what is chosen on it."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.memory import require_device_memory, require_memory
from qsm_recon.errors import ParameterError
from qsm_recon.problem import Problem
from qsm_recon.result import Callback, IterationState
from qsm_recon.select.choosers import choose, rule
from qsm_recon.select.curve import Curve, curve_of_points
from qsm_recon.select.minimum_risk import is_settled, minimum_risk
from qsm_recon.select.path import Path, PathPoint, sweep_values
from qsm_recon.select.pick import Pick
from qsm_recon.select.session import Session
from qsm_recon.solvers.base import Solver

REFINEMENTS = 1
"""Rounds of two points each that are added around the pick."""

SWEEP_VOLUMES = 30
"""Volumes of the image (float32) that a sweep holds beside the solver: its maps, and what judges them."""

BY_RISK = ("auto", "risk")
"""Rules for which a sweep may end before its last value: what ``risk`` finds, ``auto`` takes."""

FOR_CLOSED_FORMS = ("gcv",)
"""Rules that iterative methods have no numbers for."""

LIKELY = 6.0
"""Times the default, the strongest weight that is tried at first for these."""

Metrics = Callable[[NDArray], dict[str, float | None]]


class Follower:
    """Told how a sweep goes on; does nothing by itself."""

    def begin(self, case: int, values: list[float]) -> None:
        """These values are about to be reconstructed."""

    def iteration(self, value: float, state: IterationState) -> None:
        """One iteration is done."""

    def point(self, point: PathPoint) -> None:
        """One point is done."""


def select_value(
    solver: Solver,
    problem: Problem,
    method: str = "auto",
    *,
    count: int = 15,
    refinements: int = REFINEMENTS,
    follower: Follower | None = None,
) -> tuple[Pick, Curve]:
    """Choose the main parameter of a solver by a sweep of which nothing but the costs is kept.

    Rules on the estimated error (``auto``, ``risk``) begin within six times the default and end where it has risen
    again; they see the whole sweep where there is no minimum.

    Parameters
    ----------
    solver
        The method; its other parameters stay as they are.
    problem
        The measurement.
    method
        Rule to choose by; see :data:`qsm_recon.select.choosers.CHOOSERS`.
    count
        Points of the whole sweep.
    refinements
        Rounds of two more points around what is chosen.
    follower
        Told how it goes on.

    Returns
    -------
    pick
        The choice, or why there is none.
    curve
        What it rests on.

    Raises
    ------
    ResourceError
        If it does not fit into memory.
    """
    rule(method)  # a wrong name is to be known before the sweep, which takes many solves
    require_rounds(refinements)
    require_memory_to_sweep(solver, problem)
    follower = follower or Follower()
    sweep, resolved = _Sweep(Path(solver, problem), follower), solver.resolved(problem)
    values = sweep_values(resolved, count=count)
    if method in BY_RISK:
        sweep.add([value for value in values if value <= LIKELY * resolved.main_value()], is_settled)
    if method not in BY_RISK or not minimum_risk(sweep.curve()).found:
        sweep = _Sweep(Path(solver, problem), follower)
        sweep.add(values)
    pick = choose(sweep.curve(), method)
    for _ in range(refinements):
        if not pick.found:
            break
        sweep.add(refined_values(sweep.curve(), pick))
        pick = choose(sweep.curve(), method)
    return pick, sweep.curve()


class _Sweep:
    """Points of one problem and their maps; nothing of it is stored."""

    def __init__(self, path: Path, follower: Follower) -> None:
        self._path = path
        self._follower = follower
        self._points: dict[float, PathPoint] = {}

    def add(self, values: list[float], enough: Callable[[Curve], bool] | None = None) -> None:
        """Reconstruct for values from strong to weak, or until the curve is enough."""
        self._follower.begin(0, values)
        stronger = min((value for value in self._points if values and value > values[0]), default=None)
        start = None if stronger is None else (stronger, self._points[stronger].susceptibility_ppm)
        for point in self._path.sweep(values, start, self._follower.iteration):
            self._points[point.value] = point
            self._follower.point(point)
            if enough is not None and enough(self.curve()):
                break

    def curve(self) -> Curve:
        """What there is so far."""
        return curve_of_points([[self._points[value]] for value in sorted(self._points)])


class _Relay(Follower):
    """Tells a callback of a solver."""

    def __init__(self, callback: Callback | None) -> None:
        self._callback = callback

    def iteration(self, value: float, state: IterationState) -> None:
        """See :class:`Follower`."""
        if self._callback is not None:
            self._callback(state)


def solver_by_selection(
    solver: Solver, problem: Problem, method: str, callback: Callback | None = None
) -> tuple[Solver, Pick]:
    """Return a solver with the main parameter that a rule chooses; see :func:`select_value`.

    Raises
    ------
    ParameterError
        If the rule is unknown, is not for such a method, or finds no interior optimum.
    """
    rule(method)
    if method in FOR_CLOSED_FORMS and solver.iterative:  # known before the sweep, which takes many solves
        raise ParameterError(
            f"selection '{method}': only closed forms have what it takes, and '{solver.name}' is none; choose another "
            "rule (auto), or tkd, tsvd or tikhonov"
        )
    pick, _ = select_value(solver, problem, method, follower=_Relay(callback))
    if pick.value is None:
        raise ParameterError(
            f"selection '{method}' of {solver.main_parameter().name} failed: {pick.reason}; give --regularisation, or "
            "look at the curve with python -m qsm_recon.lcurve"
        )
    return solver.with_regularisation(pick.value), pick


def run_session(
    session: Session,
    problems: list[Problem],
    values: list[float],
    *,
    metrics: list[Metrics | None] | None = None,
    refinements: int = REFINEMENTS,
    method: str = "auto",
    follower: Follower | None = None,
) -> Pick:
    """Compute what a session lacks, and choose.

    Parameters
    ----------
    session
        Where points go; those it has are not computed again.
    problems
        All its data sets, in any order.
    values
        Sweep, from strong to weak.
    metrics
        For each of them, how to score a map; None where there is no truth.
    refinements
        Rounds of two more points around what is chosen, for all data sets together.
    method
        Rule to choose by.
    follower
        Told how it goes on.

    Returns
    -------
    Pick
        The choice for all data sets together.

    Raises
    ------
    ParameterError
        If the problems are not the session's data sets, the rule is unknown, or the number of refinements is negative.
    ResourceError
        If one of them does not fit into memory.
    """
    rule(method)
    require_rounds(refinements)
    for problem in problems:
        require_memory_to_sweep(session.solver(values[0]), problem)
    follower = follower or Follower()
    swept = list(values)
    order = [session.index_of(problem) for problem in problems]
    if sorted(order) != list(range(len(session.cases))):
        raise ParameterError(
            f"{session.folder}: {len(session.cases)} data sets to go on with, found {len(set(order))} of them; give all"
        )
    paths = {
        case: Path(session.solver(values[0]), problem, session.parameter)
        for case, problem in zip(order, problems, strict=True)
    }
    scores = dict(zip(order, metrics or [None] * len(order), strict=True))
    for _ in range(refinements + 1):
        for case, path in sorted(paths.items()):
            _add_missing(session, case, path, values, scores[case], follower)
        # What an earlier session added has no say in what is added now, so that a session run twice stays as it is.
        curve = session.curve(among=swept)
        pick = choose(curve, method)
        if not pick.found:
            break
        values = refined_values(curve, pick)
        swept += values
    return session.pick(method)


def _add_missing(
    session: Session,
    case: int,
    path: Path,
    values: list[float],
    score: Metrics | None,
    follower: Follower,
) -> None:
    """Compute the points of a case that a session lacks, from strong to weak, from the nearest stronger one on."""
    wanted = session.missing(case, values)
    follower.begin(case, wanted)
    stored = {point.value: point for point in session.of_case(case)}
    stronger = min((value for value in stored if wanted and value > wanted[0]), default=None)
    start = None if stronger is None else (stronger, session.susceptibility_ppm(stored[stronger]))
    for point in path.sweep(wanted, start, follower.iteration):
        session.add(case, point, score(point.susceptibility_ppm) if score else None)
        follower.point(point)


def refined_values(curve: Curve, pick: Pick) -> list[float]:
    """Midpoints of the interval that holds a pick and of the next nearest one, from strong to weak."""
    t, centre = np.log(curve.parameter), np.log(pick.value or np.nan)
    middles = 0.5 * (t[1:] + t[:-1])
    inside = int(np.clip(np.searchsorted(t, centre) - 1, 0, len(middles) - 1))
    neighbours = [i for i in (inside - 1, inside + 1) if 0 <= i < len(middles)]
    nearest = min(neighbours, key=lambda i: abs(middles[i] - centre), default=inside)
    chosen = sorted({inside, nearest}, reverse=True)
    return [float(f"{np.exp(middles[i]):.4g}") for i in chosen]


def require_memory_to_sweep(solver: Solver, problem: Problem) -> None:
    """Refuse a sweep that cannot fit into memory before anything is computed.

    Parameters
    ----------
    solver
        The method.
    problem
        One data set of the sweep.

    Raises
    ------
    ResourceError
        Naming the method, the size of the image and both amounts.
    """
    shape = problem.grid.shape
    kept = solver.kept_bytes(problem)
    needed = solver.memory_bytes(problem) + kept + SWEEP_VOLUMES * 4 * prod(shape)
    advice = "close other programs, use a machine with more memory, or crop the image around the mask"
    what = f"a sweep of {solver.name} on {'×'.join(map(str, shape))} voxels"
    require_memory(needed, what, advice)
    require_device_memory(solver.device_bytes(problem) + kept, what, "free some of it, or choose device cpu")


def require_rounds(refinements: int) -> None:
    """Check a number of rounds of refinement.

    Raises
    ------
    ParameterError
        If it is negative.
    """
    if refinements < 0:
        raise ParameterError(f"rounds of refinement: expected 0 or more, found {refinements}")
