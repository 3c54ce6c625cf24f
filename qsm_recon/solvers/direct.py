"""Closed forms: truncated k-space division (``tkd``), truncated SVD (``tsvd``) and Tikhonov (``tikhonov``)."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.arrays import host
from qsm_recon.engines.closed_form import (
    filter_with_costs,
    point_spread_amplitude,
    regularised_inverse,
    truncated_inverse,
)
from qsm_recon.operators.dipole import DipoleOperator
from qsm_recon.operators.gradient import gradient_spacing, squared_difference_symbol
from qsm_recon.operators.grid import Grid
from qsm_recon.problem import Problem
from qsm_recon.result import Callback
from qsm_recon.solvers.base import Solution
from qsm_recon.solvers.default_weights import squared_gradient_weight, squared_susceptibility_weight
from qsm_recon.solvers.filter_weights import FILTER_RULE, best_of_filter
from qsm_recon.solvers.iterative import OperatorSolver
from qsm_recon.solvers.parameters import parameter

THRESHOLDS = 0.02, 0.6
"""Range in which the default threshold is looked for."""
WEIGHT_FACTOR = 300.0
"""From Wiener's weight for white spectra, how far to either side that of ``tikhonov`` is looked for."""


@dataclass(frozen=True)
class ClosedForm(OperatorSolver):
    """What the closed forms share."""

    iterative: ClassVar[bool] = False
    default_rule: ClassVar[str] = FILTER_RULE
    scaling_power: ClassVar[int | None] = 0

    def _solve(self, problem: Problem, callback: Callback | None, start_ppm: NDArray | None) -> Solution:
        operator = self.dipole_operator(problem)
        field = np.where(problem.mask, problem.field_ppm, 0)
        k_space_filter, symbol = self._filter(operator)
        susceptibility, costs = filter_with_costs(operator, field, k_space_filter, symbol)
        details = {
            **costs,
            "point_spread_amplitude": point_spread_amplitude(operator, k_space_filter),
        }
        return Solution(
            susceptibility,
            operator.forward(susceptibility),
            details={**details, "padded_shape": list(operator.padded_grid.shape)},
        )

    def transfer(self, grid: Grid) -> NDArray | None:
        """See :class:`Solver`."""
        operator = DipoleOperator(grid, self.kernel, self.dtype)
        return self._filter(operator)[0][..., : grid.shape[2] // 2 + 1]

    def noise_fidelity(self, problem: Problem) -> float | None:
        """See :class:`Solver`; the field outside the mask counts as known to be zero."""
        if problem.field_noise_ppm is None:
            return None
        return float(0.5 * np.square(problem.field_noise_ppm[problem.mask], dtype=np.float64).sum())

    @abstractmethod
    def _filter(self, operator: DipoleOperator) -> tuple[NDArray, NDArray | float]:
        """Return the k-space filter, and the squared symbol of the operator whose result is kept small."""


@dataclass(frozen=True)
class TKD(ClosedForm):
    """Division by the dipole kernel, whose magnitude is kept from falling below a threshold."""

    name: ClassVar[str] = "tkd"
    title: ClassVar[str] = "Truncated k-space division"
    citation: ClassVar[str] = "Shmueli et al., Magn Reson Med 62:1510-1522 (2009), doi 10.1002/mrm.22135"

    threshold: float | None = parameter(
        None, "1", "smallest |D| that is divided by; by default from the field's spectrum",
        low=1e-6, high=0.66, kind=float, main=True,
    )  # fmt: skip
    correct_underestimation: bool = parameter(
        False, "1", "divide by the amplitude of the point spread function (Schweser et al. 2013)"
    )

    _fill: ClassVar[bool] = True

    def default_weight(self, problem: Problem) -> float:
        """See :class:`Solver`."""
        return best_of_filter(self, problem, *THRESHOLDS)

    def _filter(self, operator: DipoleOperator) -> tuple[NDArray, NDArray | float]:
        inverse = truncated_inverse(host(operator.kernel), self.main_value(), fill=self._fill)
        if self.correct_underestimation:
            inverse /= inverse.dtype.type(point_spread_amplitude(operator, inverse))
        return inverse, 1.0


@dataclass(frozen=True)
class TSVD(TKD):
    """As ``tkd``, but frequencies below the threshold are set to zero."""

    name: ClassVar[str] = "tsvd"
    title: ClassVar[str] = "Truncated singular value decomposition"
    citation: ClassVar[str] = "Wharton et al., Magn Reson Med 63:1292-1304 (2010), doi 10.1002/mrm.22334"

    _fill: ClassVar[bool] = False


@dataclass(frozen=True)
class Tikhonov(ClosedForm):
    """½‖D χ - φ‖² + ½ beta ‖R χ‖² with R the identity or the gradient."""

    name: ClassVar[str] = "tikhonov"
    title: ClassVar[str] = "Tikhonov regularisation"
    citation: ClassVar[str] = "Bilgic et al., J Magn Reson Imaging 40:181-191 (2014), doi 10.1002/jmri.24365"

    regularisation_weight: float | None = parameter(
        None, "1 (identity) or mm² (gradient)", "weight beta; by default from the field's error and gradient",
        low=1e-12, high=1e6, kind=float, main=True,
    )  # fmt: skip
    regulariser: str = parameter("gradient", "1", "what is kept small", choices=("identity", "gradient"))
    gradient: str = parameter(
        "physical", "1", "differences per mm, or per voxel as the FANSI toolbox takes them",
        choices=("physical", "unit-voxel"),
    )  # fmt: skip

    def default_weight(self, problem: Problem) -> float:
        """See :class:`Solver`."""
        identity = self.regulariser == "identity"
        wiener = squared_susceptibility_weight(problem) if identity else squared_gradient_weight(problem)
        return best_of_filter(self, problem, wiener / WEIGHT_FACTOR, wiener * WEIGHT_FACTOR)

    def _filter(self, operator: DipoleOperator) -> tuple[NDArray, NDArray | float]:
        kernel = host(operator.kernel)
        if self.regulariser == "identity":
            return regularised_inverse(kernel, kernel.dtype.type(self.main_value())), 1.0
        grid = operator.padded_grid
        spacing = gradient_spacing(grid, self.gradient)
        x, y, z = (squared_difference_symbol(n, h) for n, h in zip(grid.shape, spacing, strict=True))
        symbol = x[:, None, None] + y[:, None] + np.resize(z, kernel.shape[2])  # entries beyond half are padding
        return regularised_inverse(kernel, (self.main_value() * symbol).astype(kernel.dtype)), symbol


SOLVERS = (TKD, TSVD, Tikhonov)
