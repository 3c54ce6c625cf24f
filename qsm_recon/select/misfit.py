"""How well a field should be fitted: no better than its noise, and what the model cannot explain, allow."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from qsm_recon.problem import Problem
from qsm_recon.result import Reconstruction
from qsm_recon.select.noise import estimated_field_noise
from qsm_recon.solvers.base import Solver

MODEL_ERROR = 0.1
"""Error of the model over the field: voxels are not uniform, phase adds up by signal, maps are not piecewise constant.

Decided on the training phantoms of docs/selection.md.
"""
ABSOLUTE_FIT = 0.65
"""What the best map of an l1 fidelity leaves of the errors' mean absolute value: it fits many voxels exactly.

Decided on the same phantoms.
"""


class ExpectedMisfit:
    """Fidelity that is left where a map is as good as noise, or noise and the error of the model, allow.

    Parameters
    ----------
    solver
        The method, whose fidelity it is.
    problem
        The measurement.  Without a noise map the noise is estimated from the field.
    """

    def __init__(self, solver: Solver, problem: Problem) -> None:
        self._measured = problem.field_noise_ppm is not None
        noise = estimated_field_noise(problem) if problem.field_noise_ppm is None else problem.field_noise_ppm
        model = np.where(problem.mask, np.float32(MODEL_ERROR) * np.abs(problem.field_ppm), 0)
        self._noisy = problem if self._measured else replace(problem, field_noise_ppm=noise)
        # An estimate from the finest detail of the field holds the model's error at that scale already.
        both = np.hypot(noise, model) if self._measured else model
        self._erring = replace(problem, field_noise_ppm=both)
        self._factor = ABSOLUTE_FIT if _power(solver, self._noisy) < 1.5 else 1.0

    def of_noise(self, solver: Solver, result: Reconstruction) -> float | None:
        """Fidelity of the noise, by the weights that the method ended with where it changes them; None if unknown."""
        known: float | None = result.details.get("noise_fidelity")
        return solver.noise_fidelity(self._noisy) if known is None else known

    def of_all(self, solver: Solver, result: Reconstruction) -> float | None:
        """Fidelity of noise and model error that a good map leaves; None if unknown.

        Noise and model error count as independent, the latter with a standard deviation of a tenth of the field.
        """
        noise, initial = self.of_noise(solver, result), solver.noise_fidelity(self._noisy)
        erring = solver.noise_fidelity(self._erring)
        if noise is None or not initial or erring is None:
            return None
        expected = noise * erring / initial
        return self._factor * (expected if self._measured else max(expected, noise))


def _power(solver: Solver, noisy: Problem) -> float:
    """Power of the field that a fidelity is: 2 for squares, 1 for l1 norms."""
    once = solver.noise_fidelity(noisy)
    assert noisy.field_noise_ppm is not None
    twice = solver.noise_fidelity(replace(noisy, field_noise_ppm=2 * noisy.field_noise_ppm)) if once else None
    return 2.0 if not once or not twice else math.log2(twice / once)
