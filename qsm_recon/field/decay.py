"""R2* and the signal at echo time 0, from the magnitudes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qsm_recon.errors import DataError, ParameterError
from qsm_recon.field.complex_fit import EVEN_SPACING
from qsm_recon.field.echoes import EchoSeries
from qsm_recon.field.voxels import VoxelList

FASTEST_DECAY_PER_S = 1000.0


@dataclass(frozen=True, eq=False)
class DecayFit:
    """Mono-exponential decay per voxel; 0 outside the mask.

    Attributes
    ----------
    r2star_per_s
        (nx, ny, nz) R2* in 1/s, within [0, ``fastest_per_s``].
    m0
        (nx, ny, nz) magnitude at echo time 0, the least-squares amplitude for this R2*.
    limited_voxels
        How many voxels were set to a limit: noise that grows with echo time, or a signal gone at once.
    method
        ``"arlo"`` or ``"log-linear"``.
    """

    r2star_per_s: NDArray[np.float32]
    m0: NDArray[np.float32]
    limited_voxels: int
    method: str


def fit_r2star_arlo(
    echoes: EchoSeries,
    mask: NDArray[np.bool_],
    *,
    fastest_per_s: float = FASTEST_DECAY_PER_S,
    exact_integral: bool = True,
) -> DecayFit:
    r"""Fit R2* by auto-regression on linear operations (ARLO).

    The integral of an exponential over two echo spacings is :math:`T_2^* (S_i - S_{i+2})`.  Simpson's rule gives
    the same integral from the data; the T2* that best predicts every third echo from the two before it follows in
    closed form, without logarithms and so with little bias from noise.

    Parameters
    ----------
    echoes
        Three echoes or more.
    mask
        (nx, ny, nz) bool, where to estimate.
    fastest_per_s
        Upper limit of R2*, 1/s.
    exact_integral
        Undo the error that Simpson's rule makes on an exponential.  Exact for evenly spaced echoes and without
        noise, by solving ``(1 + 4q + q^2)/(1 - q^2) = 3 T2*/dt`` for ``q = exp(-R2* dt)``; an addition to the
        published method, which underestimates fast decay (by 1.7 % at R2* dt = 1.4).  Has no effect on uneven echoes.

    Returns
    -------
    DecayFit
        R2* and M0.

    Raises
    ------
    DataError
        If there are fewer than three echoes, or the mask does not fit.

    Notes
    -----
    With uneven echoes the parabola through each three neighbours is integrated instead, and all triplets count
    alike.

    References
    ----------
    Pei M, et al. Algorithm for fast monoexponential fitting based on Auto-Regression on Linear Operations (ARLO)
    of data. Magn Reson Med 2015;73:843-850. doi:10.1002/mrm.25137
    """
    from qsm_recon.backend.kernels.decay import arlo_decay_rate

    if echoes.echo_count < 3:
        raise DataError(f"ARLO needs at least 3 echoes, found {echoes.echo_count}; use the log-linear fit")
    times = np.asarray(echoes.echo_times_s)
    steps = np.diff(times)
    even = bool(np.ptp(steps) <= EVEN_SPACING * steps.min())
    spacing = float(steps.mean()) if even and exact_integral else 0.0
    return _fit(echoes, mask, "arlo", arlo_decay_rate, (parabola_integrals(times), spacing), fastest_per_s)


def fit_r2star_log_linear(
    echoes: EchoSeries,
    mask: NDArray[np.bool_],
    *,
    fastest_per_s: float = FASTEST_DECAY_PER_S,
    weighted: bool = True,
) -> DecayFit:
    """Fit R2* as the slope of the logarithm of the magnitude.

    Parameters
    ----------
    echoes
        Two echoes or more.
    mask
        (nx, ny, nz) bool, where to estimate.
    fastest_per_s
        Upper limit of R2*, 1/s.
    weighted
        Weight each echo by its squared magnitude, the inverse variance of its logarithm; plain least squares
        otherwise.

    Returns
    -------
    DecayFit
        R2* and M0.

    Raises
    ------
    DataError
        If there is one echo only, or the mask does not fit.
    """
    from qsm_recon.backend.kernels.decay import log_linear_decay_rate

    if echoes.echo_count < 2:
        raise DataError("R2* needs at least 2 echoes, found 1")
    times = np.asarray(echoes.echo_times_s)
    return _fit(echoes, mask, "log-linear", log_linear_decay_rate, (times, weighted), fastest_per_s)


def parabola_integrals(echo_times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weights (n - 2, 3) that integrate the parabola through each three neighbouring echoes (Simpson)."""
    first, second = np.diff(echo_times)[:-1], np.diff(echo_times)[1:]
    whole = first + second
    return np.stack(
        [
            whole / 6.0 * (2.0 - second / first),
            whole**3 / (6.0 * first * second),
            whole / 6.0 * (2.0 - first / second),
        ],
        axis=1,
    )


def _fit(
    echoes: EchoSeries,
    mask: NDArray[np.bool_],
    method: str,
    decay_rate: Callable[..., int],
    settings: tuple[object, ...],
    fastest_per_s: float,
) -> DecayFit:
    from qsm_recon.backend.kernels.decay import initial_magnitude
    from qsm_recon.backend.threads import parallel_slabs

    if not fastest_per_s > 0:
        raise ParameterError(f"fastest_per_s is {fastest_per_s:g}: expected a positive rate in 1/s")
    voxels = VoxelList.gather(echoes, mask)
    rate = np.empty(voxels.count, dtype=np.float32)
    m0 = np.empty(voxels.count, dtype=np.float32)
    limited = parallel_slabs(decay_rate, voxels.count, voxels.magnitude, *settings, float(fastest_per_s), rate)
    parallel_slabs(initial_magnitude, voxels.count, voxels.magnitude, voxels.echo_times, rate, m0)
    return DecayFit(voxels.scatter(rate), voxels.scatter(m0), int(sum(limited)), method)
