"""How far a map is from the truth, estimated without it: the risk that ``auto`` minimises.

Of the residual of a good map, part is what the map could not follow and part is the error of the field; what cannot be
seen in it is the error that the map did follow.  For errors with a known spectrum that part is a covariance, which a
second reconstruction of the same field with a little more of such errors tells, for any method (Efron, J Am Stat Assoc
99:619-632 (2004), doi 10.1198/016214504000000692; Ramani et al., IEEE Trans Image Process 17:1540-1554 (2008),
doi 10.1109/TIP.2008.2001404).  The spectrum of the errors is read off the residual near the magic cone, where no
susceptibility shows (:mod:`qsm_recon.terms.field_spectrum`).  Errors of frequencies with a large |D| are turned into
errors of the susceptibility by dividing by it (a generalised Stein estimate; Eldar, IEEE Trans Signal Process
57:471-481 (2009), doi 10.1109/TSP.2008.2008212).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from qsm_recon.problem import Problem
from qsm_recon.region import Region
from qsm_recon.result import Reconstruction, heed
from qsm_recon.select.costs import SettledCosts
from qsm_recon.solvers.base import Series, Solver
from qsm_recon.solvers.default_weights import scale_of
from qsm_recon.solvers.filter_weights import expected_error, spectra_of
from qsm_recon.terms.field_spectrum import KERNEL_EDGES, TRUSTED_BAND, SpectralBins
from qsm_recon.terms.weights import data_weight
from qsm_recon.units import rad_per_ppm

MISFIT_OF_ERRORS = 0.8
"""Misfit off the cone over that on it at which the cone is taken to show the errors: decided on the training data of
docs/selection.md, where 0.5 to 1 serve nearly as well."""
PROBED = (0.04, 4.0)
"""Range of that ratio in which the risk is worth a second reconstruction."""
PROBE_SIZE = 0.3
"""Size of the further errors over those of the field.  What a map follows is asked for at the errors that the field
has; further ones as large as these make it noisier by a root of two, and thresholds let more of that through."""
PROBE_TOLERANCE = 0.03
"""Change of the costs of a second reconstruction at which it ends; risks changed by less than a hundredth, with
further errors as large as the field's."""
MARGIN_MM = 8.0
SMALLEST_WEIGHT = 0.05
SEED = 20210


@dataclass(frozen=True)
class SpectralMisfit:
    """What the residual of one reconstruction tells.

    Parameters
    ----------
    ratio
        Mean power of the residual off the cone over that of errors with the spectrum seen on it; None for a linear
        filter, whose error follows from spectra alone.
    errors
        Power on the cone, shell by shell, in ppm² per voxel of the mask.
    misfit
        Residual in trusted frequencies, each over |D|: mean square, in ppm².  For a linear filter, the
        expected error itself.
    overfit
        By how much one unit of error power in each shell must raise the misfit to give the risk; None where no second
        reconstruction was made.
    """

    ratio: float | None
    errors: tuple[float, ...]
    misfit: float
    overfit: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        """Take lists, as an index holds them, for tuples."""
        object.__setattr__(self, "errors", tuple(self.errors))
        object.__setattr__(self, "overfit", None if self.overfit is None else tuple(self.overfit))


