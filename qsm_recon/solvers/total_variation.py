"""Total variation with a quadratic (``tv``) or nonlinear (``fansi``) data fidelity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from qsm_recon.solvers.composition import Composition
from qsm_recon.solvers.variational import VariationalSolver, convex_start
from qsm_recon.terms.fidelity import NonlinearFidelity


@dataclass(frozen=True)
class LinearTV(VariationalSolver):
    """½‖W (D χ - φ)‖² + alpha ‖∇χ‖₁, by ADMM."""

    name: ClassVar[str] = "tv"
    title: ClassVar[str] = "Total variation, linear fidelity"
    citation: ClassVar[str] = (
        "Bilgic et al., Magn Reson Med 72:1444-1459 (2014), doi 10.1002/mrm.25029; "
        "Milovic et al., Magn Reson Med 80:814-821 (2018), doi 10.1002/mrm.27073"
    )


@dataclass(frozen=True)
class FANSI(VariationalSolver):
    """½‖W (exp(i s D χ) - exp(i s φ))‖² / s² + alpha ‖∇χ‖₁, by ADMM, with s in rad per ppm.

    The division by s² makes it the linear method for small phases, with the same alpha.  In the units of the FANSI
    toolbox (χ in rad) its alpha1 is alpha · s.
    """

    name: ClassVar[str] = "fansi"
    title: ClassVar[str] = "FANSI: total variation, nonlinear fidelity"
    citation: ClassVar[str] = "Milovic et al., Magn Reson Med 80:814-821 (2018), doi 10.1002/mrm.27073"

    convex_iterations: int | None = convex_start()

    def composition(self) -> Composition:
        """See :class:`VariationalSolver`."""
        return Composition(NonlinearFidelity(self.convex_iterations))


SOLVERS = (LinearTV, FANSI)
