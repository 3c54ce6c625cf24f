"""What a method computes on, and how much memory it takes there."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.device import TORCH_CPU, device_name
from qsm_recon.operators.grid import Grid
from qsm_recon.operators.padding import padded_shape
from qsm_recon.problem import Problem
from qsm_recon.region import Region

SOLVE_BYTES = 8e6
"""What a first solve takes whatever its size: compiled kernels, plans of transforms, threads."""
TENSORS_ON_CORES = 1.5
"""What a process takes over the tensors of torch on the cores: blocks of the allocator, workspaces of transforms."""
RESULT_VOLUMES = 4
"""Volumes of the image (float32) that a result takes while it is put together."""


class Footprint:
    """The box that is computed on, its padding, and the memory of it; a method says what differs."""

    def memory_volumes(self) -> float:
        """Most memory that the work itself takes, in volumes of the padded grid and of its precision."""
        return 6.3

    def kept_volumes(self) -> float:
        """Volumes of the padded grid that a series keeps beside a solve, from one to the next."""
        return 0.0

    def device_volumes(self) -> float:
        """The same in tensors: most that a device of torch's holds, whose kernels work on whole volumes at a time."""
        return self.memory_volumes()

    def device_bytes(self, problem: Problem) -> float:
        """Estimate of the tensors that a solve holds at once on a device of torch's, in bytes.

        Parameters
        ----------
        problem
            The measurement.
        """
        return self.device_volumes() * self._volume_bytes(problem)

    def kept_bytes(self, problem: Problem) -> float:
        """What :meth:`kept_volumes` are in bytes, on the machine or on a device of torch's.

        Parameters
        ----------
        problem
            The measurement.
        """
        return self.kept_volumes() * self._volume_bytes(problem)

    def _volume_bytes(self, problem: Problem) -> float:
        """Size of one volume of the padded grid, in the precision of the work."""
        item = 8 if getattr(self, "precision", "single") == "double" else 4
        return item * float(math.prod(self.computed_shape(problem)))

    def memory_bytes(self, problem: Problem) -> float:
        """Estimate of the memory that a solve takes beside the problem, in bytes (see ``benchmarks.memory``).

        It is the machine's memory; that of a graphics processor is :meth:`device_bytes`, and this then an upper bound.

        Parameters
        ----------
        problem
            The measurement.
        """
        image = math.prod(problem.grid.shape)
        held = 4 * image  # the field without its constant
        solving = self.memory_volumes() * self._volume_bytes(problem)
        if device_name() == TORCH_CPU:
            solving = TENSORS_ON_CORES * self.device_bytes(problem)
        # Heavy, and not needed to know a solver.
        from qsm_recon.solvers.constant_field import memory_of_constant

        return SOLVE_BYTES + held + max(solving, 4 * RESULT_VOLUMES * image, memory_of_constant(problem))

    def region(self, problem: Problem) -> Region:
        """Box of the image that is computed on; the whole image unless the method has a margin around the mask."""
        return Region.whole(problem.grid.shape)

    def grid_padding(self, mask: NDArray[np.bool_], grid: Grid) -> tuple[int, int, int]:
        """Zeros added along each axis of a region with this mask and grid at least."""
        return (0, 0, 0)

    def computed_shape(self, problem: Problem) -> tuple[int, int, int]:
        """Size of the padded grid that a problem is solved on."""
        region = self.region(problem)
        padding = self.grid_padding(region.cut(problem.mask), problem.grid.resized(region.shape))
        return padded_shape(region.shape, padding)
