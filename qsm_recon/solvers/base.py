"""The shape every solver has."""

from __future__ import annotations

import dataclasses
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from numpy.typing import NDArray

from qsm_recon.errors import ParameterError
from qsm_recon.parameters import Method, Parameter
from qsm_recon.problem import Problem
from qsm_recon.region import Region
from qsm_recon.result import Callback, Reconstruction
from qsm_recon.solvers.series import Series


@dataclass(frozen=True)
class Solver(Method, ABC):
    """A reconstruction method; its fields are its parameters.

    Subclasses are frozen dataclasses whose fields are made by :func:`qsm_recon.parameters.parameter`.

    Raises
    ------
    ParameterError
        On construction, if a parameter is of the wrong type or out of range.
    """

    iterative: ClassVar[bool] = True
    warm_starts: ClassVar[bool] = True
    """Whether a converged result does not depend on where it started, so that a sweep may start from a neighbour."""

    @classmethod
    def main_parameter(cls) -> Parameter:
        """Return the main regularisation parameter."""
        return next(declared for declared in cls.declared().values() if declared.main)

    def with_regularisation(self, value: float) -> Solver:
        """Return the same solver with another value of its main regularisation parameter."""
        return dataclasses.replace(self, **{self.main_parameter().name: value})

    def memory_volumes(self) -> float:
        """Estimate of the memory needed, in float32 volumes of the padded grid."""
        return 12.0

    def region(self, problem: Problem) -> Region:
        """Box of the image that is computed on; the whole image unless the method has a margin around the mask."""
        return Region.whole(problem.grid.shape)

    def series(self, problem: Problem) -> Series:
        """Prepare to solve one problem for several parameter values in turn, each from where the one before ended."""
        return Series(problem)

    def noise_fidelity(self, problem: Problem) -> float | None:
        """Fidelity (as in the history) that the noise of the field alone would give; None where it is unknown."""
        return None

    def solve(
        self, problem: Problem, *, callback: Callback | None = None, start_ppm: NDArray | None = None
    ) -> Reconstruction:
        """Reconstruct a susceptibility map.

        Parameters
        ----------
        problem
            The measurement.
        callback
            Called after every iteration; returning False stops.
        start_ppm
            (nx, ny, nz) susceptibility in ppm to start from; only iterative solvers take one.

        Returns
        -------
        Reconstruction
            The map in ppm and how it came about.

        Raises
        ------
        ParameterError
            If a parameter asks for something the problem lacks, or the start does not fit.
        """
        if start_ppm is not None:
            if not self.iterative:
                raise ParameterError(f"start_ppm: '{self.name}' is a closed form and takes no starting point")
            if start_ppm.shape != problem.grid.shape:
                raise ParameterError(f"start_ppm: expected shape {problem.grid.shape}, found {start_ppm.shape}")
        began = time.perf_counter()
        region = self.region(problem)
        start = None if start_ppm is None else region.cut(start_ppm)
        result = region.embed_result(self._solve(region.cut_problem(problem), callback, start))
        return dataclasses.replace(result, timings_s={**result.timings_s, "solve": time.perf_counter() - began})

    @abstractmethod
    def _solve(self, problem: Problem, callback: Callback | None, start_ppm: NDArray | None) -> Reconstruction:
        """Do the work of :meth:`solve`, on the region."""
