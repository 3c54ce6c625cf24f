"""Total field inversion (``tfi``): background and local sources in one problem."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.arrays import host
from qsm_recon.background.detection import background_test, kind_of_field
from qsm_recon.background.outside_sources import project_onto_outside
from qsm_recon.engines.closed_form import apply_filter, truncated_inverse
from qsm_recon.engines.gauss_newton import GaussNewton, GaussNewtonSettings
from qsm_recon.engines.loop import Outcome
from qsm_recon.errors import ParameterError
from qsm_recon.operators.dipole import DipoleOperator
from qsm_recon.operators.grid import Grid
from qsm_recon.operators.padding import padded_shape
from qsm_recon.problem import Problem
from qsm_recon.region import Region
from qsm_recon.result import Callback, heed
from qsm_recon.solvers.base import Solution
from qsm_recon.solvers.medi import MorphologySolver
from qsm_recon.solvers.parameters import parameter
from qsm_recon.terms.field_model import FieldModel, WeightedField
from qsm_recon.terms.morphology import EdgeWeightedVariation, boundary_around
from qsm_recon.terms.preconditioner import (
    adaptive_preconditioner,
    binary_preconditioner,
    padded_mask,
    r2star_threshold,
)
from qsm_recon.terms.weights import data_weight

APPROXIMATION_THRESHOLD = 0.19


@dataclass(frozen=True, eq=False)
class Outside:
    """What is expected outside the mask: P on the padded grid (or none), regularisation there, facts for the report."""

    scaling: NDArray | None
    smooth: float
    facts: dict[str, Any]
    circulant: bool = False


@dataclass(frozen=True, eq=False)
class FieldCase:
    """What is solved for: the region's problem, the operator on its padded grid, field and weight of its precision.

    The echoes, if any, are a view of the whole image's and not in the region's problem: a copy would be large.
    """

    problem: Problem
    operator: DipoleOperator
    field: NDArray
    weight: NDArray
    echoes: NDArray | None


@dataclass(frozen=True)
class TotalFieldSolver(MorphologySolver):
    """What the solvers whose unknown fills the whole field of view share."""

    expects_local_field: ClassVar[bool] = False

    weighting: str = parameter(
        "auto", "1", "data weight W; auto takes the given weight; else, where there is background, the inverse of the "
        "field's noise; else the magnitude, else the mask",
        choices=("auto", "mask", "magnitude", "magnitude-squared", "noise", "given"),
    )  # fmt: skip
    background: str = parameter(
        "auto", "1", "whether the field of outside sources is in the field; auto finds out where it is not known",
        choices=("auto", "present", "removed"),
    )  # fmt: skip
    preconditioner: str = parameter(
        "auto", "1", "none: no scaling; circulant: in k-space, as medi does; or by where strong sources are expected: "
        "binary: outside the mask; r2star: also at high R2*; adaptive: as fitted; auto is binary where there is "
        "background, else circulant",
        choices=("auto", "none", "circulant", "binary", "r2star", "adaptive"),
    )  # fmt: skip
    strong: float = parameter(5.0, "1", "how much stronger than tissue (largest P)", low=1, high=1000)
    r2star_threshold: float | None = parameter(
        None, "1/s", "R2* that counts as high; by default 30 /s at 3 T, in proportion to the main field",
        low=0.1, high=1e5, kind=float,
    )  # fmt: skip
    smooth_outside: float | None = parameter(
        None, "1", "weight of the regularisation outside the mask and across its surface; by default 0 where there is "
        "background, else 1", low=0, high=1, kind=float,
    )  # fmt: skip
    background_padding: int = parameter(
        16, "voxels", "zeros added around the image at least where there is background", low=0, high=512
    )
    cg_iterations: int = parameter(
        60, "1", "most inner (conjugate gradient) iterations per outer one", low=1, high=10_000
    )
    cg_tolerance: float = parameter(0.1, "1", "inner residual to stop at, relative to its start", low=0, high=1)

    def memory_volumes(self) -> float:
        """See :meth:`Solver.memory_volumes`."""
        return 25.5

    def device_volumes(self) -> float:
        """See :meth:`Solver.device_volumes`."""
        return 26.5

    def region(self, problem: Problem) -> Region:
        """See :class:`Solver`; where there is no background, :meth:`_solve` leaves out what is far from the mask."""
        return Region.whole(problem.grid.shape)

    def grid_padding(self, mask: NDArray[np.bool_], grid: Grid) -> tuple[int, int, int]:
        """See :class:`Solver`; as where there is background, which only the field tells."""
        x, y, z = (max(own, self.background_padding) for own in super().grid_padding(mask, grid))
        return (x, y, z)

    def computed_shape(self, problem: Problem) -> tuple[int, int, int]:
        """See :class:`Solver`; the box around the mask where the field is known or found to be local."""
        if self._has_background(problem):
            return super().computed_shape(problem)
        region = Region.around(problem, self.margin_mm(problem))
        padding = super().grid_padding(region.cut(problem.mask), problem.grid.resized(region.shape))
        return padded_shape(region.shape, padding)

    def _has_background(self, problem: Problem) -> bool:
        """Whether background is solved for as well; where the field is yet to come, it may be."""
        if self.background != "auto" or not problem.field_ppm.any():
            return self.background != "removed"
        return kind_of_field(problem) == "total"

    def _solve(self, problem: Problem, callback: Callback | None, start_ppm: NDArray | None) -> Solution:
        weight, origin = data_weight(problem, self.weighting)
        facts: dict[str, Any] = {}
        present = self._has_background(problem)
        if self.background == "auto" and problem.field_kind == "unknown":
            test = background_test(problem)
            facts |= {"left_by_projection": test.left, "left_of_tissue_by_projection": test.left_of_tissue}
        if present and self.weighting == "auto" and origin == "magnitude" and problem.field_noise_ppm is not None:
            # A steep background field takes the signal of late echoes, which the combined magnitude hardly shows.
            weight, origin = data_weight(problem, "noise")
        facts |= {"background": "present" if present else "removed", "weighting": origin}
        region = Region.whole(problem.grid.shape) if present else Region.around(problem, self.margin_mm(problem))
        part = region.cut_problem(dataclasses.replace(problem, echoes=None))
        own = super().grid_padding(part.mask, part.grid)
        operator = self.dipole_operator(part, self.grid_padding(part.mask, part.grid) if present else own)
        facts["padded_shape"] = list(operator.padded_grid.shape)
        case = FieldCase(
            part,
            operator,
            np.where(part.mask, part.field_ppm, 0).astype(operator.transform.dtype),
            region.cut(weight).astype(operator.transform.dtype),
            None if problem.echoes is None else region.cut(problem.echoes),
        )
        start = None if start_ppm is None else region.cut(start_ppm)
        outcome, details, maps = self._invert(case, self._outside(case, present, facts), callback, start)
        return Solution(
            region.embed(operator.crop(outcome.image)),
            region.embed(operator.forward_padded(outcome.image)[tuple(map(slice, part.grid.shape))]),
            outcome.stop_reason,
            outcome.history,
            details,
            {name: region.embed(image) for name, image in maps.items()},
        )

    @abstractmethod
    def _invert(
        self, case: FieldCase, outside: Outside, callback: Callback | None, start_ppm: NDArray | None
    ) -> tuple[Outcome, dict[str, Any], dict[str, NDArray]]:
        """Do the work, on the region; returns facts and further maps with it."""

    def _outside(self, case: FieldCase, present: bool, facts: dict[str, Any]) -> Outside:
        """Decide what is to be expected outside the mask, and where sources are strong."""
        problem, operator, kind = case.problem, case.operator, self.preconditioner
        if kind == "auto":
            kind = "binary" if present else "circulant"
        facts = {**facts, "preconditioner": kind}
        smooth = (0.0 if present else 1.0) if self.smooth_outside is None else self.smooth_outside
        if kind in ("none", "circulant"):
            return Outside(None, smooth, facts, circulant=kind == "circulant")
        mask = padded_mask(operator, problem.mask)
        decay = None
        if problem.r2star_per_s is not None:
            decay = np.zeros(mask.shape, np.float32)
            nx, ny, nz = problem.mask.shape
            decay[:nx, :ny, :nz] = problem.r2star_per_s
        if kind == "adaptive":
            scaling, fitted = adaptive_preconditioner(
                mask, problem.grid.voxel_size_mm, self._approximation(case), self.strong, decay
            )
            return Outside(scaling, smooth, {**facts, **fitted})
        if kind == "binary":
            return Outside(binary_preconditioner(mask, self.strong), smooth, facts)
        if decay is None:
            raise ParameterError("preconditioner=r2star needs an R2* map, which multi-echo input gives; choose another")
        limit = r2star_threshold(problem.b0_tesla) if self.r2star_threshold is None else self.r2star_threshold
        scaling = binary_preconditioner(mask, self.strong, decay, limit)
        return Outside(scaling, smooth, {**facts, "r2star_threshold_per_s": limit})

    def _approximation(self, case: FieldCase) -> NDArray:
        """A quick χ: outside the mask by projection onto fields of outside sources, inside by truncated division."""
        operator, mask = case.operator, case.problem.mask
        found = project_onto_outside(operator, case.field, case.weight, mask)
        heed(found.stop_reason)
        result, local = found.sources, np.where(mask, case.field - found.background, 0)
        inverse = truncated_inverse(host(operator.kernel), APPROXIMATION_THRESHOLD, fill=True)
        inside = apply_filter(operator, local, inverse)
        nx, ny, nz = mask.shape
        result[:nx, :ny, :nz][mask] = inside[mask]
        return result

    def _variation(self, problem: Problem, operator: DipoleOperator, smooth: float) -> EdgeWeightedVariation:
        """The regulariser, with another weight outside the mask and across its surface."""
        inside = padded_mask(operator, problem.mask)
        # A difference has two ends: what ties the mask to its outside at one side only is no property of the head.
        within = (inside & np.roll(inside, -1, axis) for axis in range(3))
        edges = np.stack([np.where(both, np.float32(1), np.float32(smooth)) for both in within])
        regularised = self._edges(problem, problem.mask)
        if regularised is not None:
            nx, ny, nz = problem.mask.shape
            edges[:, :nx, :ny, :nz] *= regularised
        return EdgeWeightedVariation(
            operator.transform, problem.grid.voxel_size_mm, self.main_value(), self.rounded_below(), edges,
            boundary_around(problem.grid.shape, operator.padded_grid.shape),
        )  # fmt: skip

    def _engine(
        self, case: FieldCase, model: FieldModel, outside: Outside, settings: GaussNewtonSettings
    ) -> GaussNewton:
        variation = self._variation(case.problem, case.operator, outside.smooth)
        return GaussNewton(
            case.operator, model, variation, settings,
            scaling=outside.scaling, circulant=outside.circulant, watch=case.problem.mask,
        )  # fmt: skip


@dataclass(frozen=True)
class TFI(TotalFieldSolver):
    """½‖W (exp(i s D χ) - exp(i s f))‖² / s² + alpha ‖M ∇χ‖₁ with f the total field and χ over the field of view.

    χ = P y, preconditioned; only the part inside the mask is returned.
    """

    name: ClassVar[str] = "tfi"
    title: ClassVar[str] = "Preconditioned total field inversion"
    citation: ClassVar[str] = (
        "Liu et al., Magn Reson Med 78:303-315 (2017), doi 10.1002/mrm.26331; "
        "Liu et al., Proc Intl Soc Mag Reson Med 26:2520 (2018)"
    )

    fidelity: str = parameter("nonlinear", "1", "data fidelity", choices=("nonlinear", "linear"))
    linear_iterations: int | None = parameter(
        None, "1", "first outer iterations done with the linear fidelity, which takes no strong field for a wrap; by "
        "default until no more residuals come below a quarter turn, 0 as published", low=0, high=1000, kind=int,
    )  # fmt: skip

    merit: bool = parameter(False, "1", "reduce the weight of voxels that do not fit, after each outer iteration")

    def _invert(
        self, case: FieldCase, outside: Outside, callback: Callback | None, start_ppm: NDArray | None
    ) -> tuple[Outcome, dict[str, Any], dict[str, NDArray]]:
        """See :class:`TotalFieldSolver`."""
        scale = case.problem.phase_scale if self.fidelity == "nonlinear" else None
        linear_iterations = 0 if scale is None else self.linear_iterations
        model = WeightedField(
            case.operator.transform, case.field, case.weight, scale, linear_iterations, merit=self.merit
        )
        outcome = self._engine(case, model, outside, self._settings()).run(start_ppm, callback)
        details = {"rad_per_ppm": scale, "reweighted_voxels": model.reweighted_voxels, **outside.facts}
        return outcome, details, {}


SOLVERS = (TFI,)
