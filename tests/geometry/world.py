"""Balls in the scanner's space, and what any scan of them measures: a forward model that knows no Fourier transform.

The field of a ball is that of the textbook, in mm along the scanner's axes with B0 along the third; a scan samples it
in its voxels, wherever its affine puts them.  So every storage order, flip and turn sees the same object.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BALLS = (((0.0, 0.0, 0.0), 6.0, 0.15), ((8.0, 4.0, -5.0), 4.0, -0.10), ((-7.0, -6.0, 4.0), 4.5, 0.08))
"""Centre (mm), radius (mm), susceptibility (ppm)."""
EDGE = (15.0, 17.0, 13.0)
"""Half axes of the object, mm."""


@dataclass(frozen=True)
class Scan:
    """Field and susceptibility (ppm), mask and affine of one scan."""

    field: NDArray
    chi: NDArray
    mask: NDArray
    affine: NDArray

    def stored(self, order: tuple[int, ...], flips: tuple[bool, ...]) -> Scan:
        """The same voxels stored in another order of the axes, some of them backwards; the affine follows."""
        return Scan(
            *(rearranged(image, order, flips) for image in (self.field, self.chi, self.mask)),
            self.affine @ rearrangement(self.mask.shape, order, flips),
        )


def rearranged(image: NDArray, order: tuple[int, ...], flips: tuple[bool, ...]) -> NDArray:
    """Axes in another order, then some of them reversed."""
    return np.flip(image.transpose(order), tuple(axis for axis in range(3) if flips[axis])).copy()


def restored(image: NDArray, order: tuple[int, ...], flips: tuple[bool, ...]) -> NDArray:
    """Undo :func:`rearranged`."""
    back = np.flip(image, tuple(axis for axis in range(3) if flips[axis]))
    return back.transpose(np.argsort(order))


def rearrangement(shape: tuple[int, ...], order: tuple[int, ...], flips: tuple[bool, ...]) -> NDArray:
    """(4, 4) from new voxel indices to old ones."""
    matrix = np.zeros((4, 4))
    matrix[3, 3] = 1
    for new, old in enumerate(order):
        matrix[old, new] = -1 if flips[new] else 1
        matrix[old, 3] = shape[old] - 1 if flips[new] else 0
    return matrix


STORAGES = tuple(itertools.product(itertools.permutations(range(3)), itertools.product((False, True), repeat=3)))
"""All 48 orders and directions of the axes, half of them left-handed."""


def turned(degrees: tuple[float, float, float]) -> NDArray:
    """(3, 3) rotation about x, then y, then z."""
    a, b, c = np.radians(degrees)
    x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return z @ y @ x


def scanned(
    size_mm: tuple[float, float, float] = (1.25, 1.25, 1.25),
    degrees: tuple[float, float, float] = (0.0, 0.0, 0.0),
    *,
    scale: float = 1.0,
    slices: int | None = None,
    balls: tuple = BALLS,
) -> Scan:
    """Scan the balls.

    Parameters
    ----------
    size_mm
        Voxel size.
    degrees
        Turn of the image about the scanner's axes.
    scale
        How much larger than life the object is.
    slices
        Of the third axis; the object's where None.
    balls
        The object, as :data:`BALLS`.
    """
    size, turn = np.array(size_mm), turned(degrees)
    reach = scale * (np.abs(turn.T) @ np.array(EDGE) + 2)
    shape = [int(2 * np.ceil(r / d)) + 1 for r, d in zip(reach, size, strict=True)]
    if slices is not None:
        shape[2] = slices
    affine = np.eye(4)
    affine[:3, :3] = turn * size
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    # Voxels are averages over themselves: of 4³ points for the susceptibility, of 2³ for the field.
    chi = np.mean([_chi(p, scale, balls) for p in _points(shape, affine, 4)], axis=0)
    field = np.mean([_field(p, scale, balls) for p in _points(shape, affine, 2)], axis=0)
    world = next(iter(_points(shape, affine, 1)))
    mask = sum((world[axis] / (scale * EDGE[axis])) ** 2 for axis in range(3)) < 1
    return Scan(np.where(mask, field, 0).astype(np.float32), np.where(mask, chi, 0), mask, affine)


def _points(shape, affine, per_axis):
    """World coordinates (3, nx, ny, nz) of all voxels, at each of some points in them in turn."""
    inside = (np.arange(per_axis) + 0.5) / per_axis - 0.5
    index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"))
    for offset in itertools.product(inside, repeat=3):
        moved = index + np.reshape(offset, (3, 1, 1, 1))
        yield np.einsum("ij,j...->i...", affine[:3, :3], moved) + affine[:3, 3].reshape(3, 1, 1, 1)


def _distances(world, scale, balls):
    for centre, radius, ppm in balls:
        offset = world - scale * np.reshape(centre, (3, 1, 1, 1))
        yield np.sqrt((offset**2).sum(axis=0)), offset[2], scale * radius, ppm


def _chi(world, scale, balls):
    return sum(ppm * (distance < radius) for distance, _, radius, ppm in _distances(world, scale, balls))


def _field(world, scale, balls):
    total = 0.0
    for distance, along, radius, ppm in _distances(world, scale, balls):
        far = np.maximum(distance, 1e-9)
        total = total + np.where(distance < radius, 0, ppm / 3 * (radius / far) ** 3 * (3 * (along / far) ** 2 - 1))
    return total
