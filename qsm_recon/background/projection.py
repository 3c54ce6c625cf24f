"""Projection onto the fields of sources outside the mask (``pdf``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from qsm_recon.background.base import BackgroundRemoval, LocalField
from qsm_recon.background.outside_sources import project_onto_outside
from qsm_recon.operators.dipole import DipoleOperator
from qsm_recon.operators.padding import voxels_in
from qsm_recon.parameters import parameter
from qsm_recon.problem import Problem
from qsm_recon.result import Callback
from qsm_recon.terms.weights import data_weight


@dataclass(frozen=True)
class ProjectionOntoDipoleFields(BackgroundRemoval):
    """min over χ outside (and p times weaker inside) of ½‖W (D χ - f)‖²; the background is the field of those outside.

    Conjugate gradient from zero, whose early stop keeps weak sources weak.  Published with no sources inside; allowing
    them keeps part of the local field near the surface from being taken for background.
    """

    name: ClassVar[str] = "pdf"
    title: ClassVar[str] = "Projection onto dipole fields"
    citation: ClassVar[str] = (
        "Liu et al., NMR Biomed 24:1129-1136 (2011), doi 10.1002/nbm.1670; "
        "de Rochefort et al., Magn Reson Med 63:194-206 (2010), doi 10.1002/mrm.22187"
    )
    erodes: ClassVar[bool] = False

    inside: float = parameter(
        0.03, "1", "how strong sources inside the mask are expected to be, relative to those outside; 0 as published",
        low=0, high=1,
    )  # fmt: skip
    tolerance: float = parameter(1e-3, "1", "residual to stop at, relative to its start", low=0, high=1)
    max_iterations: int = parameter(100, "1", "most iterations", low=1, high=100_000)
    surroundings: float = parameter(
        20.0, "mm", "how far around the mask sources are looked for, at least half of it beyond the image",
        low=0, high=1000,
    )  # fmt: skip
    kernel: str = parameter("continuous", "1", "dipole kernel", choices=("continuous", "discrete", "green"))

    def margin(self) -> float:
        """See :class:`BackgroundRemoval`."""
        return self.surroundings / 2

    def padding(self) -> float:
        """See :class:`BackgroundRemoval`."""
        return self.surroundings

    def _remove(self, problem: Problem, callback: Callback | None) -> LocalField:
        padding = tuple(voxels_in(self.padding(), size) for size in problem.grid.voxel_size_mm)
        operator = DipoleOperator(problem.grid, self.kernel, np.float32, padding)  # type: ignore[arg-type]
        weight, _ = data_weight(problem, "mask" if problem.weight is None else "given")
        found = project_onto_outside(
            operator, problem.field_ppm, weight.astype(np.float32), problem.mask,
            self.max_iterations, self.tolerance, self.inside, callback,
        )  # fmt: skip
        return self._result(
            problem.field_ppm - found.background,
            problem.mask,
            converged=found.stop_reason.converged,
            stop_reason=found.stop_reason,
            iterations=len(found.residuals),
            history={"residual": found.residuals},
            details={"padded_shape": list(operator.padded_grid.shape)},
        )


METHODS = (ProjectionOntoDipoleFields,)
