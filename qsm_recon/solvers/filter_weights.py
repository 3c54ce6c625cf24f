"""Weights of linear filters: those with the smallest expected error of the map.

What a filter loses of the susceptibility and lets through of the field's errors follows from their spectra
(:class:`qsm_recon.terms.field_spectra.FieldSpectra`), so that no map is needed to know its error.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

import numpy as np

from qsm_recon.operators.grid import Grid
from qsm_recon.operators.padding import padded_shape, reach_of
from qsm_recon.problem import Problem
from qsm_recon.region import Region
from qsm_recon.solvers.base import Solver
from qsm_recon.solvers.constant_field import constant_of_field
from qsm_recon.solvers.default_weights import local_problem, scale_of
from qsm_recon.terms.field_spectra import ExpectedError, FieldSpectra, field_spectra

FREQUENCIES = 64
"""Along each axis, that the error is summed over at most: spectra are smooth."""
POINTS = 25

FILTER_RULE = (
    "least expected error of the map, (1 - F D)² S + F² E over all frequencies, with F the filter and the spectra S of "
    "the susceptibility and E of the field's errors as the field tells them"
)


_known: WeakKeyDictionary[Problem, tuple[FieldSpectra, ExpectedError]] = WeakKeyDictionary()


def spectra_of(problem: Problem) -> FieldSpectra:
    """Spectra of a problem's field less its background and its constant, measured once."""
    return _measured(problem)[0]


def _measured(problem: Problem) -> tuple[FieldSpectra, ExpectedError]:
    if problem not in _known:
        local = local_problem(problem)
        margin_mm = reach_of(local.mask, local.grid.voxel_size_mm)
        part = Region.around(local, margin_mm).cut_problem(local.changed(echoes=None))
        field = part.field_ppm - np.float32(constant_of_field(local))
        spectra = field_spectra(field, part.mask, part.grid, scale_of(problem))
        _known[problem] = (spectra, spectra.on(_coarse(problem.grid)))
    return _known[problem]


def _coarse(grid: Grid) -> Grid:
    """The grid on which errors are summed."""
    nx, ny, nz = (min(n, FREQUENCIES) for n in grid.shape)
    return grid.resized(padded_shape((nx, ny, nz)))


def expected_error(solver: Solver, problem: Problem) -> float | None:
    """Expected mean square error of a filter's map, in ppm²; None where the method is no filter.

    Parameters
    ----------
    solver
        The method, with its parameter.
    problem
        The measurement.
    """
    transfer = solver.transfer(_coarse(problem.grid))
    return None if transfer is None else _measured(problem)[1].of(transfer)


def best_of_filter(solver: Solver, problem: Problem, low: float, high: float) -> float:
    """Value of a filter's main parameter with the smallest expected error.

    Parameters
    ----------
    solver
        The filter.
    problem
        The measurement.
    low, high
        Range that is searched, as far as the parameter has it.
    """
    main = solver.main_parameter()
    least, most = (low if main.low is None else main.low), (high if main.high is None else main.high)
    values = np.geomspace(np.clip(low, least, most / 10), np.clip(high, 10 * least, most), POINTS)
    errors = np.array([expected_error(solver.with_regularisation(float(v)), problem) for v in values])
    lowest = int(errors.argmin())
    if lowest in (0, POINTS - 1):
        return float(values[lowest])
    before, here, after = errors[lowest - 1 : lowest + 2]
    shift = 0.5 * (before - after) / max(before - 2 * here + after, np.finfo(float).tiny)
    return float(values[lowest] * (values[1] / values[0]) ** np.clip(shift, -0.5, 0.5))
