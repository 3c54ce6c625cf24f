"""Kernel on the complex signal of all echoes: fidelity, its derivative by the field, and the voxels' own unknowns."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.jit import inline, kernel

LARGEST_DECAY = 2000.0
SMALL = 1e-12


@kernel
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
    """Fit the voxelwise unknowns to a new field and linearise the signal there, on planes.

    The model of echo j is  m0 exp(-R2* t_j) exp(i (φ0 + s_j f)).  Turned by its own phase its derivatives by m0 and
    R2* are real, those by φ0 and f imaginary: the Gauss-Newton matrix of the four falls into two blocks of two.  No
    regulariser couples φ0, m0 and R2* of different voxels, so they are eliminated voxel by voxel: from the linear
    system by a Schur complement, and at a new field by the φ0 that fits best (a closed form) and one Gauss-Newton
    step of m0 and R2*, which is taken only where it lowers the misfit.  For a small step of the field the misfit
    therefore falls wherever the linearised problem says so.

    Where the field is more than ``reach`` from the measured one, all this is done at the end of that reach, and the
    misfit is continued from there as the quadratic that the linearised signal has.

    Parameters
    ----------
    predicted
        (planes, ny, stride) field f in ppm.
    signal
        (nx, ny, stride, n_echoes) complex.
    inside
        (nx, ny, stride) mask.
    measured, reach
        (nx, ny, stride) measured field, and how far from it the signal is followed, both in ppm; infinite for
        everywhere.
    times, scales
        (n_echoes,) float64 echo times (s) and rad per ppm.
    first, nz
        First plane, and voxels that count along the last axis.
    full
        Whether m0 and R2* are unknowns; otherwise the model's magnitude is the measured one.
    initial
        Whether m0 and R2* are to be found afresh.
    accepted, trial
        (3, nx, ny, stride) m0, R2* (1/s) and φ0 (rad), the last accepted and those for the new field.
    squared_weight, out
        Receive the curvature and the derivative of what is left when the voxelwise unknowns have been eliminated.

    Returns
    -------
    float
        Share of ½ Σ |model - signal|².
    """
    n_echoes = times.shape[0]
    along, across = np.empty(n_echoes), np.empty(n_echoes)
    total = 0.0
    for i in range(predicted.shape[0]):
        for j in range(predicted.shape[1]):
            for k in range(nz):
                if not inside[first + i, j, k]:
                    out[i, j, k] = 0
                    continue
                echoes = signal[first + i, j, k]
                if initial:
                    m0, decay = _initial(echoes, times)
                else:
                    m0, decay = float(accepted[0, first + i, j, k]), float(accepted[1, first + i, j, k])
                field = float(predicted[i, j, k])
                centre = float(measured[first + i, j, k])
                beyond = field - min(max(field, centre - reach), centre + reach)
                field -= beyond
                phase = _best_phase(echoes, times, scales, field, m0, decay, full)
                for e in range(n_echoes):  # the signal turned by the model's phase
                    cosine, sine = math.cos(phase + scales[e] * field), math.sin(phase + scales[e] * field)
                    along[e] = echoes[e].real * cosine + echoes[e].imag * sine
                    across[e] = echoes[e].imag * cosine - echoes[e].real * sine
                if full:
                    m0, decay = _improved(along, times, m0, decay)
                misfit = gp = gf = hpp = hpf = hff = 0.0
                for e in range(n_echoes):
                    a = m0 * math.exp(-decay * times[e]) if full else abs(echoes[e])
                    misfit += 0.5 * ((a - along[e]) * (a - along[e]) + across[e] * across[e])
                    gp -= a * across[e]
                    gf -= scales[e] * a * across[e]
                    hpp += a * a
                    hpf += scales[e] * a * a
                    hff += scales[e] * scales[e] * a * a
                trial[0, first + i, j, k] = m0
                trial[1, first + i, j, k] = decay
                trial[2, first + i, j, k] = phase
                coupling = hpf / (hpp + SMALL)
                curvature, slope = max(hff - coupling * hpf, 0.0), gf - coupling * gp
                squared_weight[first + i, j, k] = curvature
                out[i, j, k] = slope + curvature * beyond
                total += misfit + (slope + 0.5 * curvature * beyond) * beyond
    return total


@inline
def _best_phase(
    echoes: NDArray, times: NDArray, scales: NDArray, field: float, m0: float, decay: float, full: bool
) -> float:
    """The φ0 with the smallest misfit."""
    real = imaginary = 0.0
    for e in range(times.shape[0]):
        a = m0 * math.exp(-decay * times[e]) if full else abs(echoes[e])
        cosine, sine = math.cos(scales[e] * field), math.sin(scales[e] * field)
        real += a * (echoes[e].real * cosine + echoes[e].imag * sine)
        imaginary += a * (echoes[e].imag * cosine - echoes[e].real * sine)
    return math.atan2(imaginary, real)


@inline
def _improved(along: NDArray, times: NDArray, m0: float, decay: float) -> tuple[float, float]:
    """m0 and R2* after one Gauss-Newton step, or as they were if that does not lower the misfit."""
    g0 = g1 = h00 = h01 = h11 = before = 0.0
    for e in range(times.shape[0]):
        shape = math.exp(-decay * times[e])
        a = m0 * shape
        residual = a - along[e]
        before += residual * residual
        g0 += shape * residual
        g1 -= times[e] * a * residual
        h00 += shape * shape
        h01 -= times[e] * a * shape
        h11 += times[e] * times[e] * a * a
    determinant = h00 * h11 - h01 * h01
    new_m0, new_decay = m0, decay
    if determinant > 1e-9 * h00 * h11:
        new_m0 = max(m0 - (h11 * g0 - h01 * g1) / determinant, 0.0)
        new_decay = min(max(decay - (h00 * g1 - h01 * g0) / determinant, 0.0), LARGEST_DECAY)
    after = 0.0
    for e in range(times.shape[0]):
        residual = new_m0 * math.exp(-new_decay * times[e]) - along[e]
        after += residual * residual
    better = after < before
    return (new_m0 if better else m0), (new_decay if better else decay)


@inline
def _initial(echoes: NDArray, times: NDArray) -> tuple[float, float]:
    """m0 and R2* by a log-linear fit weighted with the squared magnitude."""
    weight = first = second = log_sum = cross = 0.0
    for e in range(times.shape[0]):
        size = abs(echoes[e])
        w = size * size
        logarithm = math.log(size) if size > 0 else 0.0
        weight += w
        first += w * times[e]
        second += w * times[e] * times[e]
        log_sum += w * logarithm
        cross += w * times[e] * logarithm
    spread = weight * second - first * first
    decay = 0.0
    if spread > 1e-9 * weight * second:
        decay = min(max((first * log_sum - weight * cross) / spread, 0.0), LARGEST_DECAY)
    return (math.exp((log_sum + decay * first) / weight) if weight > 0 else 0.0), decay
