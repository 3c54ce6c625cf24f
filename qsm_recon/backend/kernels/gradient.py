"""Fused kernels on the image gradient: forward differences, shrinkage, dual update and divergence in one pass.

State of a splitting z ≈ ∇χ with scaled dual s is kept as one array u = ∇χ + s: for total variation z = u - clip(u, ±t)
and s = clip(u, ±t) for the threshold t.  Arrays have the layout of :class:`qsm_recon.backend.fft.FourierTransform`;
differences are periodic on the (padded) grid.

The sweeps take two scalar functions, so that another function of the gradient's components than their size needs no
loop of its own: ``dual(u, t, numbers)`` is s, what the proximal map of t f takes away from u, and ``size(d, numbers)``
is f.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.jit import inline, kernel
from qsm_recon.backend.scalars import limited

Scalar = np.floating
Sums = tuple[float, float, float, float, float]


@inline
def clipped(u: Scalar, threshold: Scalar, numbers: tuple[Scalar, ...]) -> Scalar:
    """Dual of the size of a number."""
    return limited(u, threshold)


@inline
def size_of(difference: Scalar, numbers: tuple[Scalar, ...]) -> Scalar:
    """Size of a number."""
    return abs(difference)


@inline
def incoming_sweep(
    dual: Callable,
    image: NDArray,
    u: NDArray,
    weights: NDArray,
    plane: int,
    inverse_spacing: Scalar,
    old_threshold: Scalar,
    new_threshold: Scalar,
    ratio: Scalar,
    relaxation: Scalar,
    numbers: tuple[Scalar, ...],
    out: NDArray,
) -> None:
    """Fill ``out`` with z - s of the x-differences that end on ``plane``, without changing the state.

    A slab of planes starts with these, because the slab before it is being updated at the same time.
    """
    nx, ny, nz = image.shape
    before = plane - 1 if plane > 0 else nx - 1
    n_weights = weights.shape[0]
    for j in range(ny):
        for k in range(nz):
            weight = weights[0, before, j, k] if n_weights > 0 else relaxation / relaxation
            difference = (image[plane, j, k] - image[before, j, k]) * inverse_spacing
            s_old = dual(u[0, before, j, k], old_threshold * weight, numbers)
            z_old = u[0, before, j, k] - s_old
            new = z_old + relaxation * (difference - z_old) + ratio * s_old
            s = dual(new, new_threshold * weight, numbers)
            out[j, k] = new - s - s


@inline
def gradient_sweep(
    dual: Callable,
    size: Callable,
    image: NDArray,
    u: NDArray,
    weights: NDArray,
    first: int,
    last: int,
    nz: int,
    inverse_spacing: tuple[Scalar, Scalar, Scalar],
    old_threshold: Scalar,
    new_threshold: Scalar,
    ratio: Scalar,
    relaxation: Scalar,
    numbers: tuple[Scalar, ...],
    carried: NDArray,
    next_image: NDArray,
    out: NDArray,
) -> Sums:
    """One ADMM step of the gradient splitting on planes ``first`` to ``last`` (exclusive).

    Parameters
    ----------
    dual, size
        See above.
    image
        (nx, ny, stride) susceptibility.
    u
        (3, nx, ny, stride) state, updated.
    weights
        (0 | 1 | 3, nx, ny, stride) regularisation weights: none, one for all components, one for each.
    nz
        Number of voxels that count along the last axis.
    inverse_spacing
        1 / voxel size along the axes.
    old_threshold, new_threshold
        alpha / mu before and after a change of the penalty mu; ``ratio`` is mu before / mu after.
    relaxation
        Over-relaxation factor, 1 for none.
    numbers
        Handed to the two functions.
    carried
        (ny, stride) z - s of the x-differences that end on plane ``first``; replaced by those that end on ``last``.
    next_image
        (ny, stride) plane ``last`` of the image (of plane 0 where that is beyond the end).
    out
        (last - first, ny, stride) receives ∇ᵀ(z - s).

    Returns
    -------
    tuple of float
        Sums over the planes of w f(∇χ), |∇χ - z|², |z - z_old|², |z|² and |s|².
    """
    ny = image.shape[1]
    stride = image.shape[2]
    n_weights = weights.shape[0]
    hx, hy, hz = inverse_spacing
    ones = np.ones(stride, image.dtype)
    along_y = np.empty(stride, image.dtype)
    along_z = np.empty(stride, image.dtype)
    total_variation = primal = dual_change = split_norm = dual_norm = 0.0
    for i in range(first, last):
        # The y-differences that end on row 0 start on the last row: its state is updated further down.
        for k in range(nz):
            weight = weights[n_weights // 3, i, ny - 1, k] if n_weights > 0 else ones[k]
            difference = (image[i, 0, k] - image[i, ny - 1, k]) * hy
            s_old = dual(u[1, i, ny - 1, k], old_threshold * weight, numbers)
            z_old = u[1, i, ny - 1, k] - s_old
            new = z_old + relaxation * (difference - z_old) + ratio * s_old
            s = dual(new, new_threshold * weight, numbers)
            along_y[k] = new - s - s
        for j in range(ny):
            row = image[i, j]
            row_x = image[i + 1, j] if i + 1 < last else next_image[j]
            row_y = image[i, j + 1] if j + 1 < ny else image[i, 0]
            ux, uy, uz = u[0, i, j], u[1, i, j], u[2, i, j]
            wx = weights[0, i, j] if n_weights > 0 else ones
            wy = weights[1, i, j] if n_weights > 1 else wx
            wz = weights[2, i, j] if n_weights > 1 else wx
            carried_row = carried[j]
            target = out[i - first, j]
            edge = (row[0] - row[nz - 1]) * hz
            zero = edge - edge
            tv_row = primal_row = change_row = split_row = dual_row = zero
            for k in range(nz):
                dx = (row_x[k] - row[k]) * hx
                dy = (row_y[k] - row[k]) * hy
                dz = (row[k + 1] - row[k]) * hz if k < nz - 1 else edge

                threshold = old_threshold * wx[k]
                s_old = dual(ux[k], threshold, numbers)
                z_old = ux[k] - s_old
                new = z_old + relaxation * (dx - z_old) + ratio * s_old
                s = dual(new, new_threshold * wx[k], numbers)
                z = new - s
                ux[k] = new
                signed_x = z - s
                tv_row += wx[k] * size(dx, numbers)
                primal_row += (dx - z) * (dx - z)
                change_row += (z - z_old) * (z - z_old)
                split_row += z * z
                dual_row += s * s

                threshold = old_threshold * wy[k]
                s_old = dual(uy[k], threshold, numbers)
                z_old = uy[k] - s_old
                new = z_old + relaxation * (dy - z_old) + ratio * s_old
                s = dual(new, new_threshold * wy[k], numbers)
                z = new - s
                uy[k] = new
                signed_y = z - s
                tv_row += wy[k] * size(dy, numbers)
                primal_row += (dy - z) * (dy - z)
                change_row += (z - z_old) * (z - z_old)
                split_row += z * z
                dual_row += s * s

                threshold = old_threshold * wz[k]
                s_old = dual(uz[k], threshold, numbers)
                z_old = uz[k] - s_old
                new = z_old + relaxation * (dz - z_old) + ratio * s_old
                s = dual(new, new_threshold * wz[k], numbers)
                z = new - s
                uz[k] = new
                along_z[k] = (z - s) * hz
                tv_row += wz[k] * size(dz, numbers)
                primal_row += (dz - z) * (dz - z)
                change_row += (z - z_old) * (z - z_old)
                split_row += z * z
                dual_row += s * s

                target[k] = (carried_row[k] - signed_x) * hx + (along_y[k] - signed_y) * hy
                carried_row[k] = signed_x
                along_y[k] = signed_y
            target[0] += along_z[nz - 1] - along_z[0]
            for k in range(1, nz):
                target[k] += along_z[k - 1] - along_z[k]
            total_variation += tv_row
            primal += primal_row
            dual_change += change_row
            split_norm += split_row
            dual_norm += dual_row
    return total_variation, primal, dual_change, split_norm, dual_norm


@kernel
def incoming_differences(
    image: NDArray,
    u: NDArray,
    weights: NDArray,
    plane: int,
    inverse_spacing: Scalar,
    old_threshold: Scalar,
    new_threshold: Scalar,
    ratio: Scalar,
    relaxation: Scalar,
    numbers: tuple[Scalar, ...],
    out: NDArray,
) -> None:
    """:func:`incoming_sweep` of total variation."""
    incoming_sweep(
        clipped, image, u, weights, plane, inverse_spacing, old_threshold, new_threshold, ratio, relaxation, numbers,
        out,
    )  # fmt: skip


@kernel
def shrink_gradient(
    image: NDArray,
    u: NDArray,
    weights: NDArray,
    first: int,
    last: int,
    nz: int,
    inverse_spacing: tuple[Scalar, Scalar, Scalar],
    old_threshold: Scalar,
    new_threshold: Scalar,
    ratio: Scalar,
    relaxation: Scalar,
    numbers: tuple[Scalar, ...],
    carried: NDArray,
    next_image: NDArray,
    out: NDArray,
) -> Sums:
    """:func:`gradient_sweep` of total variation."""
    return gradient_sweep(
        clipped, size_of, image, u, weights, first, last, nz, inverse_spacing, old_threshold, new_threshold, ratio,
        relaxation, numbers, carried, next_image, out,
    )  # fmt: skip
