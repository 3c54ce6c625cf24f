"""A weakly harmonic background field in the functional: ``wh-qsm`` (linear) and ``wh-nlqsm`` (nonlinear)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from qsm_recon.solvers.composition import Background, Composition
from qsm_recon.solvers.parameters import parameter
from qsm_recon.solvers.variational import VariationalSolver, convex_start, harmonic_penalty
from qsm_recon.terms.fidelity import NonlinearFidelity


@dataclass(frozen=True)
class WeakHarmonicLinear(VariationalSolver):
    """½‖W (D χ + h - φ)‖² + alpha ‖∇χ‖₁ + ½ beta ‖M Δh‖², minimised over χ and h, by ADMM.

    Takes up what background removal left behind; returns the background field h as well.
    """

    name: ClassVar[str] = "wh-qsm"
    title: ClassVar[str] = "Weak-harmonic QSM: total variation, linear fidelity"
    citation: ClassVar[str] = "Milovic et al., Magn Reson Med 81:1399-1411 (2019), doi 10.1002/mrm.27483"
    expects_local_field: ClassVar[bool] = False

    harmonic_weight: float | None = parameter(
        None, "mm⁴", "weight beta of the background's Laplacian inside the mask; by default 150 voxels to the fourth",
        low=1e-12, high=1e12, kind=float,
    )  # fmt: skip
    harmonic_penalty: float | None = harmonic_penalty()

    def composition(self) -> Composition:
        """See :class:`VariationalSolver`."""
        return Composition(background=Background(self.harmonic_weight, self.harmonic_penalty))


@dataclass(frozen=True)
class WeakHarmonicNonlinear(WeakHarmonicLinear):
    """As ``wh-qsm``, with the nonlinear fidelity of ``fansi``."""

    name: ClassVar[str] = "wh-nlqsm"
    title: ClassVar[str] = "Weak-harmonic QSM: total variation, nonlinear fidelity"

    convex_iterations: int | None = convex_start()

    def composition(self) -> Composition:
        """See :class:`VariationalSolver`."""
        return replace(super().composition(), fidelity=NonlinearFidelity(self.convex_iterations))


SOLVERS = (WeakHarmonicLinear, WeakHarmonicNonlinear)
