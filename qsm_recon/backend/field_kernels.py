"""Fused kernels on the field: the proximal step of a data fidelity and its dual update in one pass.

The splitting is z ≈ D χ.  At the optimum of the step the dual follows from z alone, so z is the whole state:
mu s = W² (z - φ) for the quadratic fidelity and W² sin(z - φ) for the nonlinear one.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.jit import inline, kernel
from qsm_recon.backend.trigonometry import sine_cosine

Scalar = np.floating
Sums = tuple[float, float, float, float, float]

_HALF = np.float32(0.5)
_ONE = np.float32(1.0)
_TWO = np.float32(2.0)
_SLOPE_FLOOR = np.float32(0.1)
_DAMPING = np.float32(0.6)
FURTHER_STEPS_SINGLE = 1  # after a first one whose sine is at hand
NEWTON_STEPS_DOUBLE = 100


@inline
def _bounded_step(value: Scalar, slope: Scalar, largest: Scalar) -> Scalar:
    """Newton's step value / slope, kept safe where the slope is small or negative."""
    return min(max(value / max(slope, _SLOPE_FLOOR), -largest), largest)


@inline
def _curved_step(value: Scalar, slope: Scalar, curvature: Scalar) -> Scalar:
    """Halley's step, of third order, bounded by one radian: Newton's, corrected for the second derivative."""
    newton = _bounded_step(value, slope, _ONE)
    correction = _ONE - _HALF * newton * curvature / max(slope, _SLOPE_FLOOR)
    return min(max(newton / min(max(correction, _HALF), _TWO), -_ONE), _ONE)


