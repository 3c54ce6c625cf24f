"""Fourier transforms of whole volumes on a device of torch's."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, DTypeLike
from torch import Tensor

from qsm_recon.backend.fft import FourierTransform
from qsm_recon.backend.tensors import dispatch
from qsm_recon.backend.tensors.arrays import on_device
from qsm_recon.backend.tensors.devices import require_device

assert dispatch  # imported so that kernels know their twins

PRECISION = {
    np.dtype(np.float32): torch.float32,
    np.dtype(np.float64): torch.float64,
    np.dtype(np.complex64): torch.complex64,
    np.dtype(np.complex128): torch.complex128,
    np.dtype(np.uint8): torch.uint8,
}
AXES = (-2, -1)


class TensorBlocks:
    """The four transforms of :class:`qsm_recon.backend.fft.BlockTransforms`, on tensors of any number of planes."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self._plane = shape[1:]

    def forward_planes(self, image: Tensor, spectrum: Tensor) -> None:
        """Real to complex over the last two axes."""
        torch.fft.rfft2(image, dim=AXES, out=spectrum)

    def inverse_planes(self, spectrum: Tensor, image: Tensor) -> None:
        """Complex to real over the last two axes."""
        torch.fft.irfft2(spectrum, s=self._plane, dim=AXES, norm="forward", out=image)

    def forward_columns(self, spectrum: Tensor) -> None:
        """Complex along the first axis, in place."""
        spectrum.copy_(torch.fft.fft(spectrum, dim=0))

    def inverse_columns(self, spectrum: Tensor) -> None:
        """Complex along the first axis, in place, without division by the length."""
        spectrum.copy_(torch.fft.ifft(spectrum, dim=0, norm="forward"))


class TensorTransform(FourierTransform):
    """What :class:`qsm_recon.backend.fft.FourierTransform` is, on tensors: one slab, of one block of all planes.

    Parameters
    ----------
    shape
        Number of voxels along x, y and z.
    dtype
        float32 or float64.
    device
        Name of a device of torch's.

    Raises
    ------
    ResourceError
        If the device is not there.

    Notes
    -----
    Buffers are not padded.
    """

    def __init__(self, shape: tuple[int, int, int], dtype: DTypeLike = np.float32, device: str = "cpu") -> None:
        super().__init__(shape, dtype)
        self._stride, self._columns = shape[2], self.half
        self._device = require_device(device)
        self._blocks = TensorBlocks(shape)

    @property
    def planes_at_once(self) -> int:
        """See :class:`qsm_recon.backend.fft.FourierTransform`; all there are."""
        return self.shape[0]

    def blocks(self) -> Any:
        """Return the block transforms; any thread may use them."""
        return self._blocks

    def zeros(self, shape: tuple[int, ...], dtype: DTypeLike | None = None) -> Any:
        """Return a zeroed tensor; of the transform's precision unless another type is asked for."""
        return torch.zeros(shape, dtype=PRECISION[np.dtype(dtype or self.dtype)], device=self._device)

    def array(self, values: ArrayLike) -> Any:
        """Copy an array to the device."""
        return values.to(self._device) if isinstance(values, Tensor) else on_device(values, self._device)

    def for_planes(self, work: Callable[[int, int, int, int], Any], slabs: list[tuple[int, int]] | None = None) -> list:
        """Call ``work(0, 0, 0, nx)``."""
        return [work(0, 0, 0, self.shape[0])]

    def for_rows(self, work: Callable[[int, int, int, int], Any]) -> list:
        """Call ``work(0, 0, 0, ny)``."""
        return [work(0, 0, 0, self.shape[1])]

    def slabs(self) -> list[tuple[int, int]]:
        """All planes as one slab."""
        return [(0, self.shape[0])]

    def empty_block(self) -> Any:
        """Return a zeroed image buffer of the whole grid."""
        return self.empty_image()


@cache
def tensor_transform(shape: tuple[int, int, int], dtype: str, device: str) -> TensorTransform:
    """Return the transform of a grid size on a device, the same object every time."""
    return TensorTransform(shape, dtype, device)
