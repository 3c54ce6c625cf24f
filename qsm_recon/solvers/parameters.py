"""The names of :mod:`qsm_recon.parameters` where solvers, and plug-ins with solvers, look for them."""

from __future__ import annotations

from qsm_recon.parameters import Parameter, declared_parameters, parameter

__all__ = ["Parameter", "declared_parameters", "parameter"]
