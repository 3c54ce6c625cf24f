"""Plain numpy for :mod:`qsm_recon.backend.kernels.gradient`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.plain.arrays import square, total

Scalar = np.floating


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
    """See the kernel."""
    before = plane - 1 if plane > 0 else image.shape[0] - 1
    nz = image.shape[2]
    weight = weights[0, before, :, :nz] if weights.shape[0] > 0 else np.ones((), image.dtype)
    state = u[0, before, :, :nz]
    s_old = dual(state, old_threshold * weight, numbers)
    z_old = state - s_old
    new = z_old + relaxation * ((image[plane] - image[before]) * inverse_spacing - z_old) + ratio * s_old
    out[:, :nz] = new - 2 * dual(new, new_threshold * weight, numbers)


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
) -> tuple[float, ...]:
    """See the kernel."""
    hx, hy, hz = inverse_spacing
    signed = np.empty((3, image.shape[1], nz), image.dtype)
    ones = np.broadcast_to(np.ones((), image.dtype), signed.shape[1:])
    sums = np.zeros(5)
    for i in range(first, last):
        here = image[i, :, :nz]
        ahead = image[i + 1, :, :nz] if i + 1 < last else next_image[:, :nz]
        differences = (
            (ahead - here) * hx,
            (np.roll(here, -1, axis=0) - here) * hy,
            (np.roll(here, -1, axis=1) - here) * hz,
        )
        for component, difference in enumerate(differences):
            weight = ones
            if weights.shape[0] > 0:
                weight = weights[component if weights.shape[0] > 1 else 0, i]
            weight = weight[..., :nz]
            state = u[component, i, :, :nz]
            s_old = dual(state, old_threshold * weight, numbers)
            z_old = state - s_old
            state[...] = z_old + relaxation * (difference - z_old) + ratio * s_old
            s = dual(state, new_threshold * weight, numbers)
            z = state - s
            signed[component] = z - s
            sums += [
                total(weight * size(difference, numbers)),
                total(square(difference - z)),
                total(square(z - z_old)),
                total(square(z)),
                total(square(s)),
            ]
        x, y, z = signed
        target = (carried[:, :nz] - x) * hx + (np.roll(y, 1, axis=0) - y) * hy + (np.roll(z, 1, axis=1) - z) * hz
        out[i - first, :, :nz] = target
        carried[:, :nz] = x
    return tuple(sums.tolist())
