"""Fidelity that the noise of a field alone would have."""

from __future__ import annotations

from dataclasses import replace

from qsm_recon.problem import Problem
from qsm_recon.result import Reconstruction
from qsm_recon.select.noise import estimated_field_noise
from qsm_recon.solvers.base import Solver


class NoiseMisfit:
    """Fidelity of the noise alone, for the methods of one problem.

    Parameters
    ----------
    problem
        The measurement.  Without a noise map the noise is estimated from the finest detail of the field.

    Attributes
    ----------
    noise_measured
        Whether there is a noise map.
    """

    def __init__(self, problem: Problem) -> None:
        self.noise_measured = problem.field_noise_ppm is not None
        self._noisy = problem
        if not self.noise_measured:
            noise = estimated_field_noise(problem)
            # A field without any fine detail tells nothing of its noise.
            self._noisy = replace(problem, field_noise_ppm=noise) if noise.any() else problem
        self._known: dict[Solver, float | None] = {}

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
        if known is not None:
            return known
        # The regularisation weight has no say in it, and images need not be summed anew for each.
        alike = solver.with_regularisation(solver.main_parameter().default)
        if alike not in self._known:
            self._known[alike] = solver.noise_fidelity(self._noisy)
        return self._known[alike]
