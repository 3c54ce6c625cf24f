"""Total variation with a data fidelity in the l1 norm: ``wl1`` (linear) and ``l1qsm`` (nonlinear)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from qsm_recon.solvers.composition import Composition
from qsm_recon.solvers.default_weights import ABSOLUTE_RULE
from qsm_recon.solvers.parameters import parameter
from qsm_recon.solvers.variational import VariationalSolver, convex_start
from qsm_recon.terms.fidelity import AbsoluteFidelity, NonlinearAbsoluteFidelity


@dataclass(frozen=True)
class LinearL1(VariationalSolver):
    """‖W (D χ - φ)‖₁ + alpha ‖∇χ‖₁, by ADMM.

    The weight alpha has no unit of susceptibility: both terms scale with χ.
    """

    name: ClassVar[str] = "wl1"
    title: ClassVar[str] = "Total variation, linear l1 fidelity"
    citation: ClassVar[str] = "Milovic et al., Magn Reson Med 87:457-473 (2022), doi 10.1002/mrm.28957"

    default_rule: ClassVar[str] = ABSOLUTE_RULE
    scaling_power: ClassVar[int | None] = 0

    regularisation_weight: float | None = parameter(
        None, "mm", "weight alpha of the total variation; by default from the field's error and gradient",
        low=1e-9, high=1e6, kind=float, main=True,
    )  # fmt: skip

    def composition(self) -> Composition:
        """See :class:`VariationalSolver`."""
        return Composition(AbsoluteFidelity())


@dataclass(frozen=True)
class L1QSM(LinearL1):
    """‖W (exp(i s D χ) - exp(i s φ))‖₁ / s + alpha ‖∇χ‖₁, by ADMM, with s in rad per ppm."""

    name: ClassVar[str] = "l1qsm"
    title: ClassVar[str] = "L1-QSM: total variation, nonlinear l1 fidelity"

    convex_iterations: int | None = convex_start()

    def composition(self) -> Composition:
        """See :class:`VariationalSolver`."""
        return Composition(NonlinearAbsoluteFidelity(self.convex_iterations))


SOLVERS = (LinearL1, L1QSM)
