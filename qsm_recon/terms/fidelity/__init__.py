"""Data fidelities for the ADMM engine, each with the scalar step that it is made of."""

from qsm_recon.terms.fidelity.absolute import AbsoluteFidelity, NonlinearAbsoluteFidelity
from qsm_recon.terms.fidelity.base import Fidelity, FieldSplitting
from qsm_recon.terms.fidelity.chord import NonlinearFidelity, PhaseFidelity
from qsm_recon.terms.fidelity.huber import HuberFidelity
from qsm_recon.terms.fidelity.quadratic import QuadraticFidelity

__all__ = [
    "AbsoluteFidelity",
    "Fidelity",
    "FieldSplitting",
    "HuberFidelity",
    "NonlinearAbsoluteFidelity",
    "NonlinearFidelity",
    "PhaseFidelity",
    "QuadraticFidelity",
]
