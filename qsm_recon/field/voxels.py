"""The signals of the voxels inside a mask, as compact lists for the kernels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qsm_recon.errors import DataError
from qsm_recon.field.echoes import EchoSeries
from qsm_recon.io import binary_mask
from qsm_recon.values import image_array


@dataclass(frozen=True, eq=False)
class VoxelList:
    """Magnitude and phase (voxels, echoes) of the mask, and the way back to images."""

    magnitude: NDArray[np.float32]
    phase: NDArray[np.float32]
    echo_times: NDArray[np.float64]
    mask: NDArray[np.bool_]

    @classmethod
    def gather(cls, echoes: EchoSeries, mask: ArrayLike) -> VoxelList:
        """Collect the voxels inside a mask.

        Raises
        ------
        DataError
            If the mask has another shape than the images, or is none, see :func:`qsm_recon.io.binary_mask`.
        """
        inside = check_mask(mask, echoes.shape)
        index, count = np.flatnonzero(inside), echoes.echo_count
        magnitude, phase = (
            part.reshape(-1, count).take(index, axis=0) for part in (echoes.magnitude, echoes.phase_rad)
        )
        return cls(magnitude, phase, np.asarray(echoes.echo_times_s), inside)

    @cached_property
    def index(self) -> NDArray[np.intp]:
        """Places of the voxels in an image laid out as one row."""
        return np.flatnonzero(self.mask)

    @property
    def count(self) -> int:
        """Number of voxels."""
        return self.magnitude.shape[0]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the images."""
        nx, ny, nz = self.mask.shape
        return nx, ny, nz

    def scatter(self, values: NDArray[np.floating]) -> NDArray[np.float32]:
        """Put one value per voxel back into an image that is 0 elsewhere."""
        image = np.zeros(self.mask.size, dtype=np.float32)
        image[self.index] = values
        return image.reshape(self.mask.shape)

    def image_of(self, values: NDArray[np.floating], elsewhere: float) -> NDArray[np.float64]:
        """Put one value per voxel back into an image in double precision that is something else elsewhere."""
        image = np.full(self.mask.size, elsewhere) if elsewhere else np.zeros(self.mask.size)
        image[self.index] = values
        return image.reshape(self.mask.shape)

    def restricted(self, keep: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return the mask without the voxels that are not kept."""
        mask = np.zeros(self.mask.size, dtype=bool)
        mask[self.index] = keep
        return mask.reshape(self.mask.shape)

    def relative_residual(self, misfit: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``sqrt(misfit / sum |S|^2)``, 0 where there is no signal."""
        power = np.einsum("ve,ve->v", self.magnitude, self.magnitude, dtype=np.float64)
        return np.sqrt(misfit / np.where(power > 0, power, 1.0))


def check_mask(mask: ArrayLike, shape: tuple[int, int, int]) -> NDArray[np.bool_]:
    """Return a mask as booleans.

    Raises
    ------
    DataError
        If it has another shape than expected, or is none, see :func:`qsm_recon.io.binary_mask`.
    """
    found = image_array("mask", mask).shape
    if found != shape:
        raise DataError(f"mask has shape {found}, but the echoes have shape {shape}", argument="mask")
    return binary_mask(mask, "mask")


def wrapped(angle_rad: NDArray[np.float64]) -> NDArray[np.float64]:
    """Bring angles to [-π, π]."""
    return np.asarray(angle_rad - 2 * np.pi * np.rint(angle_rad / (2 * np.pi)))


def box_around(voxels: NDArray[np.bool_], margin: int = 0) -> tuple[slice, ...]:
    """Return the smallest box that holds some voxels, with a margin as far as the image goes; empty where none is."""
    flat = np.asarray(voxels.any(axis=2))
    lines = (flat.any(axis=1), flat.any(axis=0), voxels.reshape(-1, voxels.shape[2]).any(axis=0))
    filled = [np.flatnonzero(line) for line in lines]
    return tuple(
        slice(max(0, int(i[0]) - margin), min(n, int(i[-1]) + 1 + margin)) if i.size else slice(0, 0)
        for i, n in zip(filled, voxels.shape, strict=True)
    )
