"""The plain frequency map: weighted mean of the phase differences from the first echo."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qsm_recon.errors import DataError, ParameterError, did_you_mean
from qsm_recon.field.complex_fit import FrequencyFit, describe, pair_noise, start_frequency
from qsm_recon.field.echoes import EchoSeries
from qsm_recon.field.noise import noise_level
from qsm_recon.field.unwrap import unwrap_in_space
from qsm_recon.field.voxels import VoxelList

WEIGHTINGS = ("magnitude-te", "inverse-variance")


def field_difference_map(
    echoes: EchoSeries,
    mask: NDArray[np.bool_],
    *,
    weighting: str = "magnitude-te",
    noise_sigma: float | None = None,
) -> FrequencyFit:
    r"""Average the phase differences of all later echoes from the first one.

    .. math:: f = \frac{\sum_{j>1} w_j \, f_j}{\sum_{j>1} w_j}, \qquad
              f_j = \frac{\varphi_j - \varphi_1}{2\pi (t_j - t_1)}

    Parameters
    ----------
    echoes
        Two echoes or more.
    mask
        (nx, ny, nz) bool, where to estimate.
    weighting
        ``"magnitude-te"``: :math:`w_j = |S_j| (t_j - t_1)`; ``"inverse-variance"``:
        :math:`w_j = (t_j - t_1)^2 / (|S_1|^{-2} + |S_j|^{-2})`, the inverse variance of each :math:`f_j`.
    noise_sigma
        Standard deviation of the noise of the real and imaginary channel, in units of the magnitude.  By default
        estimated from the residuals, as for the fit; slightly too high, since this map fits a little worse.

    Returns
    -------
    FrequencyFit
        Maps and a report, as from the nonlinear fit.  The initial phase is the best one for this frequency.

    Raises
    ------
    DataError
        If there is one echo only, or the mask does not fit.
    ParameterError
        If the weighting is unknown.

    Notes
    -----
    This is the kind of map that the second reconstruction challenge gave to its participants beside the echoes: a
    magnitude- and TE-weighted mean of the differences TE4-TE1, TE3-TE1 and TE2-TE1, in Hz.  The exact weights of
    the challenge's map were not published with it; those used here are stated above.

    The first difference is unwrapped in space where it is aliased; each later one takes the turn that the one
    before predicts.  An initial phase drops out, a difference between odd and even echoes does not: use the fit
    with its bipolar term for such data.

    References
    ----------
    Bilgic B, et al. QSM reconstruction challenge 2.0: design and report of results. Magn Reson Med
    2021;86:1241-1255. doi:10.1002/mrm.28754
    """
    from qsm_recon.backend.kernels.signal import difference_frequency, intercept_and_misfit
    from qsm_recon.backend.threads import parallel_slabs

    if weighting not in WEIGHTINGS:
        raise ParameterError(f"weighting '{weighting}' is unknown{did_you_mean(weighting, WEIGHTINGS)}")
    voxels = VoxelList.gather(echoes, mask)
    if echoes.echo_count < 2:
        raise DataError("phase differences need at least 2 echoes, found 1")
    times = voxels.echo_times
    first_pair = np.array([[0, 1]], dtype=np.intp)
    spacing = float(times[1] - times[0])
    frequency = start_frequency(voxels, first_pair, spacing)
    noise = pair_noise(voxels, first_pair, spacing, noise_sigma)
    unwrapping = unwrap_in_space(voxels.scatter(frequency), voxels.mask, 1.0 / spacing, voxels.scatter(noise))
    frequency += unwrapping.turns[voxels.mask] / spacing

    variance, misfit, initial = np.empty(voxels.count), np.empty(voxels.count), np.empty((voxels.count, 1))
    series = (voxels.magnitude, voxels.phase, times)
    parallel_slabs(difference_frequency, voxels.count, *series, weighting == "inverse-variance", frequency, variance)
    parallel_slabs(intercept_and_misfit, voxels.count, *series, frequency, initial, misfit)

    determined = variance > 0
    level = noise_level(voxels, misfit, parameters=2, sigma=noise_sigma)
    fitted = voxels.restricted(determined)
    return FrequencyFit(
        voxels.scatter(frequency),
        voxels.scatter(np.where(determined, initial[:, 0], 0.0)),
        voxels.scatter(level.sigma * np.sqrt(variance)),
        voxels.scatter(np.where(determined, voxels.relative_residual(misfit), 0.0)),
        fitted,
        report=describe(voxels, fitted, 1.0 / spacing, unwrapping, level) | {"weighting": weighting},
    )