class RiskProbe:
    """Residuals of one problem's reconstructions, and of those of the same field with more errors.

    Parameters
    ----------
    problem
        The measurement.
    """

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._region = Region.around(problem, MARGIN_MM)
        part = self._region.cut_problem(problem if problem.echoes is None else replace(problem, echoes=None))
        weight, _ = data_weight(part)
        self._mask = part.mask
        self._weight = np.where(part.mask, weight, 0).astype(np.float32)
        self._field = part.field_ppm
        self._bins = SpectralBins.padded(part.grid)
        kernel = np.clip(0.5 * np.add(KERNEL_EDGES[:-1], KERNEL_EDGES[1:]), 0.02, None)
        self._amplified = np.where(np.arange(kernel.size) >= TRUSTED_BAND, self._bins.counts / kernel**2, 0.0)
        self._voxels = float(np.count_nonzero(part.mask))
        self._noise: NDArray | None = None  # that is added to the field, and the mask in which it was looked at last
        self._seen: NDArray[np.bool_] | None = None
        self._disturbance: NDArray[np.complexfloating] = np.zeros(0, np.complex64)  # its half-spectrum there, weighted
        self._disturbed_problem: Problem | None = None
        self._series: Series | None = None

    def begin(self, before: Solver | None = None) -> None:
        """Start a sweep.

        Parameters
        ----------
        before
            The method at a value that is known already, where the sweep goes on from it: what is reconstructed with
            more errors begins there too, and not where another sweep ended.
        """
        self._series = None
        if before is not None and self._disturbed_problem is not None:
            self._again(before, self._disturbed_problem)

    def misfit(self, solver: Solver, result: Reconstruction) -> SpectralMisfit | None:
        """Look at the residual of a reconstruction, and reconstruct again with more errors where that tells the risk.

        Parameters
        ----------
        solver
            The method, with its parameter.
        result
            Its result; None is returned where it tells no fitted field.
        """
        of_filter = self._of_filter(solver)
        if of_filter is not None:
            return of_filter
        if result.fitted_field_ppm is None:
            return None
        fitted, seen = self._region.cut(result.fitted_field_ppm), self._mask & self._region.cut(result.mask)
        residual = self._bins.transform(np.where(seen, self._field - fitted, 0) * self._weight)
        power = self._bins.power(residual) / max(float(np.count_nonzero(seen)), 1.0)
        errors = np.minimum(self._bins.cone(power), scale_of(self._problem).error_bounds)
        off = self._bins.counts[:, TRUSTED_BAND:]
        expected = float((off * errors[:, None]).sum())
        if expected <= 0:
            return None
        ratio = float((off * power[:, TRUSTED_BAND:]).sum()) / expected
        overfit = None
        if PROBED[0] <= ratio <= PROBED[1]:
            overfit = self._overfit(solver, fitted, seen, errors)
        scale = 1.0 / float(np.prod(self._bins.grid.shape))
        return SpectralMisfit(
            ratio,
            tuple(errors.tolist()),
            float((self._amplified * power).sum()) * scale,
            None if overfit is None else tuple((overfit * scale).tolist()),
        )

    def _of_filter(self, solver: Solver) -> SpectralMisfit | None:
        """What is known of a linear filter, whose error is told at every frequency, on the cone too."""
        error = expected_error(solver, self._problem)
        if error is None:
            return None
        errors = spectra_of(self._problem).errors
        return SpectralMisfit(None, errors, error, (0.0,) * len(errors))

    def _overfit(
        self, solver: Solver, fitted: NDArray, seen: NDArray[np.bool_], errors: NDArray[np.float64]
    ) -> NDArray[np.float64] | None:
        """(shells,) sum over trusted frequencies of (2 h - 1) / |D|², h the part of an error that the map follows.

        What is looked at is where the map is: spherical means take a rim off the mask.
        """
        if self._disturbed_problem is None:
            self._disturbed_problem = self._disturbed(errors)
        result = self._again(solver, self._disturbed_problem)
        if result.fitted_field_ppm is None or self._noise is None:
            return None
        if self._seen is None or not np.array_equal(seen, self._seen):
            self._seen, self._disturbance = seen, self._bins.transform(np.where(seen, self._noise, 0) * self._weight)
        more = np.where(seen, self._region.cut(result.fitted_field_ppm) - fitted, 0) * self._weight
        followed = self._bins.power(self._disturbance, self._bins.transform(more))
        size = self._bins.power(self._disturbance)
        response = np.divide(followed, size, out=np.zeros_like(size), where=size > 0)
        return (self._amplified * (2.0 * response - 1.0)).sum(axis=1)

    def _again(self, solver: Solver, disturbed: Problem) -> Reconstruction:
        """Reconstruct from the field with more errors, from where the last one ended."""
        if self._series is None:
            self._series = solver.series(disturbed)
        result = self._series.solve(solver, SettledCosts.of(solver, self._series, PROBE_TOLERANCE))
        heed(result.stop_reason)
        return result

    def _disturbed(self, errors: NDArray[np.float64]) -> Problem:
        """The problem with a little more errors of that spectrum in its field, and the same in its echoes."""
        nx, ny, nz = self._mask.shape
        noise = self._bins.coloured_noise(PROBE_SIZE**2 * errors, SEED)[:nx, :ny, :nz]
        noise = np.where(self._mask, noise / np.maximum(self._weight, SMALLEST_WEIGHT), 0).astype(np.float32)
        self._noise = noise
        added = self._region.embed(noise)
        problem = replace(self._problem, field_ppm=(self._problem.field_ppm + added).astype(np.float32))
        if problem.echoes is None or problem.b0_tesla is None:
            return problem
        scales = [rad_per_ppm(problem.b0_tesla, t) for t in problem.echo_times_s]
        echoes = np.empty_like(problem.echoes)
        for j, scale in enumerate(scales):
            echoes[..., j] = problem.echoes[..., j] * np.exp(1j * scale * added)
        return replace(problem, echoes=echoes)


def estimated_risks(misfits: list[SpectralMisfit | None]) -> NDArray[np.float64]:
    """Estimated mean square errors (ppm²) of the maps along a sweep; NaN where they are not known.

    Parameters
    ----------
    misfits
        In the order of the parameter.

    Returns
    -------
    ndarray
        (n,) of the frequencies in which susceptibility is seen.  Errors on the cone come on top.
    """
    errors = errors_of_field(misfits)
    return np.array(
        [
            np.nan if found is None or found.overfit is None else found.misfit + float(np.dot(errors, found.overfit))
            for found in misfits
        ]
    )


def errors_of_field(misfits: list[SpectralMisfit | None]) -> NDArray[np.float64]:
    """(shells,) power of the field's errors, from the cone of the point where residuals are about these errors."""
    known = [found for found in misfits if found is not None]
    if not known:
        return np.zeros(0)
    ratios = [found.ratio for found in known if found.ratio is not None]
    if len(ratios) < len(known):
        return np.array(next(found.errors for found in known if found.ratio is None))
    order = np.argsort(ratios)
    powers = np.log(np.maximum([known[i].errors for i in order], 1e-300))
    return np.exp([np.interp(np.log(MISFIT_OF_ERRORS), np.log(ratios)[order], shell) for shell in powers.T])
