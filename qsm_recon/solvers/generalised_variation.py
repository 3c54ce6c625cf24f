"""Second-order total generalised variation: ``tgv`` (quadratic fidelity) and ``fansi-tgv`` (nonlinear)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from qsm_recon.solvers.composition import Composition
from qsm_recon.solvers.parameters import parameter
from qsm_recon.solvers.variational import VariationalSolver, convex_start
from qsm_recon.terms.fidelity import NonlinearFidelity
from qsm_recon.terms.regulariser import TotalGeneralisedVariation


@dataclass(frozen=True)
class LinearTGV(VariationalSolver):
    """½‖W (D χ - φ)‖² + alpha1 ‖∇χ - v‖₁ + alpha0 ‖ε(v)‖₁, minimised over χ and v, by ADMM."""

    name: ClassVar[str] = "tgv"
    title: ClassVar[str] = "Total generalised variation, linear fidelity"
    citation: ClassVar[str] = (
        "Bredies et al., SIAM J Imaging Sci 3:492-526 (2010), doi 10.1137/090769521; "
        "Milovic et al., Magn Reson Med 80:814-821 (2018), doi 10.1002/mrm.27073"
    )

    second_weight_ratio: float | None = parameter(
        None, "mm", "alpha0 / alpha1: how much smooth slopes cost beside edges; by default two voxels",
        low=1e-6, high=1e6, kind=float,
    )  # fmt: skip

    def composition(self) -> Composition:
        """See :class:`VariationalSolver`."""
        return Composition(regulariser=TotalGeneralisedVariation(self.second_weight_ratio))


@dataclass(frozen=True)
class FANSITGV(LinearTGV):
    """As ``tgv``, with the nonlinear fidelity of ``fansi``."""

    name: ClassVar[str] = "fansi-tgv"
    title: ClassVar[str] = "FANSI: total generalised variation, nonlinear fidelity"

    convex_iterations: int | None = convex_start()

    def composition(self) -> Composition:
        """See :class:`VariationalSolver`."""
        return Composition(
            NonlinearFidelity(self.convex_iterations), TotalGeneralisedVariation(self.second_weight_ratio)
        )


SOLVERS = (LinearTGV, FANSITGV)
