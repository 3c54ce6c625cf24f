"""Parameters that many iterative methods share, and what they mean to the engines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.device import device_name
from qsm_recon.engines.admm import ADMMSettings
from qsm_recon.operators.dipole import DipoleOperator, KernelKind
from qsm_recon.operators.grid import Grid
from qsm_recon.operators.padding import padding_around, reach_of
from qsm_recon.problem import Problem
from qsm_recon.region import Region
from qsm_recon.solvers.base import Solver
from qsm_recon.solvers.parameters import parameter
from qsm_recon.terms.weights import NORMALISATIONS, WEIGHTINGS


def automatic_padding() -> Any:
    """Declare the padding."""
    return parameter(
        None, "voxels", "zeros added around what is computed at least; by default what the image lacks of the "
        "default margin (or of a smaller one given) around the mask, and a quarter more where a slab's mask touches "
        "the border",
        low=0, high=512, kind=int,
    )  # fmt: skip


def padding_or(
    given: int | None, mask: NDArray[np.bool_], grid: Grid, margin_mm: float | None = None
) -> tuple[int, int, int]:
    """Padding as given, or by default what the image lacks of the reach of what is in the mask, or of the margin."""
    if given is not None:
        return (given, given, given)
    reach = reach_of(mask, grid.voxel_size_mm)
    return padding_around(mask, grid.voxel_size_mm, reach if margin_mm is None else min(margin_mm, reach))


def weighting_parameter(default_note: str = "auto takes the given weight, else the magnitude, else the mask") -> Any:
    """Declare the data weight W."""
    return parameter("auto", "1", f"data weight W; {default_note}", choices=WEIGHTINGS)


def normalisation_parameter(default: str = "rms") -> Any:
    """Declare the scale of W."""
    return parameter(
        default, "1", "scale of W: root mean square 1 in the mask, maximum 1, or as it is", choices=NORMALISATIONS
    )


@dataclass(frozen=True)
class OperatorSolver(Solver):
    """Base of methods on the dipole operator: the kernel, the grid that it is applied on, and the precision."""

    kernel: str = parameter("continuous", "1", "dipole kernel", choices=get_args(KernelKind))
    padding: int | None = automatic_padding()
    precision: str = parameter("single", "1", "arithmetic", choices=("single", "double"))

    @property
    def dtype(self) -> type[np.floating]:
        """Of the arithmetic."""
        return np.float32 if self.precision == "single" else np.float64

    def grid_padding(self, mask: NDArray[np.bool_], grid: Grid) -> tuple[int, int, int]:
        """See :class:`Solver`."""
        return padding_or(self.padding, mask, grid)

    def dipole_operator(self, problem: Problem, padding: tuple[int, int, int] | None = None) -> DipoleOperator:
        """Set up the dipole operator on the problem's grid, with a padding where another than the solver's is given."""
        chosen = self.grid_padding(problem.mask, problem.grid) if padding is None else padding
        return DipoleOperator(problem.grid, self.kernel, self.dtype, chosen, device_name())


@dataclass(frozen=True)
class GridSolver(OperatorSolver):
    """Base of those that compute on a box around the mask."""

    margin: float | None = parameter(
        None, "mm", "how far around the mask is computed; the whole image if more than there is; by default a "
        "twentieth of the mask's longest extent, or six voxels", low=0, high=1e6, kind=float,
    )  # fmt: skip

    def region(self, problem: Problem) -> Region:
        """See :class:`Solver`."""
        return Region.around(problem, self.margin_mm(problem))

    def margin_mm(self, problem: Problem) -> float:
        """Return how far around the mask is computed, in mm."""
        return reach_of(problem.mask, problem.grid.voxel_size_mm) if self.margin is None else self.margin

    def grid_padding(self, mask: NDArray[np.bool_], grid: Grid) -> tuple[int, int, int]:
        """See :class:`Solver`."""
        return padding_or(self.padding, mask, grid, self.margin)


@dataclass(frozen=True)
class ADMMSolver(GridSolver):
    """Base of methods that split the gradient of χ."""

    gradient: str = parameter(
        "physical", "1", "differences per mm, or per voxel as the FANSI toolbox takes them",
        choices=("physical", "unit-voxel"),
    )  # fmt: skip
    max_iterations: int = parameter(1000, "1", "most iterations", low=1, high=1_000_000)
    tolerance: float = parameter(
        0.015, "1", "estimated distance of the map from its limit to stop at, relative to its norm in the mask",
        low=0, high=1,
    )  # fmt: skip
    residual_tolerance: float = parameter(
        0.06, "1", "relative primal and dual residuals that must be reached as well", low=0, high=10
    )
    update_tolerance: float = parameter(
        0.0, "1", "relative update to stop at as well; 0 for never (toolboxes stop at 1e-3 to 1e-2)", low=0, high=0.1
    )
    gradient_penalty: float | None = parameter(
        None, "1", "penalty mu1 of the gradient splitting; by default from the spread of the field",
        low=1e-12, high=1e12, kind=float,
    )  # fmt: skip
    relaxation: float = parameter(1.9, "1", "over-relaxation; 1 for none", low=1.0, high=1.99)
    balance: bool = parameter(False, "1", "adapt mu1 so that primal and dual residuals stay comparable")

    def admm_settings(self, gradient_penalty: float, **changes: Any) -> ADMMSettings:
        """Settings of the engine.

        Parameters
        ----------
        gradient_penalty
            mu1 where the user gave none.
        changes
            Replace further members of :class:`qsm_recon.engines.admm.ADMMSettings`.
        """
        known: dict[str, Any] = {
            "gradient_penalty": self.gradient_penalty or gradient_penalty,
            "max_iterations": self.max_iterations,
            "tolerance": self.tolerance,
            "residual_tolerance": self.residual_tolerance,
            "update_tolerance": self.update_tolerance,
            "relaxation": self.relaxation,
            "balance": self.balance,
        }
        return ADMMSettings(**{**known, **changes})
