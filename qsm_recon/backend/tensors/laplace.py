"""Tensors for :mod:`qsm_recon.backend.kernels.laplace`."""

from __future__ import annotations

from torch import Tensor

from qsm_recon.backend.tensors.arrays import where

INNER = slice(1, -1)


def negative_laplacian(
    first: int, last: int, image: Tensor, inside: Tensor, scales: tuple[float, float, float], out: Tensor
) -> None:
    """See the kernel."""
    ax, ay, az = scales
    out[first:last] = 0
    a, b = max(first, 1), min(last, image.shape[0] - 1)
    if a >= b:
        return
    value = 2 * (ax + ay + az) * image[a:b, INNER, INNER]
    value -= ax * (image[a - 1 : b - 1, INNER, INNER] + image[a + 1 : b + 1, INNER, INNER])
    value -= ay * (image[a:b, :-2, INNER] + image[a:b, 2:, INNER])
    value -= az * (image[a:b, INNER, :-2] + image[a:b, INNER, 2:])
    out[a:b, INNER, INNER] = where(inside[a:b, INNER, INNER] != 0, value, value * 0, value)