@kernel
def quadratic_step(
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
    """Step of ½‖W (z - φ)‖² on a block of planes that starts at ``first``.

    Parameters
    ----------
    predicted
        (planes, ny, stride) D χ; replaced by z - s.
    split
        (nx, ny, stride) z, updated.
    measured
        (nx, ny, stride) local field φ.
    weight
        (nx, ny, stride) W².
    dual_scale
        1 / mu of the iteration before; 0 where the dual is still zero.
    penalty
        mu of this iteration.
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
            p, z, phi, w = predicted[i, j], split[first + i, j], measured[first + i, j], weight[first + i, j]
            zero = p[0] - p[0]
            f_row = p_row = c_row = z_row = s_row = zero
            for k in range(nz):
                field = p[k]
                old = z[k]
                q = old + relaxation * (field - old) + dual_scale * w[k] * (old - phi[k])
                new = (w[k] * phi[k] + penalty * q) / (w[k] + penalty)
                s = q - new
                f_row += w[k] * (field - phi[k]) * (field - phi[k])
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
    return 0.5 * fidelity, primal, change, split_norm, dual_norm


@inline
def weighted_span(weight: NDArray, nz: int) -> tuple[int, int]:
    """Where the weights of a row that are not zero begin and end (exclusive): what lies outside needs no sines."""
    begin, end = 0, nz
    while begin < nz and weight[begin] == 0:
        begin += 1
    while end > begin and weight[end - 1] == 0:
        end -= 1
    return begin, end


@inline
def _follow(p: NDArray, z: NDArray, relaxation: Scalar) -> tuple[Scalar, Scalar, Scalar]:
    """Step of voxels without weight: z is the relaxed D χ, s = 0; returns |D χ - z|², |z - z_old|² and |z|²."""
    zero = relaxation - relaxation
    primal = change = norm = zero
    for k in range(p.size):
        new = z[k] + relaxation * (p[k] - z[k])
        primal += (p[k] - new) * (p[k] - new)
        change += (new - z[k]) * (new - z[k])
        norm += new * new
        z[k] = new
        p[k] = new
    return primal, change, norm


@kernel
def nonlinear_step_single(
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
    """Step of ½‖W (exp(iz) - exp(iφ))‖² in single precision; arguments as in :func:`quadratic_step`, in rad.

    Halley's method on g(d) = a sin d + d - r with d = z - φ, a = W²/mu and r = q - φ, started from the z of the
    iteration before: at the fixed point of the outer loop it is exact however few steps are taken.  Slopes are kept
    above a floor and steps below one radian, so that a voxel in a wrap (a > 1, cos d < 0) moves on without jumping.

    Beyond 60 degrees the fidelity is hardly convex, and over-relaxed exact steps oscillate for ever.  There one step
    with the largest slope, 1 + a, is taken from z, under-relaxed; its fixed points are the same.  Without
    over-relaxation the steps are exact everywhere, as published.
    """
    planes, ny = predicted.shape[0], predicted.shape[1]
    one = _HALF + _HALF
    published = relaxation == one
    inverse_penalty = one / penalty
    fidelity = primal = change = split_norm = dual_norm = 0.0
    for i in range(planes):
        for j in range(ny):
            p, z, phi, w = predicted[i, j], split[first + i, j], measured[first + i, j], weight[first + i, j]
            zero = p[0] - p[0]
            f_row = s_row = zero
            begin, end = weighted_span(w, nz)
            p_row, c_row, z_row = _follow(p[:begin], z[:begin], relaxation)
            p_after, c_after, z_after = _follow(p[end:nz], z[end:nz], relaxation)
            p, z, phi, w = p[begin:end], z[begin:end], phi[begin:end], w[begin:end]
            for k in range(end - begin):
                field = p[k]
                old = z[k]
                a = w[k] * inverse_penalty
                sine, cosine = sine_cosine(old - phi[k])
                convex = published or cosine > _HALF
                start = old - phi[k]
                factor = relaxation if convex or a == 0 else _DAMPING  # without weight φ must not matter
                r = start + factor * (field - old) + dual_scale * w[k] * sine
                residual = a * sine + start - r
                d = start - _curved_step(residual, a * cosine + one, -a * sine)
                for _ in range(FURTHER_STEPS_SINGLE):
                    sine, cosine = sine_cosine(d)
                    d -= _curved_step(a * sine + d - r, a * cosine + one, -a * sine)
                d = d if convex else start - residual / (one + a)
                new = phi[k] + d
                s = r - d
                sine, cosine = sine_cosine(_HALF * (field - phi[k]))
                f_row += w[k] * sine * sine
                p_row += (field - new) * (field - new)
                c_row += (new - old) * (new - old)
                z_row += new * new
                s_row += s * s
                z[k] = new
                p[k] = new - s
            fidelity += f_row
            primal += p_row + p_after
            change += c_row + c_after
            split_norm += z_row + z_after
            dual_norm += s_row
    return 2.0 * fidelity, primal, change, split_norm, dual_norm


@kernel
def nonlinear_step_double(
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
    """The same in double precision, every voxel iterated until Newton's step vanishes: for parity tests."""
    planes, ny = predicted.shape[0], predicted.shape[1]
    published = relaxation == 1.0
    fidelity = primal = change = split_norm = dual_norm = 0.0
    for i in range(planes):
        for j in range(ny):
            for k in range(nz):
                field, old = predicted[i, j, k], split[first + i, j, k]
                phi, w = measured[first + i, j, k], weight[first + i, j, k]
                a = w / penalty
                start = old - phi
                convex = published or math.cos(start) > 0.5
                factor = relaxation if convex or a == 0 else 0.6
                r = start + factor * (field - old) + dual_scale * w * math.sin(start)
                d = start
                if convex:
                    for _ in range(NEWTON_STEPS_DOUBLE):
                        step = _bounded_step(a * math.sin(d) + d - r, a * math.cos(d) + 1.0, 1.0)
                        d -= step
                        if abs(step) <= 1e-15 * (1.0 + abs(d)):
                            break
                else:
                    d -= (a * math.sin(d) + d - r) / (1.0 + a)
                new, s = phi + d, r - d
                fidelity += w * math.sin(0.5 * (field - phi)) ** 2
                primal += (field - new) ** 2
                change += (new - old) ** 2
                split_norm += new * new
                dual_norm += s * s
                split[first + i, j, k] = new
                predicted[i, j, k] = new - s
    return 2.0 * fidelity, primal, change, split_norm, dual_norm


@kernel
def masked_decay_step(
    predicted: NDArray,
    split: NDArray,
    mask: NDArray,
    first: int,
    nz: int,
    ratio: Scalar,
    relaxation: Scalar,
) -> Sums:
    """Step of ½ beta ‖M z‖² on a block of planes: z shrinks by 1 + beta/mu inside the mask and is free outside.

    Parameters
    ----------
    predicted
        (planes, ny, stride) what z is split from; replaced by z - s.
    split
        (nx, ny, stride) z, updated; the dual is ratio · M · z.
    mask
        (nx, ny, stride) M, 0 or 1.
    first, nz, relaxation
        As in :func:`quadratic_step`.
    ratio
        beta / mu.

    Returns
    -------
    tuple of float
        Sums of M |predicted|², |predicted - z|², |z - z_old|², |z|² and |s|².
    """
    planes, ny = predicted.shape[0], predicted.shape[1]
    one = relaxation / relaxation
    energy = primal = change = split_norm = dual_norm = 0.0
    for i in range(planes):
        for j in range(ny):
            p, z, m = predicted[i, j], split[first + i, j], mask[first + i, j]
            zero = p[0] - p[0]
            e_row = p_row = c_row = z_row = s_row = zero
            for k in range(nz):
                old, given, factor = z[k], p[k], ratio * m[k]
                q = old + relaxation * (given - old) + factor * old
                new = q / (one + factor)
                s = q - new
                e_row += m[k] * given * given
                p_row += (given - new) * (given - new)
                c_row += (new - old) * (new - old)
                z_row += new * new
                s_row += s * s
                z[k] = new
                p[k] = new - s
            energy += e_row
            primal += p_row
            change += c_row
            split_norm += z_row
            dual_norm += s_row
    return energy, primal, change, split_norm, dual_norm
