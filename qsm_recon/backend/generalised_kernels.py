"""Fused kernels of second-order total generalised variation, and its share of the solve in k-space.

Splittings are z1 ≈ ∇χ - v (three components) and z0 ≈ ε(v), the symmetrised gradient (xx, yy, zz, xy, xz, yz).  As
in :mod:`qsm_recon.backend.gradient_kernels` the state of each is u = d + s.  Off-diagonal components count twice in
norms and inner products, so the adjoint of ε has no factor ½ and one threshold serves all six.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.jit import inline, kernel

Scalar = np.floating
Settings = tuple[Scalar, Scalar, Scalar, Scalar]
RowSums = tuple[float, float, float, float, float]


@inline
def _clip(value: Scalar, limit: Scalar) -> Scalar:
    return min(max(value, -limit), limit)


@inline
def _forward(here: NDArray, beyond: NDArray, inverse_spacing: Scalar, nz: int, out: NDArray) -> None:
    for k in range(nz):
        out[k] = (beyond[k] - here[k]) * inverse_spacing


@inline
def _forward_along(row: NDArray, inverse_spacing: Scalar, nz: int, out: NDArray) -> None:
    for k in range(nz - 1):
        out[k] = (row[k + 1] - row[k]) * inverse_spacing
    out[nz - 1] = (row[0] - row[nz - 1]) * inverse_spacing


@kernel
def shrink_row(
    difference: NDArray, u: NDArray, weight: NDArray, nz: int, settings: Settings, signed: NDArray
) -> RowSums:
    """Shrinkage and dual update of one component on one row of voxels.

    Parameters
    ----------
    difference
        Row of d.
    u
        Row of the state, updated.
    weight
        Row of voxel weights w on the threshold.
    nz
        Number of voxels that count.
    settings
        Threshold before and after a change of the penalty, penalty before / after (which rescales the dual), and the
        over-relaxation factor.
    signed
        Receives z - s.

    Returns
    -------
    tuple of float
        Sums of w|d|, |d - z|², |z - z_old|², |z|² and |s|².
    """
    old_threshold, new_threshold, ratio, relaxation = settings
    zero = difference[0] - difference[0]
    variation = primal = change = split_norm = dual_norm = zero
    for k in range(nz):
        d, w = difference[k], weight[k]
        s_old = _clip(u[k], old_threshold * w)
        z_old = u[k] - s_old
        new = z_old + relaxation * (d - z_old) + ratio * s_old
        s = _clip(new, new_threshold * w)
        z = new - s
        u[k] = new
        signed[k] = z - s
        variation += w * abs(d)
        primal += (d - z) * (d - z)
        change += (z - z_old) * (z - z_old)
        split_norm += z * z
        dual_norm += s * s
    return variation, primal, change, split_norm, dual_norm


@kernel
def shrink_plane(
    image: NDArray,
    vector: NDArray,
    u1: NDArray,
    u0: NDArray,
    weights: NDArray,
    plane: int,
    nz: int,
    inverse_spacing: tuple[Scalar, Scalar, Scalar],
    first_order: Settings,
    second_order: Settings,
    update: bool,
    signed: NDArray,
    sums: NDArray,
) -> None:
    """Shrinkage and dual updates of both splittings on one plane.

    Parameters
    ----------
    image
        (nx, ny, stride) χ.
    vector
        (3, nx, ny, stride) v.
    u1, u0
        (3 | 6, nx, ny, stride) states; changed only where ``update``.
    weights
        (0 | 1 | 3, nx, ny, stride) voxel weights on the first-order term.
    plane
        Which plane.
    nz
        Number of voxels that count along the last axis.
    inverse_spacing
        1 / voxel size along the axes.
    first_order, second_order
        See :func:`shrink_row`.
    update
        False leaves states and sums alone: for the plane before a slab, which belongs to another thread.
    signed
        (9, ny, stride) receives z1 - s1 (x, y, z) and z0 - s0 (xx, yy, zz, xy, xz, yz).
    sums
        (2, 5) float64, increased by the sums of :func:`shrink_row` of the two splittings.
    """
    nx, ny, stride = image.shape
    n_weights = weights.shape[0]
    hx, hy, hz = inverse_spacing
    half = hx / (hx + hx)
    beyond = plane + 1 if plane + 1 < nx else 0
    ones = np.ones(stride, image.dtype)
    difference = np.empty(stride, image.dtype)
    other = np.empty(stride, image.dtype)
    for j in range(ny):
        beside = j + 1 if j + 1 < ny else 0
        for component in range(3):
            weight = ones if n_weights == 0 else weights[component if n_weights == 3 else 0, plane, j]
            if component == 0:
                _forward(image[plane, j], image[beyond, j], hx, nz, difference)
            elif component == 1:
                _forward(image[plane, j], image[plane, beside], hy, nz, difference)
            else:
                _forward_along(image[plane, j], hz, nz, difference)
            v = vector[component, plane, j]
            for k in range(nz):
                difference[k] -= v[k]
            state = u1[component, plane, j] if update else u1[component, plane, j].copy()
            row = shrink_row(difference, state, weight, nz, first_order, signed[component, j])
            if update:
                for q in range(5):
                    sums[0, q] += row[q]
        for component in range(6):
            # xx yy zz xy xz yz: ½ (D_a v_b + D_b v_a)
            a = component if component < 3 else (0 if component < 5 else 1)
            b = component if component < 3 else (1 if component == 3 else 2)
            for turn in range(2 if component >= 3 else 1):
                along, of = (a, b) if turn == 0 else (b, a)
                target = difference if turn == 0 else other
                if along == 0:
                    _forward(vector[of, plane, j], vector[of, beyond, j], hx, nz, target)
                elif along == 1:
                    _forward(vector[of, plane, j], vector[of, plane, beside], hy, nz, target)
                else:
                    _forward_along(vector[of, plane, j], hz, nz, target)
            if component >= 3:
                for k in range(nz):
                    difference[k] = half * (difference[k] + other[k])
            state = u0[component, plane, j] if update else u0[component, plane, j].copy()
            row = shrink_row(difference, state, ones, nz, second_order, signed[3 + component, j])
            if update:
                twice = 1.0 if component < 3 else 2.0
                for q in range(5):
                    sums[1, q] += twice * row[q]


@kernel
def adjoint_plane(
    signed: NDArray,
    before: NDArray,
    nz: int,
    inverse_spacing: tuple[Scalar, Scalar, Scalar],
    first_penalty: Scalar,
    second_penalty: Scalar,
    out: NDArray,
) -> None:
    """Right-hand sides of one plane from z - s of that plane and of the plane before it.

    Parameters
    ----------
    signed, before
        (9, ny, stride) from :func:`shrink_plane`.
    nz, inverse_spacing
        As there.
    first_penalty, second_penalty
        mu1 and mu0.
    out
        (4, ny, stride) receives ∇ᵀ w1 and the three components of mu0 εᵀ w0 - mu1 w1, with w = z - s.
    """
    ny = signed.shape[1]
    hx, hy, hz = inverse_spacing
    for j in range(ny):
        above = j - 1 if j > 0 else ny - 1
        for target in range(4):
            # Components whose x-, y- and z-differences act on this target.
            if target == 0:
                x, y, z = 0, 1, 2
            elif target == 1:
                x, y, z = 3, 6, 7
            elif target == 2:
                x, y, z = 6, 4, 8
            else:
                x, y, z = 7, 8, 5
            row_x, old_x = signed[x, j], before[x, j]
            row_y, old_y = signed[y, j], signed[y, above]
            row_z, result = signed[z, j], out[target, j]
            result[0] = (row_z[nz - 1] - row_z[0]) * hz
            for k in range(1, nz):
                result[k] = (row_z[k - 1] - row_z[k]) * hz
            for k in range(nz):
                result[k] += (old_x[k] - row_x[k]) * hx + (old_y[k] - row_y[k]) * hy
            if target > 0:
                first = signed[target - 1, j]
                for k in range(nz):
                    result[k] = second_penalty * result[k] - first_penalty * first[k]


@kernel
def eliminate_vector(
    spectra: NDArray,
    symbol_x: NDArray,
    symbol_y: NDArray,
    symbol_z: NDArray,
    first: int,
    last: int,
    half: int,
    first_penalty: Scalar,
    second_penalty: Scalar,
) -> None:
    """Fold the right-hand side of v into that of χ, rows ``first`` to ``last``.

    With e the forward-difference symbols and L = |e|², the block of v is (mu1 + ½ mu0 L) I + ½ mu0 e eᴴ, whose inverse
    is known (Sherman and Morrison): χ then sees ∇ᵀw1 + eᴴ r / (mu1 + mu0 L) and the symbol mu1 mu0 L² / (mu1 + mu0 L).
    """
    for i in range(spectra.shape[1]):
        for j in range(first, last):
            ex, ey = symbol_x[i], symbol_y[j]
            plane_symbol = ex.real * ex.real + ex.imag * ex.imag + ey.real * ey.real + ey.imag * ey.imag
            g, rx, ry, rz = spectra[0, i, j], spectra[1, i, j], spectra[2, i, j], spectra[3, i, j]
            for k in range(half):
                ez = symbol_z[k]
                total = plane_symbol + ez.real * ez.real + ez.imag * ez.imag
                inner = ex.conjugate() * rx[k] + ey.conjugate() * ry[k] + ez.conjugate() * rz[k]
                g[k] += inner / (first_penalty + second_penalty * total)


@kernel
def recover_vector(
    spectra: NDArray,
    symbol_x: NDArray,
    symbol_y: NDArray,
    symbol_z: NDArray,
    first: int,
    last: int,
    half: int,
    first_penalty: Scalar,
    second_penalty: Scalar,
    scale: Scalar,
) -> None:
    """Replace the right-hand side of v by v, now that χ (already scaled) stands in the first spectrum.

    In real numbers throughout, a quarter faster than complex ones.
    """
    real = symbol_x.real.dtype.type
    one, two = real(1), real(2)
    half_penalty = second_penalty / two
    for i in range(spectra.shape[1]):
        for j in range(first, last):
            xr, xi, yr, yi = symbol_x[i].real, symbol_x[i].imag, symbol_y[j].real, symbol_y[j].imag
            plane_symbol = xr * xr + xi * xi + yr * yr + yi * yi
            chi, rx, ry, rz = spectra[0, i, j], spectra[1, i, j], spectra[2, i, j], spectra[3, i, j]
            for k in range(half):
                zr, zi = symbol_z[k].real, symbol_z[k].imag
                total = plane_symbol + zr * zr + zi * zi
                pr, pi = first_penalty * chi[k].real, first_penalty * chi[k].imag
                axr, axi = rx[k].real * scale + (pr * xr - pi * xi), rx[k].imag * scale + (pr * xi + pi * xr)
                ayr, ayi = ry[k].real * scale + (pr * yr - pi * yi), ry[k].imag * scale + (pr * yi + pi * yr)
                azr, azi = rz[k].real * scale + (pr * zr - pi * zi), rz[k].imag * scale + (pr * zi + pi * zr)
                share = half_penalty / (first_penalty + second_penalty * total)
                sr = share * (xr * axr + xi * axi + yr * ayr + yi * ayi + zr * azr + zi * azi)
                si = share * (xr * axi - xi * axr + yr * ayi - yi * ayr + zr * azi - zi * azr)
                inverse = one / (first_penalty + half_penalty * total)
                rx[k] = complex(inverse * (axr - xr * sr + xi * si), inverse * (axi - xr * si - xi * sr))
                ry[k] = complex(inverse * (ayr - yr * sr + yi * si), inverse * (ayi - yr * si - yi * sr))
                rz[k] = complex(inverse * (azr - zr * sr + zi * si), inverse * (azi - zr * si - zi * sr))
