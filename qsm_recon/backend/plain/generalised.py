"""Plain numpy for :mod:`qsm_recon.backend.kernels.generalised`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.plain.arrays import clip, square, total

Scalar = np.floating
Settings = tuple[Scalar, Scalar, Scalar, Scalar]
Spacing = tuple[Scalar, Scalar, Scalar]
OFF_DIAGONAL = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
"""Axes of the components xx, yy, zz, xy, xz, yz."""
DIVERGENCE = ((0, 1, 2), (3, 6, 7), (6, 4, 8), (7, 8, 5))
"""Components whose x-, y- and z-differences act on χ and on the three components of v."""


def shrink_row(
    difference: NDArray, u: NDArray, weight: NDArray, nz: int, settings: Settings, signed: NDArray
) -> tuple[float, ...]:
    """See the kernel; the arrays may have more axes before the one of the row."""
    old_threshold, new_threshold, ratio, relaxation = settings
    d, w, state = difference[..., :nz], weight[..., :nz], u[..., :nz]
    s_old = clip(state, old_threshold * w)
    z_old = state - s_old
    new = z_old + relaxation * (d - z_old) + ratio * s_old
    s = clip(new, new_threshold * w)
    z = new - s
    state[...] = new
    signed[..., :nz] = z - s
    return total(w * np.abs(d)), total(square(d - z)), total(square(z - z_old)), total(square(z)), total(square(s))


def _forward(here: NDArray, beyond: NDArray, axis: int, inverse_spacing: Scalar) -> NDArray:
    """Periodic forward differences of a plane along x (to the plane beyond), y or z."""
    ahead = beyond if axis == 0 else np.roll(here, -1, axis=axis - 1)
    return np.asarray((ahead - here) * inverse_spacing)


def shrink_plane(
    image: NDArray,
    vector: NDArray,
    vector_beyond: NDArray,
    u1: NDArray,
    u0: NDArray,
    weights: NDArray,
    plane: int,
    nz: int,
    inverse_spacing: Spacing,
    first_order: Settings,
    second_order: Settings,
    update: bool,
    signed: NDArray,
    sums: NDArray,
) -> None:
    """See the kernel."""
    beyond = plane + 1 if plane + 1 < image.shape[0] else 0
    ones = np.ones((), image.dtype)

    def shrink(difference: NDArray, state: NDArray, weight: NDArray, settings: Settings, component: int) -> NDArray:
        u = state[..., :nz] if update else state[..., :nz].copy()
        return np.array(shrink_row(difference, u, weight, nz, settings, signed[component]))

    here, next_plane = image[plane, :, :nz], image[beyond, :, :nz]
    for component in range(3):
        weight = np.broadcast_to(ones, here.shape)
        if weights.shape[0] > 0:
            weight = weights[component if weights.shape[0] == 3 else 0, plane]
        difference = _forward(here, next_plane, component, inverse_spacing[component])
        difference = difference - vector[component, :, :nz]
        row = shrink(difference, u1[component, plane], weight, first_order, component)
        if update:
            sums[0] += row
    v, v_beyond = vector[..., :nz], vector_beyond[..., :nz]
    for component, (a, b) in enumerate(OFF_DIAGONAL):
        difference = _forward(v[b], v_beyond[b], a, inverse_spacing[a])
        if a != b:
            difference = (difference + _forward(v[a], v_beyond[a], b, inverse_spacing[b])) * image.dtype.type(0.5)
        weight = np.broadcast_to(ones, here.shape)
        row = shrink(difference, u0[component, plane], weight, second_order, 3 + component)
        if update:
            sums[1] += row * (1.0 if a == b else 2.0)


def adjoint_plane(
    signed: NDArray,
    before: NDArray,
    nz: int,
    inverse_spacing: Spacing,
    first_penalty: Scalar,
    second_penalty: Scalar,
    out: NDArray,
) -> None:
    """See the kernel."""
    hx, hy, hz = inverse_spacing
    w, old = signed[..., :nz], before[..., :nz]
    for target, (x, y, z) in enumerate(DIVERGENCE):
        result = (np.roll(w[z], 1, axis=1) - w[z]) * hz + (old[x] - w[x]) * hx
        result = result + (np.roll(w[y], 1, axis=0) - w[y]) * hy
        if target > 0:
            result = second_penalty * result - first_penalty * w[target - 1]
        out[target, :, :nz] = result


def _symbols(
    symbol_x: NDArray, symbol_y: NDArray, symbol_z: NDArray, first: int, last: int, half: int
) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """The three symbols e, in shapes that fit each other, and |e|²."""
    ex, ey, ez = symbol_x[:, None, None], symbol_y[None, first:last, None], symbol_z[None, None, :half]
    return ex, ey, ez, square(ex) + square(ey) + square(ez)


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
    """See the kernel."""
    ex, ey, ez, power = _symbols(symbol_x, symbol_y, symbol_z, first, last, half)
    g, rx, ry, rz = spectra[:, :, first:last, :half]
    g += (ex.conj() * rx + ey.conj() * ry + ez.conj() * rz) / (first_penalty + second_penalty * power)


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
    """See the kernel."""
    ex, ey, ez, power = _symbols(symbol_x, symbol_y, symbol_z, first, last, half)
    half_penalty = second_penalty / 2
    chi, *vector = spectra[:, :, first:last, :half]
    along = scale * (ex.conj() * vector[0] + ey.conj() * vector[1] + ez.conj() * vector[2])
    dot = half_penalty / (first_penalty + second_penalty * power) * (along + first_penalty * power * chi)
    inverse = 1 / (first_penalty + half_penalty * power)
    for values, e in zip(vector, (ex, ey, ez), strict=True):
        values[...] = inverse * (values * scale + e * (first_penalty * chi - dot))
