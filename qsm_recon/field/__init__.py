"""From the multi-echo signal to the field: phase units, echo checks, field map with its noise, R2* and M0."""

from qsm_recon.field.complex_fit import FrequencyFit, fit_complex_echoes
from qsm_recon.field.decay import DecayFit, fit_r2star_arlo, fit_r2star_log_linear
from qsm_recon.field.difference import field_difference_map
from qsm_recon.field.echoes import EchoSeries, check_b0, stack_echoes
from qsm_recon.field.estimate import FieldEstimate, estimate_field
from qsm_recon.field.phase_scale import PhaseScaling, rescale_phase

__all__ = [
    "DecayFit",
    "EchoSeries",
    "FieldEstimate",
    "FrequencyFit",
    "PhaseScaling",
    "check_b0",
    "estimate_field",
    "field_difference_map",
    "fit_complex_echoes",
    "fit_r2star_arlo",
    "fit_r2star_log_linear",
    "rescale_phase",
    "stack_echoes",
]
