"""The geometry of an image: shape, voxel size and the direction of the main magnetic field."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qsm_recon.errors import DataError
from qsm_recon.values import real_numbers

LARGEST_SHEAR_DEG = 2.0
"""Voxel axes that are further than this from right angles are no rounding of a scanner's."""


@dataclass(frozen=True)
class Grid:
    """A regular three-dimensional image grid.

    Parameters
    ----------
    shape
        Number of voxels along each image axis.
    voxel_size_mm
        Voxel edge lengths in mm along the same axes.
    b0_direction
        Direction of the main field in *voxel axes*; any non-zero vector, stored with unit length.

    Raises
    ------
    DataError
        If a size is not positive or no number, or the direction is not a finite non-zero 3-vector.
    """

    shape: tuple[int, int, int]
    voxel_size_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)
    b0_direction: tuple[float, float, float] = (0.0, 0.0, 1.0)

    def __post_init__(self) -> None:
        """Validate and normalise the three members."""
        sizes = real_numbers(self.shape)
        if sizes.shape != (3,) or not (np.isfinite(sizes).all() and (sizes >= 1).all() and (sizes % 1 == 0).all()):
            raise DataError(f"grid shape: expected three positive sizes, whole numbers, found {self.shape!r}")
        lengths = real_numbers(self.voxel_size_mm)
        if lengths.shape != (3,) or not (np.isfinite(lengths).all() and (lengths > 0).all()):
            raise DataError(f"voxel size: expected three positive lengths in mm, found {self.voxel_size_mm!r}")
        object.__setattr__(self, "shape", tuple(int(n) for n in sizes))
        object.__setattr__(self, "voxel_size_mm", tuple(lengths.tolist()))
        object.__setattr__(self, "b0_direction", unit_vector(self.b0_direction))

    @property
    def n_voxels(self) -> int:
        """Number of voxels of the whole grid."""
        return int(np.prod(self.shape))

    @property
    def b0_angle_deg(self) -> float:
        """Angle in degrees between the main field and the image axis nearest to it."""
        return float(np.degrees(np.arccos(min(1.0, max(abs(b) for b in self.b0_direction)))))

    def resized(self, shape: tuple[int, int, int]) -> Grid:
        """Return the same geometry with another number of voxels (padding or cropping)."""
        return Grid(shape, self.voxel_size_mm, self.b0_direction)

    @classmethod
    def from_affine(
        cls,
        shape: tuple[int, int, int],
        affine: ArrayLike,
        b0_direction: ArrayLike | None = None,
    ) -> Grid:
        """Derive the geometry from a NIfTI affine.

        Parameters
        ----------
        shape
            Number of voxels along each image axis.
        affine
            (4, 4) voxel-to-world matrix in mm.  The scanner's main field lies along the world's third axis.
        b0_direction
            Overrides the derived direction; a vector in voxel axes.

        Raises
        ------
        DataError
            If the affine is singular or not finite, its axes are not at right angles, or the direction is not a vector.
        """
        matrix = real_numbers(affine)
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
            raise DataError(
                f"affine: expected a finite (4, 4) matrix of real numbers, found shape {matrix.shape}",
                argument="affine",
            )
        columns = matrix[:3, :3]
        voxel_size = np.linalg.norm(columns, axis=0)
        if voxel_size.min() <= 0 or abs(np.linalg.det(columns / voxel_size)) < 1e-3:
            raise DataError("affine: its voxel axes are degenerate; repair the header of the image", argument="affine")
        _require_right_angles(columns / voxel_size)
        direction = b0_direction_from_affine(matrix) if b0_direction is None else b0_direction
        return cls(shape, tuple(voxel_size), unit_vector(direction))


def _require_right_angles(axes: NDArray[np.floating]) -> None:
    """Refuse unit voxel axes, the columns of (3, 3), that are sheared: kernels and differences take right angles."""
    angles = np.degrees(np.arccos(np.clip(axes.T @ axes, -1.0, 1.0)))
    first, second = max(((0, 1), (0, 2), (1, 2)), key=lambda pair: abs(float(angles[pair]) - 90.0))
    if abs(float(angles[first, second]) - 90.0) > LARGEST_SHEAR_DEG:
        raise DataError(
            f"affine: its voxel axes {first + 1} and {second + 1} meet at {angles[first, second]:.1f}°, expected right "
            "angles; a registration with shear was probably written into the header: give the image with that of the "
            "scanner, or resample it",
            argument="affine",
        )


def b0_direction_from_affine(affine: NDArray[np.floating]) -> NDArray[np.floating]:
    """Direction of the world's third axis (the bore) expressed in unit voxel axes.

    Parameters
    ----------
    affine
        (4, 4) voxel-to-world matrix in mm.

    Returns
    -------
    ndarray
        (3,) unit vector in voxel axes.
    """
    columns = np.asarray(affine, dtype=float)[:3, :3]
    axes = columns / np.linalg.norm(columns, axis=0)
    direction = np.linalg.solve(axes, np.array([0.0, 0.0, 1.0]))
    return direction / np.linalg.norm(direction)


def require_grid(grid: object) -> None:
    """Check that what was given for a grid is one.

    Raises
    ------
    DataError
        If it is something else.
    """
    if not isinstance(grid, Grid):
        raise DataError(
            f"grid: expected a Grid, found {type(grid).__name__}; give Grid(shape, voxel_size_mm, b0_direction)"
        )


def unit_vector(direction: ArrayLike) -> tuple[float, float, float]:
    """Return a direction as a unit 3-vector.

    Raises
    ------
    DataError
        If it is not three finite numbers, or has no length.
    """
    vector = real_numbers(direction)
    length = float(np.linalg.norm(vector)) if vector.shape == (3,) else 0.0
    if not (np.isfinite(length) and length > 0):
        raise DataError(
            f"B0 direction: expected three numbers that are not all zero, found {direction!r}; "
            "give it in voxel axes, for example 0 0 1"
        )
    x, y, z = (vector / length).tolist()
    return (x, y, z)
