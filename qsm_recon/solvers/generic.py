"""Any fidelity with any regulariser, with or without a background: ``admm``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from qsm_recon.solvers.default_weights import ABSOLUTE_RULE, TOTAL_VARIATION_RULE
from qsm_recon.solvers.parameters import parameter
from qsm_recon.solvers.variational import FIDELITIES, Composition, VariationalSolver, convex_start, harmonic_penalty


@dataclass(frozen=True)
class GenericADMM(VariationalSolver):
    """fidelity(D χ [+ h]) + alpha · regulariser(χ) [+ ½ beta ‖M Δh‖²]; the named methods are presets of it."""

    name: ClassVar[str] = "admm"
    title: ClassVar[str] = "Any fidelity, regulariser and background"
    citation: ClassVar[str] = "Milovic et al., Magn Reson Med 80:814-821 (2018), doi 10.1002/mrm.27073"

    default_rule: ClassVar[str] = f"{TOTAL_VARIATION_RULE}; l1 fidelities: {ABSOLUTE_RULE}"

    regularisation_weight: float | None = parameter(
        None, "ppm·mm (mm for l1 fidelities)", "weight alpha of the regulariser; by default from the field's error and "
        "gradient", low=1e-12, high=1e6, kind=float, main=True,
    )  # fmt: skip
    fidelity: str = parameter("quadratic", "1", "data fidelity", choices=tuple(FIDELITIES))
    regulariser: str = parameter("tv", "1", "regulariser", choices=("tv", "tgv"))
    second_weight_ratio: float | None = parameter(
        None, "mm", "alpha0 / alpha1 of tgv; by default two voxels", low=1e-6, high=1e6, kind=float
    )
    harmonic_weight: float = parameter(
        0.0, "mm⁴", "weight beta of a weakly harmonic background; 0 for no background", low=0, high=1e9
    )
    harmonic_penalty: float | None = harmonic_penalty()

    convex_iterations: int | None = convex_start()

    def takes_total_field(self) -> bool:
        """See :class:`Solver`; with a background of its own."""
        return self.harmonic_weight > 0

    def composition(self) -> Composition:
        """See :class:`VariationalSolver`."""
        return Composition(
            self.fidelity,
            self.regulariser,
            self.second_weight_ratio,
            self.harmonic_weight,
            self.harmonic_penalty,
            self.convex_iterations,
        )


SOLVERS = (GenericADMM,)
