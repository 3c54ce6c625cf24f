"""Regularisers for the ADMM engine."""

from qsm_recon.terms.regulariser.base import GradientSplitting, Regulariser, squared_symbols
from qsm_recon.terms.regulariser.generalised_variation import TotalGeneralisedVariation
from qsm_recon.terms.regulariser.total_variation import TotalVariation

__all__ = ["GradientSplitting", "Regulariser", "TotalGeneralisedVariation", "TotalVariation", "squared_symbols"]
