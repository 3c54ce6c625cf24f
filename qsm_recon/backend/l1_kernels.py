"""Fused kernels of the data fidelities in the l1 norm: proximal step and dual update in one pass.

The splitting is z ≈ D χ; with d = z - φ and scaled dual s the proximal step has the threshold t = W / mu.  Where
the fit is exact (d = 0) the dual is free in [-t, t]; elsewhere d fixes it.  So one number holds both: the dual itself
where d = 0, else sign(d) (t + |d|).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.field_kernels import weighted_span
from qsm_recon.backend.jit import inline, kernel
from qsm_recon.backend.trigonometry import sine_cosine

Scalar = np.floating
Sums = tuple[float, float, float, float, float]

_HALF = np.float32(0.5)
_EIGHTH = np.float32(0.125)
_ONE = np.float32(1.0)
_SLOPE_FLOOR = np.float32(0.1)
_TINY = np.float32(1e-6)
_TURN = np.float32(2 * math.pi)
_HALF_TURN = np.float32(math.pi)
NEWTON_STEPS_SINGLE = 2
NEWTON_STEPS_DOUBLE = 60


@inline
def _clip(value: Scalar, limit: Scalar) -> Scalar:
    return min(max(value, -limit), limit)


@kernel
def absolute_step(
    predicted: NDArray,
    state: NDArray,
    measured: NDArray,
    weight: NDArray,
    first: int,
    nz: int,
    penalty: Scalar,
    relaxation: Scalar,
) -> Sums:
    """Step of ‖W (z - φ)‖₁ on a block of planes that starts at ``first``.

    Parameters
    ----------
    predicted
        (planes, ny, stride) D χ; replaced by z - s.
    state
        (nx, ny, stride) d and s in one number, updated.
    measured
        (nx, ny, stride) local field φ.
    weight
        (nx, ny, stride) W, not squared.
    penalty
        mu, the same in all iterations.
    relaxation
        Over-relaxation factor.

    Returns
    -------
    tuple of float
        Sums of the fidelity at D χ, |D χ - z|², |z - z_old|², |z|² and |s|².
    """
    planes, ny = predicted.shape[0], predicted.shape[1]
    fidelity = primal = change = split_norm = dual_norm = 0.0
    for i in range(planes):
        for j in range(ny):
            p, u, phi, w = predicted[i, j], state[first + i, j], measured[first + i, j], weight[first + i, j]
            zero = p[0] - p[0]
            f_row = p_row = c_row = z_row = s_row = zero
            for k in range(nz):
                residual = p[k] - phi[k]
                threshold = w[k] / penalty
                s_old = _clip(u[k], threshold)
                d_old = u[k] - s_old
                r = d_old + relaxation * (residual - d_old) + s_old
                s = _clip(r, threshold)
                d = r - s
                f_row += w[k] * abs(residual)
                p_row += (residual - d) * (residual - d)
                c_row += (d - d_old) * (d - d_old)
                z_row += (phi[k] + d) * (phi[k] + d)
                s_row += s * s
                u[k] = r
                p[k] = phi[k] + d - s
            fidelity += f_row
            primal += p_row
            change += c_row
            split_norm += z_row
            dual_norm += s_row
    return fidelity, primal, change, split_norm, dual_norm


@inline
def _turns(value: Scalar) -> Scalar:
    """Return the whole turn (in rad) that is nearest to an angle."""
    return _TURN * np.rint(value / _TURN)


@inline
def _unpack(u: Scalar, threshold: Scalar) -> tuple[Scalar, Scalar]:
    """Residual d, and the dual as it is where d is a whole turn, from the stored number.

    Within half a turn of the turn m, u - m is the dual where d = m, else sign(e) (t + |e| (1 - t/π)) with e = d - m:
    that meets the neighbouring turn's numbers at ±π, so u tells m, e and the dual.
    """
    turn = _turns(u)
    dual = _clip(u - turn, threshold)
    return turn + (u - turn - dual) / max(_ONE - threshold / _HALF_TURN, _TINY), dual


@inline
def _pack(turn: Scalar, size: Scalar, sign: Scalar, threshold: Scalar) -> Scalar:
    """Stored number of the residual turn + sign · size, where that is not a whole turn."""
    return turn + sign * (threshold + size * (_ONE - threshold / _HALF_TURN))


@inline
def _follow(p: NDArray, u: NDArray, phi: NDArray, relaxation: Scalar) -> tuple[Scalar, Scalar, Scalar]:
    """Step of voxels without weight: z is the relaxed D χ, s = 0; returns |D χ - z|², |z - z_old|², |z|²."""
    zero = relaxation - relaxation
    primal = change = norm = zero
    for k in range(p.size):
        residual, old = p[k] - phi[k], u[k]
        new = old + relaxation * (residual - old)
        primal += (residual - new) * (residual - new)
        change += (new - old) * (new - old)
        norm += (phi[k] + new) * (phi[k] + new)
        u[k] = new
        p[k] = phi[k] + new
    return primal, change, norm


@kernel
def chord_step_single(
    predicted: NDArray,
    state: NDArray,
    measured: NDArray,
    weight: NDArray,
    first: int,
    nz: int,
    penalty: Scalar,
    relaxation: Scalar,
) -> Sums:
    """Step of ‖W (exp(iz) - exp(iφ))‖₁ = Σ 2 W |sin(d/2)| in single precision; as :func:`absolute_step`, in rad.

    With e and r counted from the nearest whole turn, the step is e = 0 where |r| ≤ t and else solves
    t cos(e/2) + e - |r| = 0 for e > 0, by Newton's method from the root of a rational function that agrees with it to
    second order in e; convex while t < 2.
    """
    planes, ny = predicted.shape[0], predicted.shape[1]
    fidelity = primal = change = split_norm = dual_norm = 0.0
    for i in range(planes):
        for j in range(ny):
            p, u, phi, w = predicted[i, j], state[first + i, j], measured[first + i, j], weight[first + i, j]
            zero = p[0] - p[0]
            f_row = s_row = zero
            begin, end = weighted_span(w, nz)
            p_row, c_row, z_row = _follow(p[:begin], u[:begin], phi[:begin], relaxation)
            p_after, c_after, z_after = _follow(p[end:nz], u[end:nz], phi[end:nz], relaxation)
            p, u, phi, w = p[begin:end], u[begin:end], phi[begin:end], w[begin:end]
            for k in range(end - begin):
                residual = p[k] - phi[k]
                threshold = w[k] / penalty
                d_old, s_old = _unpack(u[k], threshold)
                e_old = d_old - _turns(d_old)
                sine, cosine = sine_cosine(_HALF * e_old)
                # On a whole turn the cosine is one and the stored dual stands; elsewhere it is ± t, to be scaled.
                r = d_old + relaxation * (residual - d_old) + s_old * cosine
                turn = _turns(r)
                size = abs(r - turn)
                excess = max(size - threshold, zero)
                e = min(excess / max(_ONE - _EIGHTH * threshold * excess, _HALF), _HALF_TURN)
                for _ in range(NEWTON_STEPS_SINGLE):
                    sine, cosine = sine_cosine(_HALF * e)
                    slope = max(_ONE - _HALF * threshold * sine, _SLOPE_FLOOR)
                    e -= min(max((threshold * cosine + e - size) / slope, -_ONE), _ONE)
                    e = max(e, zero)
                e = e if size > threshold else zero
                sign = -_ONE if r < turn else _ONE
                new = turn + sign * e
                s = sign * (size - e)
                sine, cosine = sine_cosine(_HALF * residual)
                f_row += w[k] * abs(sine)
                p_row += (residual - new) * (residual - new)
                c_row += (new - d_old) * (new - d_old)
                z_row += (phi[k] + new) * (phi[k] + new)
                s_row += s * s
                u[k] = _pack(turn, e, sign, threshold) if size > threshold else r
                p[k] = phi[k] + new - s
            fidelity += f_row
            primal += p_row + p_after
            change += c_row + c_after
            split_norm += z_row + z_after
            dual_norm += s_row
    return 2.0 * fidelity, primal, change, split_norm, dual_norm


@kernel
def chord_step_double(
    predicted: NDArray,
    state: NDArray,
    measured: NDArray,
    weight: NDArray,
    first: int,
    nz: int,
    penalty: Scalar,
    relaxation: Scalar,
) -> Sums:
    """The same in double precision, every voxel iterated until Newton's step vanishes."""
    planes, ny = predicted.shape[0], predicted.shape[1]
    whole = 2.0 * math.pi
    fidelity = primal = change = split_norm = dual_norm = 0.0
    for i in range(planes):
        for j in range(ny):
            for k in range(nz):
                phi, w = measured[first + i, j, k], weight[first + i, j, k]
                residual = predicted[i, j, k] - phi
                threshold = w / penalty
                contraction = max(1.0 - threshold / math.pi, 1e-12)
                stored = state[first + i, j, k]
                turn = whole * np.rint(stored / whole)
                s_old = _clip(stored - turn, threshold)
                e_old = (stored - turn - s_old) / contraction
                d_old = turn + e_old
                r = d_old + relaxation * (residual - d_old) + s_old * math.cos(0.5 * e_old)
                turn = whole * np.rint(r / whole)
                size = abs(r - turn)
                sign = -1.0 if r < turn else 1.0
                e = 0.0
                if size > threshold:
                    e = size - threshold
                    for _ in range(NEWTON_STEPS_DOUBLE):
                        slope = max(1.0 - 0.5 * threshold * math.sin(0.5 * e), 0.1)
                        step = min(max((threshold * math.cos(0.5 * e) + e - size) / slope, -1.0), 1.0)
                        e -= step
                        if abs(step) <= 1e-15 * (1.0 + e):
                            break
                new, s = turn + sign * e, sign * (size - e)
                fidelity += w * abs(math.sin(0.5 * residual))
                primal += (residual - new) ** 2
                change += (new - d_old) ** 2
                split_norm += (phi + new) ** 2
                dual_norm += s * s
                state[first + i, j, k] = turn + sign * (threshold + e * contraction) if size > threshold else r
                predicted[i, j, k] = phi + new - s
    return 2.0 * fidelity, primal, change, split_norm, dual_norm
