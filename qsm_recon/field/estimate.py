"""From echoes to a field map with its noise, R2* and M0: one call."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsm_recon.errors import ParameterError, did_you_mean
from qsm_recon.field.complex_fit import fit_complex_echoes
from qsm_recon.field.decay import DecayFit, fit_r2star_arlo, fit_r2star_log_linear
from qsm_recon.field.difference import field_difference_map
from qsm_recon.field.echoes import EchoSeries
from qsm_recon.operators.grid import Grid
from qsm_recon.units import hz_to_ppm

logger = logging.getLogger(__name__)

METHODS = ("fit", "difference")
DECAY_METHODS = ("arlo", "log-linear")


@dataclass(frozen=True, eq=False)
class FieldEstimate:
    """The field of a multi-echo series and what else its signal tells; maps are (nx, ny, nz), 0 outside ``mask``.

    Attributes
    ----------
    frequency_hz
        Unwrapped frequency shift, Hz.
    initial_phase_rad
        Phase at echo time 0, rad.
    field_noise_ppm
        Standard deviation of the field, ppm; its inverse is the usual data weight.  ``report["noise_sigma_from"]``
        says whether its overall scale is measured or assumed.
    residual
        Relative residual of the signal model, 0 (perfect) to 2; large where the signal is no single frequency.
    mask
        The voxels of the given mask whose signal determines a field.
    b0_tesla
        Main field, T.
    r2star_per_s, m0
        Decay rate (1/s) and magnitude at echo time 0, None for a single echo.
    bipolar_phase_rad
        Half the phase between odd and even echoes, rad; None unless fitted.
    reliability
        Factor on a voxel's weight, in [0, 1]: below 1 where its field is in doubt for another reason than noise
        (echoes that disagree, a step to its neighbours that proves nothing); None from the difference map.
    report
        What was found and decided, ready for JSON.
    """

    frequency_hz: NDArray[np.float32]
    initial_phase_rad: NDArray[np.float32]
    field_noise_ppm: NDArray[np.float32]
    residual: NDArray[np.float32]
    mask: NDArray[np.bool_]
    b0_tesla: float
    r2star_per_s: NDArray[np.float32] | None = None
    m0: NDArray[np.float32] | None = None
    bipolar_phase_rad: NDArray[np.float32] | None = None
    reliability: NDArray[np.float32] | None = None
    report: dict[str, Any] = field(default_factory=dict)

    @property
    def field_ppm(self) -> NDArray[np.float32]:
        """Relative field shift, ppm."""
        return hz_to_ppm(self.frequency_hz, self.b0_tesla).astype(np.float32)


def estimate_field(
    echoes: EchoSeries,
    mask: NDArray[np.bool_],
    method: str = "fit",
    *,
    bipolar: bool = False,
    r2star: str = "arlo",
    noise_sigma: float | None = None,
    grid: Grid | None = None,
) -> FieldEstimate:
    """Estimate field, noise, R2* and M0 from the echoes.

    Parameters
    ----------
    echoes
        The series.
    mask
        (nx, ny, nz) bool, where to estimate.
    method
        ``"fit"``, the nonlinear complex fit of all echoes (:func:`fit_complex_echoes`), or ``"difference"``, the
        weighted mean of the phase differences from the first echo (:func:`field_difference_map`).  A single echo
        has no difference: only ``"fit"`` takes it.
    bipolar
        Fit a phase between odd and even echoes too (``"fit"`` only, three echoes or more).
    r2star
        ``"arlo"`` (three echoes or more; two echoes use the log-linear fit, which is then the same as any other)
        or ``"log-linear"``.
    noise_sigma
        Noise of the real and imaginary channel in units of the magnitude; estimated by default.
    grid
        Geometry of the images, with which ``"fit"`` settles aliases around strong sources by what dipoles explain.

    Returns
    -------
    FieldEstimate
        Maps and a report.

    Raises
    ------
    ParameterError
        If a method is unknown, or the bipolar term is asked of the difference map.
    DataError
        If mask or number of echoes do not fit.
    """
    if method not in METHODS:
        raise ParameterError(f"field estimation method '{method}' is unknown{did_you_mean(method, METHODS)}")
    if r2star not in DECAY_METHODS:
        raise ParameterError(f"R2* method '{r2star}' is unknown{did_you_mean(r2star, DECAY_METHODS)}")
    if method == "fit":
        found = fit_complex_echoes(echoes, mask, bipolar=bipolar, noise_sigma=noise_sigma, grid=grid)
    elif bipolar:
        raise ParameterError("the bipolar phase term belongs to the method 'fit'; the difference map has none")
    else:
        found = field_difference_map(echoes, mask, noise_sigma=noise_sigma)
    decay = _decay(echoes, found.mask, r2star)
    report = {"method": method, "bipolar": bipolar, "b0_tesla": echoes.b0_tesla, **found.report}
    report["r2star_method"] = decay.method if decay else None
    report["r2star_limited_voxels"] = decay.limited_voxels if decay else None
    logger.debug("field estimated: %s", report)
    return FieldEstimate(
        found.frequency_hz,
        found.initial_phase_rad,
        hz_to_ppm(found.noise_hz, echoes.b0_tesla).astype(np.float32),
        found.residual,
        found.mask,
        echoes.b0_tesla,
        decay.r2star_per_s if decay else None,
        decay.m0 if decay else None,
        found.bipolar_phase_rad,
        found.reliability,
        report,
    )


def _decay(echoes: EchoSeries, mask: NDArray[np.bool_], method: str) -> DecayFit | None:
    if echoes.echo_count < 2 or not mask.any():
        return None
    if method == "arlo" and echoes.echo_count > 2:
        return fit_r2star_arlo(echoes, mask)
    return fit_r2star_log_linear(echoes, mask)
