"""Morphology enabled dipole inversion (``medi``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from qsm_recon.engines.gauss_newton import GaussNewton, GaussNewtonSettings
from qsm_recon.errors import ParameterError
from qsm_recon.operators.dipole import DipoleOperator
from qsm_recon.operators.smv import SphericalMean, spherical_mean_kernel
from qsm_recon.problem import Problem
from qsm_recon.result import Callback
from qsm_recon.solvers.base import OWN_ZERO, Solution
from qsm_recon.solvers.default_weights import EDGE_FACTOR, EDGE_RULE, rounding, total_variation_weight
from qsm_recon.solvers.iterative import GridSolver, normalisation_parameter, weighting_parameter
from qsm_recon.solvers.parameters import parameter
from qsm_recon.terms.field_model import WeightedField
from qsm_recon.terms.morphology import FRACTIONS_OF, EdgeWeightedVariation, UniformRegion, boundary_around, edge_mask
from qsm_recon.terms.reference_region import ventricle_mask
from qsm_recon.terms.weights import data_weight, fidelity_of_noise


def regularisation_weight_from_toolbox(
    toolbox_lambda: float, rad_per_ppm: float, mean_squared_weight: float = 1.0
) -> float:
    """Convert lambda of the MEDI toolbox to this package's alpha.

    Parameters
    ----------
    toolbox_lambda
        lambda of ``MEDI_L1``.
    rad_per_ppm
        Phase that a field of 1 ppm gathers during the toolbox's ``delta_TE``, 2π · CF · delta_TE · 1e-6.
    mean_squared_weight
        Mean over the mask of the square of the toolbox's data weight, whose mean is 1.

    Returns
    -------
    float
        alpha in ppm·mm, for a data weight of root mean square 1: 1 / (2 lambda s <w²>).
    """
    return 1.0 / (2.0 * toolbox_lambda * rad_per_ppm * mean_squared_weight)


@dataclass(frozen=True)
class MorphologySolver(GridSolver):
    """What the solvers with an edge-weighted total variation share: parameters, and how parts are put together."""

    default_rule: ClassVar[str] = EDGE_RULE

    regularisation_weight: float | None = parameter(
        None, "ppm·mm", "weight alpha of the edge-weighted total variation; by default from the field's error and "
        "gradient", low=1e-12, high=1e3, kind=float, main=True,
    )  # fmt: skip
    edge_fraction: float = parameter(
        0.3, "1", "share of the magnitude gradient's components that count as edges and are not smoothed", low=0, high=3
    )
    edge_fraction_of: str = parameter(
        "components", "1", "what the share is of; the MEDI toolbox's 0.9 is of the number of voxels",
        choices=FRACTIONS_OF,
    )  # fmt: skip
    smoothing: float | None = parameter(
        None, "ppm/mm", "gradient below which the total variation is rounded off; by default a twentieth of the "
        "susceptibility's", low=1e-9, high=1e3, kind=float,
    )  # fmt: skip
    max_iterations: int = parameter(16, "1", "most outer (Gauss-Newton) iterations", low=1, high=100_000)
    update_tolerance: float = parameter(0.03, "1", "relative update to stop at", low=0, high=0.2)
    cg_iterations: int = parameter(
        20, "1", "most inner (conjugate gradient) iterations per outer one", low=1, high=10_000
    )
    cg_tolerance: float = parameter(0.1, "1", "inner residual to stop at, relative to its start", low=0, high=1)

    def memory_volumes(self) -> float:
        """See :meth:`Solver.memory_volumes`."""
        return 24.5

    def device_volumes(self) -> float:
        """See :meth:`Solver.device_volumes`."""
        return 29.0

    def default_weight(self, problem: Problem) -> float:
        """See :class:`Solver`."""
        return (EDGE_FACTOR if self.has_edges(problem) else 1.0) * total_variation_weight(problem)

    def following(self) -> tuple[str, ...]:
        """See :class:`Solver`."""
        return ("smoothing",)

    def default_of(self, name: str, problem: Problem) -> float:
        """See :class:`Solver`."""
        return rounding(problem)

    def rounded_below(self) -> float:
        """Return the gradient below which the total variation is rounded off, in ppm/mm, once it is known."""
        assert self.smoothing is not None
        return self.smoothing

    def remarks(self, problem: Problem) -> list[str]:
        """See :meth:`Solver.remarks`."""
        if problem.magnitude is not None or self.edge_fraction == 0:
            return []
        return [f"{self.name}: without a magnitude image no edges are known, and the total variation is a plain one"]

    def has_edges(self, problem: Problem) -> bool:
        """Whether some components of the gradient are not smoothed."""
        return problem.magnitude is not None and self.edge_fraction > 0

    def _settings(self, **changes: Any) -> GaussNewtonSettings:
        given: dict[str, Any] = {
            "max_iterations": self.max_iterations,
            "update_tolerance": self.update_tolerance,
            "cg_iterations": self.cg_iterations,
            "cg_tolerance": self.cg_tolerance,
        }
        return GaussNewtonSettings(**{**given, **changes})

    def _edges(self, problem: Problem, mask: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
        """Where each component of the gradient is smoothed; None without a magnitude image: everywhere."""
        if problem.magnitude is None or not self.has_edges(problem):
            return None
        return edge_mask(
            problem.magnitude, mask, problem.grid.voxel_size_mm, self.edge_fraction, self.edge_fraction_of
        )  # fmt: skip


@dataclass(frozen=True)
class MEDI(MorphologySolver):
    """½‖W (exp(i s D χ) - exp(i s φ))‖² / s² + alpha ‖M ∇χ‖₁, M zero on the edges of the magnitude image.

    The division by s² (rad per ppm) gives alpha the meaning it has for ``tv`` and ``fansi``, whatever echo time and
    field strength.  Without a magnitude image M is one everywhere.
    """

    name: ClassVar[str] = "medi"
    title: ClassVar[str] = "MEDI: edge-weighted total variation"
    citation: ClassVar[str] = (
        "Liu et al., NeuroImage 59:2560-2568 (2012), doi 10.1016/j.neuroimage.2011.08.082; "
        "Liu et al., Magn Reson Med 69:467-476 (2013), doi 10.1002/mrm.24272"
    )

    weighting: str = weighting_parameter()
    weight_normalisation: str = normalisation_parameter()
    fidelity: str = parameter("nonlinear", "1", "data fidelity", choices=("nonlinear", "linear"))
    linear_iterations: int | None = parameter(
        None, "1", "first outer iterations done with the linear fidelity, which takes no strong field for a wrap; by "
        "default until no more residuals come below a quarter turn, 0 as published", low=0, high=1000, kind=int,
    )  # fmt: skip
    rad_per_ppm: float | None = parameter(
        None, "rad/ppm", "phase scale s; by default at the mean echo time", low=1e-3, high=1e5, kind=float
    )
    merit: bool = parameter(False, "1", "reduce the weight of voxels that do not fit, after each outer iteration")
    smv_radius: float = parameter(
        0.0, "mm", "remove remaining background by spherical means of this radius (erodes the mask); 0 for never",
        low=0, high=100,
    )  # fmt: skip
    csf_weight: float = parameter(
        0.0, "1", "weight beta of uniform cerebrospinal fluid, which then is the zero reference; 0 for none",
        low=0, high=1e6,
    )  # fmt: skip
    csf_r2star: float = parameter(5.0, "1/s", "R2* below which tissue counts as fluid", low=0.1, high=100)
    circulant: bool = parameter(True, "1", "precondition the inner iterations in k-space")

    def _solve(self, problem: Problem, callback: Callback | None, start_ppm: NDArray | None) -> Solution:
        operator = self.dipole_operator(problem)
        dtype = operator.transform.dtype
        weight, weight_origin = data_weight(problem, self.weighting, self.weight_normalisation)
        field, mask = np.where(problem.mask, problem.field_ppm, 0), problem.mask
        if self.smv_radius > 0:
            field, weight, mask = self._spherical_means(problem, field, weight, operator)
        scale = None
        if self.fidelity == "nonlinear":
            scale = problem.phase_scale if self.rad_per_ppm is None else self.rad_per_ppm
        model = WeightedField(
            operator.transform,
            field.astype(dtype),
            weight.astype(dtype),
            scale,
            0 if scale is None else self.linear_iterations,
            merit=self.merit,
        )
        taken_off = np.where(mask, problem.field_ppm - field, 0).astype(dtype) if self.smv_radius > 0 else None
        del field, weight  # the model has its own
        fluid = self._fluid(problem, mask) if self.csf_weight > 0 else None
        engine = GaussNewton(
            operator,
            model,
            EdgeWeightedVariation(
                operator.transform, problem.grid.voxel_size_mm, self.main_value(), self.rounded_below(),
                self._edges(problem, mask), boundary_around(problem.grid.shape, operator.padded_grid.shape),
            ),
            self._settings(),
            region=None if fluid is None else UniformRegion(operator.transform, fluid, self.csf_weight),
            circulant=self.circulant,
        )  # fmt: skip
        outcome = engine.run(start_ppm, callback)
        susceptibility = operator.crop(outcome.image)
        if fluid is not None:
            susceptibility -= susceptibility[fluid].mean(dtype=np.float64)
        details: dict[str, Any] = {
            "weighting": weight_origin,
            "rad_per_ppm": scale,
            "padded_shape": list(operator.padded_grid.shape),
            "edges": "none: no magnitude image or a fraction of zero" if problem.magnitude is None else "magnitude",
            "mask_voxels": int(mask.sum()),
            "given_mask_voxels": int(problem.mask.sum()),
            "reweighted_voxels": model.reweighted_voxels,
        }
        if fluid is not None:
            details[OWN_ZERO] = f"mean over the cerebrospinal fluid, {int(fluid.sum())} voxels (csf_mask)"
        images = {} if fluid is None else {"csf_mask": fluid}
        fitted = operator.crop(engine.predicted)
        if taken_off is not None:  # spherical means are no part of what is left unexplained
            fitted += taken_off
        return Solution(susceptibility, fitted, outcome.stop_reason, outcome.history, details, images, mask)

    def noise_fidelity(self, problem: Problem) -> float | None:
        """See :class:`Solver`; unknown where spherical means or a reduction of weights change field or weight."""
        if self.smv_radius > 0 or self.merit:
            return None
        weight, _ = data_weight(problem, self.weighting, self.weight_normalisation)
        return fidelity_of_noise(problem, weight)

    def _spherical_means(
        self, problem: Problem, field: NDArray, weight: NDArray, operator: DipoleOperator
    ) -> tuple[NDArray, NDArray, NDArray[np.bool_]]:
        """Take spherical means off field and dipole kernel; the noise grows, the mask shrinks."""
        mean = SphericalMean(problem.grid, self.smv_radius)
        mask = mean.eroded(problem.mask)
        if not mask.any():
            raise ParameterError(f"smv_radius: {self.smv_radius:g} mm leaves nothing of the mask; choose a smaller one")
        # The kernel's own grid: a product of transforms there, not of zero-padded images.
        view = operator.transform.spectrum_view(operator.kernel)
        rest = 1.0 - spherical_mean_kernel(operator.padded_grid, self.smv_radius)
        view *= operator.transform.array(rest.astype(operator.transform.dtype))
        variance = np.divide(1.0, np.square(weight, dtype=np.float64), out=np.zeros(weight.shape), where=weight > 0)
        variance += np.maximum(mean.forward(variance), 0)
        fresh = np.where(mask & (weight > 0), 1.0 / np.sqrt(np.where(variance > 0, variance, 1.0)), 0.0)
        fresh *= np.sqrt(np.mean(np.square(weight[problem.mask], dtype=np.float64)) / np.mean(fresh[mask] ** 2))
        return np.where(mask, field - mean.forward(field), 0), fresh, mask

    def _fluid(self, problem: Problem, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        if problem.r2star_per_s is None:
            raise ParameterError("csf_weight: it needs an R2* map, which multi-echo input gives; set csf_weight=0")
        return ventricle_mask(problem.r2star_per_s, mask, problem.grid.voxel_size_mm, self.csf_r2star)


SOLVERS = (MEDI,)
