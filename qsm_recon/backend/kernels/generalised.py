"""Fused kernels of second-order total generalised variation, and its share of the solve in k-space.

Splittings are z1 ≈ ∇χ - v (three components) and z0 ≈ ε(v), the symmetrised gradient (xx, yy, zz, xy, xz, yz).  As
in :mod:`qsm_recon.backend.kernels.gradient` the state of each is u = d + s.  Off-diagonal components count twice in
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
def _forward(
    here: NDArray, beyond: NDArray, j: int, direction: int, inverse_spacing: Scalar, nz: int, out: NDArray
) -> None:
    """Periodic forward differences of row ``j`` of a plane along x (to the plane beyond), y or z."""
    if direction == 0:
        for k in range(nz):
            out[k] = (beyond[j, k] - here[j, k]) * inverse_spacing
    elif direction == 1:
        beside = j + 1 if j + 1 < here.shape[0] else 0
        for k in range(nz):
            out[k] = (here[beside, k] - here[j, k]) * inverse_spacing
    else:
        for k in range(nz - 1):
            out[k] = (here[j, k + 1] - here[j, k]) * inverse_spacing
        out[nz - 1] = (here[j, 0] - here[j, nz - 1]) * inverse_spacing


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
    vector_beyond: NDArray,
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
    """Shrinkage and dual updates of both splittings on one plane, component by component.

    Parameters
    ----------
    image
        (nx, ny, stride) χ.
    vector, vector_beyond
        (3, ny, stride) v of the plane, and of the one beyond it.
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
    half = inverse_spacing[0] / (inverse_spacing[0] + inverse_spacing[0])
    beyond = plane + 1 if plane + 1 < nx else 0
    ones = np.ones((1, stride), image.dtype)
    kept = np.empty(stride, image.dtype)
    difference = np.empty(stride, image.dtype)
    other = np.empty(stride, image.dtype)
    for component in range(3):
        v = vector[component]
        state = u1[component, plane]
        weight = ones if n_weights == 0 else weights[component if n_weights == 3 else 0, plane]
        for j in range(ny):
            _forward(image[plane], image[beyond], j, component, inverse_spacing[component], nz, difference)
            for k in range(nz):
                difference[k] -= v[j, k]
            if not update:
                kept[:] = state[j]
            u = state[j] if update else kept
            row = shrink_row(difference, u, weight[0 if n_weights == 0 else j], nz, first_order, signed[component, j])
            if update:
                for q in range(5):
                    sums[0, q] += row[q]
    for component in range(6):
        # xx yy zz xy xz yz: ½ (D_a v_b + D_b v_a)
        a = component if component < 3 else (0 if component < 5 else 1)
        b = component if component < 3 else (1 if component == 3 else 2)
        va, va_beyond, vb, vb_beyond = vector[a], vector_beyond[a], vector[b], vector_beyond[b]
        ha, hb = inverse_spacing[a], inverse_spacing[b]
        twice = 1.0 if a == b else 2.0
        state = u0[component, plane]
        out = signed[3 + component]
        for j in range(ny):
            _forward(vb, vb_beyond, j, a, ha, nz, difference)
            if a != b:
                _forward(va, va_beyond, j, b, hb, nz, other)
                for k in range(nz):
                    difference[k] = half * (difference[k] + other[k])
            if not update:
                kept[:] = state[j]
            u = state[j] if update else kept
            row = shrink_row(difference, u, ones[0], nz, second_order, out[j])
            if update:
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


@inline
def _recover_component(
    values: NDArray,
    chi: NDArray,
    dot: NDArray,
    inverse: NDArray,
    real: NDArray,
    imag: NDArray,
    half: int,
    penalty: Scalar,
    scale: Scalar,
) -> None:
    """Replace one component r by (r + mu1 e χ - e · dot) · inverse on a row; pairs of real numbers."""
    for k in range(half):
        m, n = 2 * k, 2 * k + 1
        a, b = penalty * chi[m] - dot[m], penalty * chi[n] - dot[n]
        first, second = values[m] * scale, values[n] * scale
        values[m] = inverse[k] * (first + real[k] * a - imag[k] * b)
        values[n] = inverse[k] * (second + real[k] * b + imag[k] * a)


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

    With a = r + mu1 e χ it is v = (a - e · ½ mu0 eᴴa / (mu1 + mu0 L)) / (mu1 + ½ mu0 L).  In pairs of real numbers, and
    in loops that write to one array each: larger ones a compiler does not turn into vector instructions.
    """
    real = symbol_x.real.dtype.type
    one, two = real(1), real(2)
    half_penalty = second_penalty / two
    numbers = spectra.view(symbol_x.real.dtype)
    inverse, dot = np.empty(half, numbers.dtype), np.empty(2 * half, numbers.dtype)
    x_real, x_imag, y_real, y_imag, z_real, z_imag = np.empty((6, half), numbers.dtype)
    for k in range(half):
        z_real[k], z_imag[k] = symbol_z[k].real, symbol_z[k].imag
    for i in range(spectra.shape[1]):
        x_real[:], x_imag[:] = symbol_x[i].real, symbol_x[i].imag
        for j in range(first, last):
            y_real[:], y_imag[:] = symbol_y[j].real, symbol_y[j].imag
            chi, rx, ry, rz = numbers[0, i, j], numbers[1, i, j], numbers[2, i, j], numbers[3, i, j]
            xr, xi, yr, yi = symbol_x[i].real, symbol_x[i].imag, symbol_y[j].real, symbol_y[j].imag
            plane_symbol = xr * xr + xi * xi + yr * yr + yi * yi
            for k in range(half):
                total = plane_symbol + z_real[k] * z_real[k] + z_imag[k] * z_imag[k]
                inverse[k] = one / (first_penalty + half_penalty * total)
            for k in range(half):
                m, n = 2 * k, 2 * k + 1
                zr, zi = z_real[k], z_imag[k]
                total = plane_symbol + zr * zr + zi * zi
                share = half_penalty / (first_penalty + second_penalty * total)
                # eᴴ a, whose second part is mu1 L χ.
                ar = scale * (xr * rx[m] + xi * rx[n] + yr * ry[m] + yi * ry[n] + zr * rz[m] + zi * rz[n])
                ai = scale * (xr * rx[n] - xi * rx[m] + yr * ry[n] - yi * ry[m] + zr * rz[n] - zi * rz[m])
                dot[m] = share * (ar + first_penalty * total * chi[m])
                dot[n] = share * (ai + first_penalty * total * chi[n])
            _recover_component(rx, chi, dot, inverse, x_real, x_imag, half, first_penalty, scale)
            _recover_component(ry, chi, dot, inverse, y_real, y_imag, half, first_penalty, scale)
            _recover_component(rz, chi, dot, inverse, z_real, z_imag, half, first_penalty, scale)
