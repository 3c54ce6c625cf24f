"""Any fidelity with any regulariser, with or without a background: ``admm``."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar, TypeVar

from qsm_recon.problem import Problem
from qsm_recon.solvers.composition import Background, Composition
from qsm_recon.solvers.default_weights import ABSOLUTE_RULE, TOTAL_VARIATION_RULE, scale_of
from qsm_recon.solvers.parameters import parameter
from qsm_recon.solvers.variational import VariationalSolver, convex_start, harmonic_penalty
from qsm_recon.terms.background import WeakHarmonic
from qsm_recon.terms.fidelity import Fidelity
from qsm_recon.terms.registry import fidelity_names, find_fidelity, find_regulariser, regulariser_names
from qsm_recon.terms.regulariser import Regulariser

Term = TypeVar("Term", Fidelity, Regulariser)
KNEE = 3.0
"""Knee of the huber fidelity, in errors of the field per voxel: rarely passed by noise."""


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
    fidelity: str = parameter("quadratic", "1", "data fidelity", choices=fidelity_names())
    regulariser: str = parameter("tv", "1", "regulariser", choices=regulariser_names())
    second_weight_ratio: float | None = parameter(
        None, "mm", "alpha0 / alpha1 of tgv; by default two voxels", low=1e-6, high=1e6, kind=float
    )
    knee: float | None = parameter(
        None, "ppm", "residual from which on the huber fidelity is linear; by default three of the field's errors",
        low=1e-9, high=1e3, kind=float,
    )  # fmt: skip
    harmonic_weight: float = parameter(
        0.0, "mm⁴", "weight beta of a weakly harmonic background; 0 for no background", low=0, high=1e9
    )
    harmonic_penalty: float | None = harmonic_penalty()

    convex_iterations: int | None = convex_start()

    def takes_total_field(self) -> bool:
        """See :class:`Solver`; with a background of its own."""
        return self.harmonic_weight > 0

    def cited(self) -> str:
        """See :class:`qsm_recon.parameters.Method`; with the papers of its terms."""
        background = WeakHarmonic.citation if self.harmonic_weight > 0 else ""
        parts = find_fidelity(self.fidelity).citation, find_regulariser(self.regulariser).citation, background
        return "; ".join(dict.fromkeys(filter(None, (self.citation, *parts))))

    def following(self) -> tuple[str, ...]:
        """See :class:`Solver`."""
        return tuple({"knee"} & parameters_of(find_fidelity(self.fidelity)))

    def default_of(self, name: str, problem: Problem) -> float:
        """See :class:`Solver`."""
        return KNEE * scale_of(problem).error_ppm

    def composition(self) -> Composition:
        """See :class:`VariationalSolver`; a term's parameters are those of the same names here."""
        fidelity, regulariser = find_fidelity(self.fidelity), find_regulariser(self.regulariser)
        background = Background(self.harmonic_weight, self.harmonic_penalty) if self.harmonic_weight > 0 else None
        return Composition(self._made(fidelity), self._made(regulariser), background)

    def _made(self, term: type[Term]) -> Term:
        given = {name: getattr(self, name) for name in parameters_of(term) if name in self.declared()}
        return term(**given)


def parameters_of(term: type) -> set[str]:
    """Names of the parameters of a term."""
    return {item.name for item in fields(term)}


SOLVERS = (GenericADMM,)
