"""Laplacian boundary values (``lbv``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from qsm_recon.background.base import BackgroundRemoval, LocalField
from qsm_recon.engines.linear import solve_symmetric
from qsm_recon.errors import ParameterError
from qsm_recon.operators.laplacian import InteriorLaplacian, interior
from qsm_recon.parameters import parameter
from qsm_recon.problem import Problem
from qsm_recon.result import Callback


@dataclass(frozen=True)
class LaplacianBoundaryValues(BackgroundRemoval):
    """Background with Δ b = 0 inside and b = f on the outermost voxels of the mask.

    Solved for the local field, Δ φ = Δ f with φ = 0 on the boundary, by conjugate gradient (published: multigrid).
    """

    name: ClassVar[str] = "lbv"
    title: ClassVar[str] = "Laplacian boundary values"
    citation: ClassVar[str] = "Zhou et al., NMR Biomed 27:312-319 (2014), doi 10.1002/nbm.3064"

    peel: int = parameter(0, "voxels", "layers taken off an unreliable surface first", low=0, high=50)
    tolerance: float = parameter(5e-3, "1", "residual to stop at, relative to its start", low=0, high=1)
    max_iterations: int = parameter(2000, "1", "most iterations", low=1, high=1_000_000)

    def _remove(self, problem: Problem, callback: Callback | None) -> LocalField:
        boundary = problem.mask
        for _ in range(self.peel):
            boundary = interior(boundary)
        inside = interior(boundary)
        if not inside.any():
            raise ParameterError(f"lbv: nothing of the mask is left inside {self.peel + 1} voxels; reduce peel")
        operator = InteriorLaplacian(problem.grid, inside)
        right = operator.forward(problem.field_ppm.astype(np.float64))
        solution = solve_symmetric(
            operator.forward, right, tolerance=self.tolerance, max_iterations=self.max_iterations, callback=callback
        )
        return self._result(
            solution.values,
            inside,
            converged=solution.converged,
            stop_reason=solution.stop_reason,
            iterations=solution.iterations,
            history={"residual": solution.residuals},
        )


METHODS = (LaplacianBoundaryValues,)
