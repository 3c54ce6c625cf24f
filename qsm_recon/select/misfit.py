"""How well a field should be fitted: no better than its noise, and what the model cannot explain, allow."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from qsm_recon.problem import Problem
from qsm_recon.result import Reconstruction
from qsm_recon.select.noise import estimated_field_noise
from qsm_recon.solvers.base import Solver
from qsm_recon.solvers.constant_field import constant_of_field

# All three were decided on the training phantoms of docs/selection.md.
MODEL_ERROR = 0.09
"""Error of the model over the field: voxels are not uniform, phase adds up by signal, maps not piecewise constant."""
QUADRATIC_FIT = 0.9
"""Part of the errors' squares that the best map leaves of them: it fits some of the errors."""
ABSOLUTE_FIT = 0.72
"""Part of their absolute values that it leaves where the fidelity is an l1 norm: many voxels are fitted exactly."""


@dataclass(frozen=True)
class _Errors:
    """Fidelities of errors alone, with the weights that a method begins with, and the part that a good map leaves."""

    noise: float | None
    both: float | None
    part_left: float


class ExpectedMisfit:
    """Fidelity that is left where a map is as good as noise, or noise and the error of the model, allow.

    Without a noise map the noise is estimated from the finest detail of the field.  That holds the error of the model
    at this scale, so that the larger of the two counts rather than both.

    Parameters
    ----------
    problem
        The measurement.

    Attributes
    ----------
    noise_measured
        Whether there is a noise map.
    """

    def __init__(self, problem: Problem) -> None:
        self.noise_measured = problem.field_noise_ppm is not None
        noise = estimated_field_noise(problem) if problem.field_noise_ppm is None else problem.field_noise_ppm
        field = problem.field_ppm - problem.field_ppm.dtype.type(constant_of_field(problem))
        model = np.where(problem.mask, np.float32(MODEL_ERROR) * np.abs(field), 0)
        # A field without any fine detail tells nothing of its noise.
        self._noisy = problem if self.noise_measured or not noise.any() else replace(problem, field_noise_ppm=noise)
        erring = np.hypot(noise, model) if self.noise_measured else model
        self._erring = replace(problem, field_noise_ppm=erring) if erring.any() else problem
        self._known: dict[Solver, _Errors] = {}

    def of_noise(self, solver: Solver, result: Reconstruction) -> float | None:
        """Fidelity of the noise alone; None where the method cannot tell.

        Parameters
        ----------
        solver
            The method.
        result
            Its result; where a method changes its weights on the way, those it ended with count.
        """
        known: float | None = result.details.get("noise_fidelity")
        return self._errors(solver).noise if known is None else known

    def of_noise_and_model(self, solver: Solver, result: Reconstruction) -> float | None:
        """Fidelity that a good map leaves of noise and model error; None where the method cannot tell.

        Parameters as for :meth:`of_noise`.  Both count as independent, the model error with a standard deviation
        proportional to the field.  Weights that were changed on the way are taken to lower both alike.
        """
        errors, noise = self._errors(solver), self.of_noise(solver, result)
        if noise is None or errors.both is None or not errors.noise:
            return None
        expected = noise * errors.both / errors.noise
        return errors.part_left * (expected if self.noise_measured else max(expected, noise))

    def _errors(self, solver: Solver) -> _Errors:
        # The regularisation weight has no say in it, and images need not be summed anew for each.
        alike = solver.with_regularisation(solver.main_parameter().default)
        if alike not in self._known:
            noise, both = solver.noise_fidelity(self._noisy), solver.noise_fidelity(self._erring)
            self._known[alike] = _Errors(noise, both, self._part_left(solver))
        return self._known[alike]

    def _part_left(self, solver: Solver) -> float:
        """Part of the errors that the best map leaves, by the power of them that the fidelity is."""
        if self._erring.field_noise_ppm is None:
            return QUADRATIC_FIT
        twice = replace(self._erring, field_noise_ppm=2 * self._erring.field_noise_ppm)
        once, doubled = solver.noise_fidelity(self._erring), solver.noise_fidelity(twice)
        if not once or not doubled:
            return QUADRATIC_FIT
        return QUADRATIC_FIT if math.log2(doubled / once) > 1.5 else ABSOLUTE_FIT
