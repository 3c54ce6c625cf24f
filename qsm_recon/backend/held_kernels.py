"""Fused kernels of fidelities of phase that hold on to the turn they are in: the linear ones beyond one radian."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.jit import inline, kernel

Scalar = np.floating
Sums = tuple[float, float, float, float, float]

LIMIT = np.float32(1.0)
NEWTON_STEPS = 6
_HALF = np.float32(0.5)
# Whole numbers of single precision are exact, and give fractions of the precision of what they divide.
_FACTORIALS = tuple(np.float32(f) for f in (2, 6, 24, 120, 720, 5040, 40320, 362880, 3628800, 39916800, 479001600))
F2, F3, F4, F5, F6, F7, F8, F9, F10, F11, F12 = _FACTORIALS


@inline
def _cosine(x: Scalar, one: Scalar) -> Scalar:
    """Return cos(x) for |x| ≤ ½: the first terms of its series."""
    q = x * x
    return one - q * (one / F2 - q * (one / F4 - q * (one / F6 - q * (one / F8 - q * (one / F10 - q * (one / F12))))))


@inline
def _sine(x: Scalar, one: Scalar) -> Scalar:
    """Return sin(x) for |x| ≤ ½."""
    q = x * x
    return x * (one - q * (one / F3 - q * (one / F5 - q * (one / F7 - q * (one / F9 - q * (one / F11))))))


@kernel
def held_step(
    predicted: NDArray,
    state: NDArray,
    measured: NDArray,
    weight: NDArray,
    first: int,
    nz: int,
    penalty: Scalar,
    relaxation: Scalar,
) -> Sums:
    """Step of Σ W g(z - φ) on a block of planes, in rad; as :func:`qsm_recon.backend.l1_kernels.absolute_step`.

    g(d) = 2 |sin(d/2)| up to |d| = :data:`LIMIT`, and rises with slope 1 beyond.  The pull of a residual then lies
    between 0.88 and 1, that of |d|.

    With r the argument of the step and t its threshold, z is φ where |r| ≤ t; up to the limit |d| = e solves
    t cos(e/2) + e = |r|; beyond it is |r| - t, but no less than the limit.  Where z is not φ, sign(r) (t + e) is stored
    up to the limit, and |r| grows on from there beyond.
    """
    planes, ny = predicted.shape[0], predicted.shape[1]
    fidelity = primal = change = split_norm = dual_norm = 0.0
    for i in range(planes):
        for j in range(ny):
            p, u, phi, w = predicted[i, j], state[first + i, j], measured[first + i, j], weight[first + i, j]
            zero = p[0] - p[0]
            one = zero + LIMIT
            limit, half = one * LIMIT, one * _HALF
            end_cosine = _cosine(half * limit, one)
            f_row = p_row = c_row = z_row = s_row = zero
            for k in range(nz):
                residual = p[k] - phi[k]
                threshold = w[k] / penalty
                bend = limit + threshold * end_cosine
                beyond = abs(u[k]) - threshold
                e_old = min(max(beyond, zero), limit)
                size_old = e_old + threshold * _cosine(half * e_old, one)
                if beyond > limit:
                    size_old = beyond - limit + bend
                    e_old = max(limit, size_old - threshold)
                s_old = size_old - e_old if beyond > zero else abs(u[k])
                side = -one if u[k] < zero else one
                d_old = side * e_old
                r = d_old + relaxation * (residual - d_old) + side * s_old
                size = abs(r)
                e = min(max(size - threshold, zero), limit)
                for _ in range(NEWTON_STEPS):
                    slope = max(one - half * threshold * _sine(half * e, one), half * half * half)
                    e = min(max(e - (threshold * _cosine(half * e, one) + e - size) / slope, zero), limit)
                stored = threshold + e
                if size > bend:
                    e = max(limit, size - threshold)
                    stored = threshold + limit + size - bend
                if size <= threshold:
                    e, stored = zero, size
                side = -one if r < zero else one
                d, s = side * e, side * (size - e)
                distance = abs(residual)
                near = min(distance, limit)
                f_row += w[k] * (_sine(half * near, one) / half + (distance - near))
                p_row += (residual - d) * (residual - d)
                c_row += (d - d_old) * (d - d_old)
                z_row += (phi[k] + d) * (phi[k] + d)
                s_row += s * s
                u[k] = side * stored
                p[k] = phi[k] + d - s
            fidelity += f_row
            primal += p_row
            change += c_row
            split_norm += z_row
            dual_norm += s_row
    return fidelity, primal, change, split_norm, dual_norm


@kernel
def held_square_step(
    predicted: NDArray,
    split: NDArray,
    measured: NDArray,
    weight: NDArray,
    first: int,
    nz: int,
    dual_scale: Scalar,
    penalty: Scalar,
    relaxation: Scalar,
) -> Sums:
    """Step of Σ W² g(z - φ), in rad; arguments as for :func:`qsm_recon.backend.field_kernels.quadratic_step`.

    g(d) = 1 - cos d up to |d| = :data:`LIMIT`; beyond, its slope rises as that of ½ d².  It is convex.
    """
    planes, ny = predicted.shape[0], predicted.shape[1]
    fidelity = primal = change = split_norm = dual_norm = 0.0
    for i in range(planes):
        for j in range(ny):
            p, z, phi, w = predicted[i, j], split[first + i, j], measured[first + i, j], weight[first + i, j]
            zero = p[0] - p[0]
            one = zero + LIMIT
            limit, half = one * LIMIT, one * _HALF
            two = one + one
            end_slope = two * _sine(half * limit, one) * _cosine(half * limit, one)
            f_row = p_row = c_row = z_row = s_row = zero
            for k in range(nz):
                field, old = p[k], z[k]
                a = w[k] / penalty
                start = old - phi[k]
                near = min(max(start, -limit), limit)
                pull = two * _sine(half * near, one) * _cosine(half * near, one) + start - near
                r = start + relaxation * (field - old) + dual_scale * w[k] * pull
                size = abs(r)
                e = min(size / (one + a), limit)
                for _ in range(NEWTON_STEPS):
                    sine, cosine = _sine(half * e, one), _cosine(half * e, one)
                    step = a * two * sine * cosine + e - size
                    e = min(max(e - step / (one + a * (one - two * sine * sine)), zero), limit)
                bend = limit + a * end_slope
                if size > bend:
                    e = limit + (size - bend) / (one + a)
                d = -e if r < zero else e
                new = phi[k] + d
                s = r - d
                distance = abs(field - phi[k])
                inner = min(distance, limit)
                outer = distance - inner
                sine = _sine(half * inner, one)
                f_row += w[k] * (two * sine * sine + outer * (end_slope + half * outer))
                p_row += (field - new) * (field - new)
                c_row += (new - old) * (new - old)
                z_row += new * new
                s_row += s * s
                z[k] = new
                p[k] = new - s
            fidelity += f_row
            primal += p_row
            change += c_row
            split_norm += z_row
            dual_norm += s_row
    return fidelity, primal, change, split_norm, dual_norm
