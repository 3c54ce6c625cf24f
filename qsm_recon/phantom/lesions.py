"""Strong sources that are asked for: calcifications and haemorrhages of any strength, size and place."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from qsm_recon.errors import ParameterError
from qsm_recon.phantom.anatomy.shapes import FloatArray, ellipsoid, smooth_step
from qsm_recon.phantom.tissue import CALCIFICATION, HAEMORRHAGE, Tissue

LARGEST_PPM = 10.0
RADII_MM = (0.5, 30.0)
REACH_MM = 150.0
PARTS_PER_RADIUS = 4.0
SYNTAX = "PPM@X,Y,Z:RADIUS"
Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Lesion:
    """An ellipsoid of one susceptibility.

    Parameters
    ----------
    susceptibility_ppm
        Absolute susceptibility, ppm: below 0 for a calcification, above 0 for a haemorrhage.
    centre_mm
        Centre: x to the right, y to the front, z up, mm from near the anterior commissure, along the image axes.
    half_axes_mm
        Half axes along x, y and z, 0.5 to 30 mm.
    """

    susceptibility_ppm: float
    centre_mm: tuple[float, float, float]
    half_axes_mm: tuple[float, float, float]

    @property
    def volume_mm3(self) -> float:
        """Volume of the ellipsoid, mm³."""
        return 4 / 3 * math.pi * math.prod(self.half_axes_mm)

    def distance(self, x: FloatArray, y: FloatArray, z: FloatArray) -> FloatArray:
        """Signed distance (mm, negative inside) to its surface."""
        return ellipsoid(x, y, z, self.centre_mm, self.half_axes_mm)

    def __str__(self) -> str:
        """As it is written in a data set's options."""
        same = len(set(self.half_axes_mm)) == 1
        half_axes = self.half_axes_mm[:1] if same else self.half_axes_mm
        centre, axes = (",".join(f"{v:g}" for v in values) for values in (self.centre_mm, half_axes))
        return f"{self.susceptibility_ppm:g}@{centre}:{axes}"


def parse_lesions(text: str, name: str) -> tuple[Lesion, ...]:
    """Read lesions written as ``PPM@X,Y,Z:RADIUS``, several separated by semicolons, or ``none``.

    Parameters
    ----------
    text
        What the user wrote; the radius is one number or three half axes, all in mm.
    name
        The option, for errors.

    Raises
    ------
    ParameterError
        If it is written differently.
    """
    if text.strip().lower() == "none":
        return ()
    return tuple(_parse_one(part.strip(), name) for part in text.split(";"))


def _parse_one(text: str, name: str) -> Lesion:
    strength, at, rest = text.partition("@")
    place, colon, size = rest.partition(":")
    try:
        ppm = float(strength)
        x, y, z = (float(v) for v in place.split(","))
        axes = [float(v) for v in size.split(",")]
        rx, ry, rz = axes if len(axes) == 3 else axes * 3
    except ValueError:
        at = ""
    if not at or not colon:
        raise ParameterError(
            f"phantom {name}: expected {SYNTAX} (ppm and mm; three half axes may stand for the radius), several "
            f"separated by ';', or none; found '{text}'"
        )
    return Lesion(ppm, (x, y, z), (rx, ry, rz))


def check_lesions(lesions: Sequence[Lesion], name: str, sign: int) -> tuple[Lesion, ...]:
    """Validate lesions of one kind.

    Parameters
    ----------
    lesions
        What was asked for.
    name
        The parameter, for errors.
    sign
        That their susceptibility has to have.

    Raises
    ------
    ParameterError
        If one is out of range; where it lies is checked against the head when that is built.
    """
    if isinstance(lesions, (str, Lesion)) or not all(isinstance(lesion, Lesion) for lesion in lesions):
        raise ParameterError(f"phantom {name}: expected lesions, found {lesions!r}; parse_lesions reads {SYNTAX}")
    expected = f"from -{LARGEST_PPM:g} to below 0 ppm" if sign < 0 else f"from above 0 to {LARGEST_PPM:g} ppm"
    for lesion in lesions:
        if not 0 < sign * lesion.susceptibility_ppm <= LARGEST_PPM:
            raise ParameterError(f"phantom {name} {lesion}: expected a susceptibility {expected}")
        if not all(RADII_MM[0] <= r <= RADII_MM[1] for r in lesion.half_axes_mm):
            raise ParameterError(
                f"phantom {name} {lesion}: expected a radius from {RADII_MM[0]:g} to {RADII_MM[1]:g} mm"
            )
        if not all(abs(c) <= REACH_MM for c in lesion.centre_mm):
            raise ParameterError(f"phantom {name} {lesion}: expected a place in the head, within {REACH_MM:g} mm")
    return tuple(lesions)


@dataclass(frozen=True)
class LesionSet:
    """Lesions with the tissue each is made of; where they overlap, the first covers the others."""

    members: tuple[tuple[Lesion, Tissue], ...] = ()

    @classmethod
    def of(cls, calcifications: Sequence[Lesion], haemorrhages: Sequence[Lesion]) -> LesionSet:
        """Give every lesion a tissue of its susceptibility."""
        kinds = chain(((c, CALCIFICATION) for c in calcifications), ((h, HAEMORRHAGE) for h in haemorrhages))
        return cls(
            tuple((lesion, replace(tissue, susceptibility_ppm=lesion.susceptibility_ppm)) for lesion, tissue in kinds)
        )

    def covers(
        self, axes_mm: Sequence[NDArray[np.floating]], spacing_mm: Sequence[float]
    ) -> list[tuple[Box, FloatArray] | None]:
        """Part of every voxel that each lesion fills, see :func:`cover`."""
        return [cover(lesion, axes_mm, spacing_mm) for lesion, _ in self.members]


def cover(
    lesion: Lesion, axes_mm: Sequence[NDArray[np.floating]], spacing_mm: Sequence[float]
) -> tuple[Box, FloatArray] | None:
    """Part of every voxel that a lesion fills, on the box it lies in; None where it lies elsewhere.

    Voxels are divided until the lesion is several parts across, so that small ones keep their volume.

    Parameters
    ----------
    lesion
        What to draw.
    axes_mm
        Voxel centres of a grid, or slab of one, along each axis.
    spacing_mm
        Voxel size.
    """
    boxes, positions, parts = [], [], []
    for axis, step, centre, half in zip(axes_mm, spacing_mm, lesion.centre_mm, lesion.half_axes_mm, strict=True):
        near = np.flatnonzero(np.abs(axis - centre) <= half + step)
        if near.size == 0:
            return None
        count = math.ceil(PARTS_PER_RADIUS * step / half)
        offsets = ((np.arange(count) + 0.5) / count - 0.5) * step
        positions.append((axis[near, None] + offsets).astype(np.float32).ravel())
        boxes.append(slice(int(near[0]), int(near[-1]) + 1))
        parts.append(count)
    edge = min(step / count for step, count in zip(spacing_mm, parts, strict=True))
    distance = lesion.distance(*np.meshgrid(*positions, indexing="ij"))
    filled = smooth_step(-distance, -edge / 2, edge / 2)
    split = [size for axis, count in zip(filled.shape, parts, strict=True) for size in (axis // count, count)]
    return (boxes[0], boxes[1], boxes[2]), filled.reshape(split).mean(axis=(1, 3, 5), dtype=np.float32)
