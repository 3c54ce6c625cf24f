"""Spherical mean values of harmonic fields: ``vsharp``, ``resharp`` and ``ismv``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from qsm_recon.background.base import BackgroundRemoval, LocalField
from qsm_recon.engines.linear import LinearSolution, solve_symmetric
from qsm_recon.errors import ParameterError
from qsm_recon.operators.smv import SphericalDifference
from qsm_recon.parameters import parameter
from qsm_recon.problem import Problem
from qsm_recon.result import Callback


@dataclass(frozen=True)
class SphericalRemoval(BackgroundRemoval):
    """What the methods on spherical means share."""

    def _least_squares(
        self,
        problem: Problem,
        operator: SphericalDifference,
        settings: tuple[float, float, int],
        callback: Callback | None,
    ) -> LocalField:
        """Minimise ‖A φ - A f‖² + λ‖φ‖² over φ in the mask, given λ, tolerance and most iterations."""
        regularisation, tolerance, limit = settings
        weight = np.float32(regularisation)
        mask = problem.mask

        def normal(field: NDArray) -> NDArray:
            return np.where(mask, operator.adjoint(operator.forward(field)) + weight * field, np.float32(0))

        right = np.where(mask, operator.adjoint(operator.forward(problem.field_ppm)), np.float32(0))
        solution = solve_symmetric(normal, right, tolerance=tolerance, max_iterations=limit, callback=callback)
        return self._solved(solution, solution.values, operator)

    def _solved(self, solution: LinearSolution, local: NDArray, operator: SphericalDifference) -> LocalField:
        return self._result(
            local,
            operator.valid,
            converged=solution.converged,
            stop_reason=solution.stop_reason,
            iterations=solution.iterations,
            history={"residual": solution.residuals},
            details=facts(operator),
        )


def facts(operator: SphericalDifference) -> dict[str, list]:
    """What the report says of the balls: their radii (mm) and how many voxels each serves."""
    return {
        "radii_mm": [float(radius) for radius in operator.radii_mm],
        "voxels_by_radius": [int(region.sum()) for region in operator.regions],
    }


def radii(largest: float, smallest: float, step: float) -> list[float]:
    """From the largest to the smallest radius, both included, at most ``step`` apart."""
    intervals = max(0, math.ceil((largest - smallest) / step - 1e-9))
    return np.linspace(largest, smallest, intervals + 1).tolist()


@dataclass(frozen=True)
class VSharp(SphericalRemoval):
    """Less the mean over the largest ball that fits, then deconvolved: the balls of V-SHARP.

    h = A f with A x = x - S x over the largest ball that fits in every voxel; the local field is the deconvolution of
    h, by the kernel of the largest ball cut off where it is small (as published), or by least squares with the balls
    as they are, min ‖A φ - h‖² + λ‖φ‖².
    """

    name: ClassVar[str] = "vsharp"
    title: ClassVar[str] = "V-SHARP: spherical means of variable radius"
    citation: ClassVar[str] = (
        "Wu et al., Magn Reson Med 67:137-147 (2012), doi 10.1002/mrm.23000; "
        "Schweser et al., NeuroImage 54:2789-2807 (2011), doi 10.1016/j.neuroimage.2010.10.070"
    )

    largest_radius: float = parameter(12.0, "mm", "radius of the largest ball", low=0.1, high=200)
    smallest_radius: float | None = parameter(
        None, "mm", "radius of the smallest ball, by which the mask is eroded; by default that of the largest voxel "
        "edge, and at least 2", low=0.1, high=200, kind=float,
    )  # fmt: skip
    step: float = parameter(2.0, "mm", "difference between radii, at most", low=0.05, high=200)
    deconvolution: str = parameter(
        "least-squares", "1", "by the balls as they are, or by the largest ball's kernel, truncated",
        choices=("least-squares", "truncated"),
    )  # fmt: skip
    threshold: float = parameter(0.05, "1", "truncated: kernel values below it are cut off", low=1e-6, high=0.9)
    regularisation: float = parameter(1e-3, "1", "least-squares: weight λ of the local field's norm", low=0, high=10)
    tolerance: float = parameter(1e-3, "1", "least-squares: relative residual to stop at", low=0, high=1)
    max_iterations: int = parameter(60, "1", "least-squares: most iterations", low=1, high=100_000)

    def memory_volumes(self) -> float:
        """See :class:`BackgroundRemoval`."""
        return 14.0 + 0.75 * len(radii(self.largest_radius, self.smallest_radius or 2.0, self.step))

    def padding(self) -> float:
        """See :class:`BackgroundRemoval`."""
        return self.largest_radius

    def _remove(self, problem: Problem, callback: Callback | None) -> LocalField:
        smallest = self.smallest_radius or max(2.0, *problem.grid.voxel_size_mm)
        if smallest > self.largest_radius:
            raise ParameterError(
                f"smallest_radius: {smallest:g} mm is more than largest_radius {self.largest_radius:g} mm"
            )
        balls = radii(self.largest_radius, smallest, self.step)
        operator = SphericalDifference(problem.grid, problem.mask, balls)
        if self.deconvolution == "truncated":
            gain = 1 - operator.kernels[0]
            inverse = np.divide(1, gain, out=np.zeros_like(gain), where=np.abs(gain) > self.threshold)
            local = operator.filtered(operator.forward(problem.field_ppm), inverse)
            return self._result(local, operator.valid, details=facts(operator))
        settings = self.regularisation, self.tolerance, self.max_iterations
        return self._least_squares(problem, operator, settings, callback)


@dataclass(frozen=True)
class ReSharp(SphericalRemoval):
    """min ‖M (φ - S φ) - M (f - S f)‖² + λ‖φ‖² over φ in the mask, M where the ball fits: RESHARP."""

    name: ClassVar[str] = "resharp"
    title: ClassVar[str] = "RESHARP: regularised spherical means"
    citation: ClassVar[str] = "Sun and Wilman, Magn Reson Med 71:1151-1157 (2014), doi 10.1002/mrm.24765"

    radius: float = parameter(5.0, "mm", "radius of the ball, by which the mask is eroded", low=0.1, high=200)
    regularisation: float = parameter(1e-4, "1", "weight λ of the local field's norm", low=0, high=10)
    tolerance: float = parameter(1e-3, "1", "residual to stop at, relative to its start", low=0, high=1)
    max_iterations: int = parameter(60, "1", "most iterations", low=1, high=100_000)

    def padding(self) -> float:
        """See :class:`BackgroundRemoval`."""
        return self.radius

    def _remove(self, problem: Problem, callback: Callback | None) -> LocalField:
        operator = SphericalDifference(problem.grid, problem.mask, (self.radius,))
        settings = self.regularisation, self.tolerance, self.max_iterations
        return self._least_squares(problem, operator, settings, callback)


@dataclass(frozen=True)
class IterativeMeans(SphericalRemoval):
    """A background that keeps the field near the surface and is its own spherical mean elsewhere: iSMV.

    b = f where the ball does not fit, b = S b where it does.  The published iteration b ← S b is replaced by conjugate
    gradient on the symmetric system M (φ - S φ) = M (f - S f) for the local field φ = f - b, zero where the ball does
    not fit.
    """

    name: ClassVar[str] = "ismv"
    title: ClassVar[str] = "iSMV: iterative spherical means"
    citation: ClassVar[str] = "Wen et al., Magn Reson Med 72:1065-1071 (2014), doi 10.1002/mrm.24998"

    radius: float = parameter(5.0, "mm", "radius of the ball, by which the mask is eroded", low=0.1, high=200)
    tolerance: float = parameter(1e-2, "1", "residual to stop at, relative to its start", low=0, high=1)
    max_iterations: int = parameter(100, "1", "most iterations", low=1, high=100_000)

    def padding(self) -> float:
        """See :class:`BackgroundRemoval`."""
        return self.radius

    def _remove(self, problem: Problem, callback: Callback | None) -> LocalField:
        operator = SphericalDifference(problem.grid, problem.mask, (self.radius,))
        solution = solve_symmetric(
            operator.forward,
            operator.forward(problem.field_ppm),
            tolerance=self.tolerance,
            max_iterations=self.max_iterations,
            callback=callback,
        )
        return self._solved(solution, solution.values, operator)


METHODS = (VSharp, ReSharp, IterativeMeans)
