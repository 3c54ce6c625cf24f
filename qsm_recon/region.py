"""The part of an image that a method computes on: a box around the mask."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from qsm_recon.operators.padding import voxels_in
from qsm_recon.problem import Problem
from qsm_recon.result import Reconstruction

Number = TypeVar("Number", bound=np.generic)


@dataclass(frozen=True)
class Region:
    """A box of voxels in an image.

    Susceptibility far outside the mask is unknown and not asked for; leaving it out saves most of the time where the
    mask is much smaller than the image.

    Parameters
    ----------
    image_shape
        Shape of the whole image.
    box
        First and one past the last voxel along each axis.
    """

    image_shape: tuple[int, int, int]
    box: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]

    @classmethod
    def whole(cls, shape: tuple[int, int, int]) -> Region:
        """All of an image."""
        x, y, z = ((0, n) for n in shape)
        return cls(shape, (x, y, z))

    @classmethod
    def around(cls, problem: Problem, margin_mm: float) -> Region:
        """The smallest box that holds the mask and, as far as the image goes, a margin in mm around it."""
        box = []
        for axis, (n, size) in enumerate(zip(problem.grid.shape, problem.grid.voxel_size_mm, strict=True)):
            others = tuple(other for other in range(3) if other != axis)
            inside = np.flatnonzero(problem.mask.any(axis=others))
            margin = min(voxels_in(margin_mm, size), n)
            box.append((max(0, int(inside[0]) - margin), min(n, int(inside[-1]) + 1 + margin)))
        x, y, z = box
        return cls(problem.grid.shape, (x, y, z))

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along each axis."""
        nx, ny, nz = (last - first for first, last in self.box)
        return (nx, ny, nz)

    @property
    def is_whole(self) -> bool:
        """Whether this is the whole image."""
        return self.shape == self.image_shape

    def cut(self, image: NDArray[Number]) -> NDArray[Number]:
        """Cut the region out of an image (nx, ny, nz, ...); a view."""
        return image[tuple(slice(*edges) for edges in self.box)]

    def embed(self, image: NDArray[Number]) -> NDArray[Number]:
        """Put an image of the region back into one of the whole size, with zeros around it."""
        if self.is_whole:
            return image
        result = np.zeros((*self.image_shape, *image.shape[3:]), image.dtype)
        self.cut(result)[...] = image
        return result

    def cut_problem(self, problem: Problem) -> Problem:
        """The measurement inside the region; its images are views."""
        if self.is_whole:
            return problem
        cut = {name: self.cut(value) for name, value in vars(problem).items() if isinstance(value, np.ndarray)}
        return problem.changed(**cut, grid=problem.grid.resized(self.shape))

    def embed_result(self, result: Reconstruction) -> Reconstruction:
        """Put a reconstruction of the region back into the whole image."""
        if self.is_whole:
            return result
        return dataclasses.replace(
            result,
            susceptibility_ppm=self.embed(result.susceptibility_ppm),
            mask=self.embed(result.mask),
            images={name: self.embed(image) for name, image in result.images.items()},
            fitted_field_ppm=None if result.fitted_field_ppm is None else self.embed(result.fitted_field_ppm),
        )
