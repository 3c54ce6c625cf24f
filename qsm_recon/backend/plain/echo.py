"""Plain numpy for :mod:`qsm_recon.backend.kernels.echo`; voxels run along the first axis, echoes along the last."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.kernels.echo import LARGEST_DECAY, SMALL


def echo_misfit(
    predicted: NDArray,
    signal: NDArray,
    inside: NDArray,
    measured: NDArray,
    reach: float,
    times: NDArray,
    scales: NDArray,
    first: int,
    nz: int,
    full: bool,
    initial: bool,
    accepted: NDArray,
    trial: NDArray,
    squared_weight: NDArray,
    out: NDArray,
) -> float:
    """See the kernel."""
    last = first + predicted.shape[0]
    here = inside[first:last, :, :nz] != 0
    out[..., :nz] = 0
    echoes = signal[first:last, :, :nz][here].astype(np.complex128)
    if initial:
        m0, decay = _initial(echoes, times)
    else:
        m0, decay = (accepted[q, first:last, :, :nz][here].astype(np.float64) for q in (0, 1))
    field = predicted[..., :nz][here].astype(np.float64)
    centre = measured[first:last, :, :nz][here].astype(np.float64)
    beyond = field - np.minimum(np.maximum(field, centre - reach), centre + reach)
    field = field - beyond
    model = m0[:, None] * np.exp(-decay[:, None] * times) if full else np.abs(echoes)
    turned = echoes * np.exp(-1j * scales * field[:, None])
    phase = np.arctan2((model * turned.imag).sum(axis=1), (model * turned.real).sum(axis=1))
    turned = turned * np.exp(-1j * phase)[:, None]  # the signal turned by the model's phase
    along, across = turned.real, turned.imag
    if full:
        m0, decay = _improved(along, times, m0, decay)
        model = m0[:, None] * np.exp(-decay[:, None] * times)
    misfit = 0.5 * ((model - along) ** 2 + across**2).sum(axis=1)
    gp, gf = -(model * across).sum(axis=1), -(scales * model * across).sum(axis=1)
    power = model * model
    hpp, hpf, hff = power.sum(axis=1), (scales * power).sum(axis=1), (scales * scales * power).sum(axis=1)
    for q, values in enumerate((m0, decay, phase)):
        trial[q, first:last, :, :nz][here] = values
    coupling = hpf / (hpp + SMALL)
    curvature, slope = np.maximum(hff - coupling * hpf, 0.0), gf - coupling * gp
    squared_weight[first:last, :, :nz][here] = curvature
    out[..., :nz][here] = slope + curvature * beyond
    return float((misfit + (slope + 0.5 * curvature * beyond) * beyond).sum())


def _improved(along: NDArray, times: NDArray, m0: NDArray, decay: NDArray) -> tuple[NDArray, NDArray]:
    """m0 and R2* after one Gauss-Newton step, or as they were where that does not lower the misfit."""
    shape = np.exp(-decay[:, None] * times)
    model = m0[:, None] * shape
    residual = model - along
    before = (residual * residual).sum(axis=1)
    g0, g1 = (shape * residual).sum(axis=1), -(times * model * residual).sum(axis=1)
    h00, h11 = (shape * shape).sum(axis=1), (times * times * model * model).sum(axis=1)
    h01 = -(times * model * shape).sum(axis=1)
    determinant = h00 * h11 - h01 * h01
    regular = determinant > 1e-9 * h00 * h11
    new_m0 = np.where(regular, np.maximum(m0 - (h11 * g0 - h01 * g1) / determinant, 0.0), m0)
    step = decay - (h00 * g1 - h01 * g0) / determinant
    new_decay = np.where(regular, np.minimum(np.maximum(step, 0.0), LARGEST_DECAY), decay)
    better = ((new_m0[:, None] * np.exp(-new_decay[:, None] * times) - along) ** 2).sum(axis=1) < before
    return np.where(better, new_m0, m0), np.where(better, new_decay, decay)


def _initial(echoes: NDArray, times: NDArray) -> tuple[NDArray, NDArray]:
    """m0 and R2* by a log-linear fit weighted with the squared magnitude."""
    size = np.abs(echoes)
    w = size * size
    logarithm = np.log(np.where(size > 0, size, 1.0))
    weight, first, second = w.sum(axis=1), (w * times).sum(axis=1), (w * times * times).sum(axis=1)
    log_sum, cross = (w * logarithm).sum(axis=1), (w * times * logarithm).sum(axis=1)
    spread = weight * second - first * first
    slope = np.minimum(np.maximum((first * log_sum - weight * cross) / spread, 0.0), LARGEST_DECAY)
    decay = np.where(spread > 1e-9 * weight * second, slope, 0.0)
    return np.where(weight > 0, np.exp((log_sum + decay * first) / weight), 0.0), decay
