"""What the kernels on tensors share: parts of buffers, neighbours, sums."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor


def on_device(values: Any, device: torch.device) -> Tensor:
    """Copy an array of numpy's to a device."""
    return torch.tensor(np.ascontiguousarray(values), device=device)


def total(values: Tensor) -> Tensor:
    """Sum in double precision; stays on the device until :func:`numbers` fetches it."""
    return values.sum(dtype=torch.float64)


def numbers(*sums: Tensor) -> tuple[float, ...]:
    """Fetch sums from the device, all in one go."""
    return tuple(torch.stack(sums).tolist())


def square(values: Tensor) -> Tensor:
    """|x|² of real or complex numbers, as real ones."""
    if values.is_complex():
        return values.real * values.real + values.imag * values.imag
    return values * values


def product(a: Tensor, b: Tensor) -> Tensor:
    """Re(a conj(b))."""
    return a.real * b.real + a.imag * b.imag


def whole_total(values: Tensor, single_last: bool) -> Tensor:
    """Sum over a full spectrum of what is given on its half: interior entries of the last axis count twice."""
    found = 2.0 * total(values) - total(values[..., 0])
    return found - total(values[..., -1]) if single_last else found


def planes(block: Tensor, first: int, nz: int, *volumes: Tensor) -> tuple[Tensor, ...]:
    """Views of what counts of a block of planes, and of the same planes of whole volumes."""
    last = first + block.shape[0]
    return (block[..., :nz], *(volume[first:last, :, :nz] for volume in volumes))


def rows(first: int, last: int, half: int, *spectra: Tensor) -> tuple[Tensor, ...]:
    """Views of rows of spectra, as far as they count."""
    return tuple(spectrum[:, first:last, :half] for spectrum in spectra)


def symbol(x: Tensor, y: Tensor, z: Tensor, first: int, last: int, half: int) -> Tensor:
    """Sum of one-dimensional symbols on rows of a spectrum."""
    return (x[:, None] + y[None, first:last])[..., None] + z[:half]


def clip(values: Tensor, limit: Tensor | float) -> Tensor:
    """Limit to [-limit, limit]."""
    if isinstance(limit, Tensor):
        return torch.minimum(torch.maximum(values, -limit), limit)
    return values.clamp(-limit, limit)


def where(condition: Tensor, there: Tensor | float, elsewhere: Tensor | float, like: Tensor) -> Tensor:
    """Choose between numbers, or arrays and numbers, in the precision of an array."""
    one, other = (like.new_full((), value) if not isinstance(value, Tensor) else value for value in (there, elsewhere))
    return torch.where(condition, one, other)


def scalars_like(like: Tensor, values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Numbers among values, also in tuples, as tensors of the precision and on the device of another."""
    return tuple(_scalar_like(like, value) for value in values)


def _scalar_like(like: Tensor, value: Any) -> Any:
    if isinstance(value, tuple):
        return scalars_like(like, value)
    return like.new_full((), value) if isinstance(value, float) else value


def signs(values: Tensor) -> Tensor:
    """-1 where values are negative, 1 elsewhere (at zero, too)."""
    return where(values < 0, -1.0, 1.0, values)


def ahead(volume: Tensor, first: int, last: int, axis: int) -> Tensor:
    """Next voxels along an axis (0, 1, 2) of planes ``first`` to ``last`` (exclusive) of (..., nx, ny, nz), cyclic."""
    if axis > 0:
        return torch.roll(volume[..., first:last, :, :], -1, dims=axis - 3)
    end = last % volume.shape[-3]
    return torch.cat((volume[..., first + 1 : last, :, :], volume[..., end : end + 1, :, :]), dim=-3)


def behind(block: Tensor, before: Tensor, axis: int) -> Tensor:
    """Voxels before along an axis of a block of planes (n, ny, nz), whose first one follows a plane (ny, nz)."""
    if axis > 0:
        return torch.roll(block, 1, dims=axis)
    return torch.cat((before[None], block[:-1]))
