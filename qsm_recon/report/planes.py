"""The three orthogonal views of every picture: how an image is turned, what its letters are, where its slices lie."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from qsm_recon.io import axes_to_ras

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LETTERS = (("L", "R"), ("P", "A"), ("I", "S"))
"""Ends of the axes of a turned image: left and right, posterior and anterior, inferior and superior."""
INDEX_NAMES = "ijk"
"""Names of the axes as they are stored; slices are counted from 0 along them, as viewers do."""


@dataclass(frozen=True)
class Plane:
    """A view: the axis cut, the one drawn to the right and the one drawn upwards, in right-anterior-superior axes."""

    name: str
    cut: int
    right: int
    up: int


PLANES = (Plane("axial", 2, 0, 1), Plane("coronal", 1, 0, 2), Plane("sagittal", 0, 1, 2))


@dataclass(frozen=True)
class Turn:
    """How a stored image is turned to right-anterior-superior axes, the subject's right on the right.

    Parameters
    ----------
    order
        Stored axis that runs along each turned one.
    flips
        Whether it is reversed.
    voxel_size_mm
        Voxel size along the turned axes.
    """

    order: tuple[int, ...]
    flips: tuple[bool, ...]
    voxel_size_mm: tuple[float, ...]

    @classmethod
    def of(cls, affine: NDArray[np.floating]) -> Turn:
        """Take it from a (4, 4) voxel-to-world matrix in mm."""
        return cls(*axes_to_ras(affine))

    def apply(self, volume: NDArray) -> NDArray:
        """Turn an image (nx, ny, nz); a view of the same memory."""
        turned = volume.transpose(self.order)
        return turned[tuple(slice(None, None, -1) if flip else slice(None) for flip in self.flips)]

    def stored_index(self, axis: int, position: int, length: int) -> tuple[str, int]:
        """Name of the stored axis and index on it, of a position on a turned axis that is ``length`` voxels long."""
        return INDEX_NAMES[self.order[axis]], length - 1 - position if self.flips[axis] else position

    def turned_position(self, stored: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
        """Position in the turned image of a voxel (i, j, k) of a stored image of some shape."""
        pairs = zip(self.order, self.flips, strict=True)
        return tuple(shape[axis] - 1 - stored[axis] if flip else stored[axis] for axis, flip in pairs)


def bounding_box(region: NDArray[np.bool_], margin: int = 0) -> tuple[slice, ...]:
    """Smallest box that holds all True voxels, grown by a margin as far as the image goes; all of it where none is."""
    if not region.any():
        return tuple(slice(0, n) for n in region.shape)
    box = []
    for axis in range(3):
        index = np.flatnonzero(region.any(axis=tuple(a for a in range(3) if a != axis)))
        box.append(slice(max(int(index[0]) - margin, 0), min(int(index[-1]) + 1 + margin, region.shape[axis])))
    return tuple(box)


def draw_letters(axis: Axes, plane: Plane, size: float = 9) -> None:
    """Write the directions' letters at the edges of a view; their dark rim keeps them legible on bright tissue."""
    from matplotlib.patheffects import withStroke

    places = (
        (0.015, 0.5, "left", "center", LETTERS[plane.right][0]),
        (0.985, 0.5, "right", "center", LETTERS[plane.right][1]),
        (0.5, 0.015, "center", "bottom", LETTERS[plane.up][0]),
        (0.5, 0.985, "center", "top", LETTERS[plane.up][1]),
    )
    for x, y, horizontal, vertical, letter in places:
        text = axis.text(
            x, y, letter, transform=axis.transAxes, ha=horizontal, va=vertical, color="white", fontsize=size,
            fontweight="bold", path_effects=[withStroke(linewidth=2.2, foreground="black")],
        )  # fmt: skip
        text.set_in_layout(False)  # it lies inside its view, and to ask where takes time


def draw_outline(axis: Axes, region: NDArray, size_mm: tuple[float, float], colour: str = "tab:orange") -> None:
    """Draw the border of a region (right, up) of a view whose pixels have a size in mm, its corner at the origin."""
    from contourpy import contour_generator
    from matplotlib.collections import LineCollection

    # A frame of empty voxels closes the line where the region reaches the border of the picture.
    inside = np.pad(region.T, 1).astype(float)
    if inside.any():
        columns, rows = ((np.arange(n) - 0.5) * d for n, d in zip(inside.shape[::-1], size_mm, strict=True))
        lines = contour_generator(columns, rows, inside, name="serial", line_type="Separate").lines(0.5)
        outline = LineCollection(cast("list[NDArray]", lines), colors=colour, linewidths=0.7, capstyle="butt", zorder=2)
        outline.set_in_layout(False)
        axis.add_collection(outline, autolim=False)


@contextmanager
def any_letters() -> Iterator[None]:
    """Draw without a word about letters that the font lacks: files are named in all alphabets."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        yield
