"""Drawing the anatomy on the fine grid, slab by slab: property maps there, labels and mask on the image grid."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.threads import run_tasks, slab_edges
from qsm_recon.errors import ParameterError
from qsm_recon.phantom.anatomy.fibres import orientation_tensor
from qsm_recon.phantom.anatomy.head import FIRST_LESION, Head, Slabs
from qsm_recon.phantom.anatomy.shapes import Points
from qsm_recon.phantom.anatomy.tracts import tract_myelin
from qsm_recon.phantom.anatomy.vessels import LARGE_RADIUS_MM
from qsm_recon.phantom.cache import Arrays
from qsm_recon.phantom.geometry import ImageGrid
from qsm_recon.phantom.lesions import LesionSet
from qsm_recon.phantom.parameters import PhantomParameters
from qsm_recon.phantom.resampling import averaging_matrix
from qsm_recon.phantom.texture import Texture, power_law_texture
from qsm_recon.phantom.tissue import (
    BLOOD,
    CALCIFICATION,
    WHITE,
    Tissue,
    TissueMaps,
    add_texture,
    property_maps,
    tissues_of,
)

FloatArray = NDArray[np.floating]

PLANES_PER_SLAB = 6
SHARE_INSIDE = 0.5
"""How much of a lesion has to lie in the brain."""


def draw_anatomy(parameters: PhantomParameters, fine: ImageGrid, output: ImageGrid, with_fibres: bool) -> Arrays:
    """Draw everything that does not depend on the acquisition.

    Parameters
    ----------
    parameters
        What to draw.
    fine, output
        The grid it is drawn on, and that of the images.
    with_fibres
        Whether the directions of the fibres are wanted.

    Returns
    -------
    dict
        The property maps where there is brain, which fine voxels (``inside``, packed bits) that is, and on the output
        grid ``labels`` and ``mask``; with fibres ``white``, ``fraction`` and ``orientation``.

    Raises
    ------
    ParameterError
        If a lesion lies outside the brain.
    """
    lesions = LesionSet.of(parameters.calcifications or (), parameters.haemorrhages)
    head = Head.draw(parameters.seed, parameters.own_calcification, parameters.vessel_density)
    _check_places(head, lesions)
    canvas = Canvas.prepared(parameters, head, lesions, fine)
    averaging = [averaging_matrix(f, c) for f, c in zip(fine.shape, output.shape, strict=True)]

    def paint(start: int, stop: int) -> tuple[int, NDArray[np.float32], Fibres | None]:
        fractions, points = canvas.paint(start, stop)
        planes = np.flatnonzero(averaging[0][:, start:stop].any(axis=1))
        across = averaging[0][planes[0] : planes[-1] + 1, start:stop]
        coarse = np.stack([_average(fractions, numbers, across, *averaging[1:]) for numbers in present.values()])
        fibres = Fibres.of(fractions[WHITE.label], points, start) if with_fibres else None
        return int(planes[0]), coarse, fibres

    present = _present(parameters, lesions, canvas.tissues)
    shares = np.zeros((len(present), *output.shape), np.float32)
    edges = slab_edges(fine.shape[0], -(-fine.shape[0] // PLANES_PER_SLAB))
    painted = run_tasks([partial(paint, start, stop) for start, stop in edges])
    for first, coarse, _ in painted:
        shares[:, first : first + coarse.shape[1]] += coarse
    mask = shares.sum(axis=0) > 0.5
    labels = np.where(mask, np.array(list(present), np.uint8)[shares.argmax(axis=0)], 0).astype(np.uint8)
    maps = canvas.maps
    inside = maps.m0 > 0
    arrays: Arrays = {name: getattr(maps, name)[inside] for name in vars(maps)}
    arrays |= {"inside": np.packbits(inside), "labels": labels, "mask": mask}
    return arrays | (Fibres.joined([found for *_, found in painted if found is not None]) if with_fibres else {})


def _check_places(head: Head, lesions: LesionSet) -> None:
    for lesion, tissue in lesions.members:
        share = head.share_inside(lesion)
        if share < SHARE_INSIDE:
            raise ParameterError(
                f"phantom {tissue.name} {lesion}: {100 * share:.0f} % of it lies in the brain, expected at least "
                f"{100 * SHARE_INSIDE:.0f} %; x points to the right, y to the front, z up, in mm from near the "
                "anterior commissure"
            )


def _present(parameters: PhantomParameters, lesions: LesionSet, tissues: dict[int, Tissue]) -> dict[int, list[int]]:
    """Labels of the head, each with the numbers of the parts that have it."""
    absent = set() if parameters.own_calcification else {CALCIFICATION.label}
    numbers = chain(
        ((t.label, number) for number, t in tissues.items() if number < FIRST_LESION and number not in absent),
        ((tissue.label, number) for number, (_, tissue) in enumerate(lesions.members, FIRST_LESION)),
    )
    present: dict[int, list[int]] = {}
    for label, number in numbers:
        present.setdefault(label, []).append(number)
    return present


@dataclass
class Canvas:
    """The head, everything random about it drawn, and the property maps it is painted into."""

    head: Head
    lesions: LesionSet
    fine: ImageGrid
    slabs: Slabs
    tissues: dict[int, Tissue]
    iron: Texture
    myelin: Texture
    added: tuple[FloatArray, FloatArray] | None
    maps: TissueMaps
    blood: NDArray[np.float32]
    inflow: NDArray[np.float32]

    @classmethod
    def prepared(cls, parameters: PhantomParameters, head: Head, lesions: LesionSet, fine: ImageGrid) -> Canvas:
        """Draw the textures, and put empty maps up."""
        tissues = tissues_of(parameters.case, parameters.vessel_ppm)
        tissues |= {number: tissue for number, (_, tissue) in enumerate(lesions.members, FIRST_LESION)}
        iron, myelin = (Texture.draw(parameters.seed, name, fine) for name in ("iron", "myelin"))
        return cls(
            head=head,
            lesions=lesions,
            fine=fine,
            slabs=Slabs(head.fields, fine.axes_mm),
            tissues=tissues,
            iron=iron,
            myelin=myelin,
            added=_added_texture(parameters, fine) if parameters.texture_ppm else None,
            maps=TissueMaps(*(np.zeros(fine.shape, np.float32) for _ in range(4))),
            blood=np.zeros(fine.shape, np.float32),
            inflow=np.zeros(fine.shape, np.float32),
        )

    def paint(self, start: int, stop: int) -> tuple[dict[int, FloatArray], Points]:
        """Paint planes ``start`` to ``stop`` of the maps; returns the volume fractions and where they are."""
        from qsm_recon.backend.rasterise import draw_tubes

        fine = self.fine
        veins = self.head.veins.astype(np.float64)
        large = veins[np.minimum(veins[:, 3], veins[:, 7]) > LARGE_RADIUS_MM]
        origin, spacing = np.array(fine.origin_mm), np.array(fine.voxel_size_mm)
        draw_tubes(start, stop, self.blood, veins, origin, spacing)
        draw_tubes(start, stop, self.inflow, large, origin, spacing)
        part = self.slabs.slab(start, stop)
        x = fine.axes_mm[0][start:stop]
        covers = self.lesions.covers((x, *fine.axes_mm[1:]), fine.voxel_size_mm)
        fractions = self.head.fractions(part, max(fine.voxel_size_mm), self.blood[start:stop], covers)
        iron, myelin = self.iron.on(x), self.myelin.on(x)
        myelin += tract_myelin(part.points)
        parts = [(self.tissues[number], fraction) for number, fraction in fractions.items()]
        slab = property_maps(parts, fractions[BLOOD.label] * self.inflow[start:stop], iron, myelin)
        if self.added is not None:
            add_texture(slab, parts, *(values[start:stop] for values in self.added))
        for name in vars(slab):
            getattr(self.maps, name)[start:stop] = getattr(slab, name)
        return fractions, part.points


def _added_texture(parameters: PhantomParameters, fine: ImageGrid) -> tuple[FloatArray, FloatArray]:
    """Half of the added texture's power follows iron, half myelin (ppm)."""
    strength = parameters.texture_ppm / np.sqrt(2)
    spacing = max(fine.voxel_size_mm)
    iron, myelin = (
        power_law_texture(
            parameters.seed, f"added {name} {parameters.detail_seed}", strength, parameters.texture_slope,
            fine.axes_mm, spacing,
        )
        for name in ("iron", "myelin")
    )  # fmt: skip
    return iron, myelin


@dataclass(frozen=True)
class Fibres:
    """Fine voxels that hold white matter: their numbers, its fraction there and the tensor of its fibres."""

    white: NDArray[np.int32]
    fraction: NDArray[np.float32]
    orientation: NDArray[np.float32]

    @classmethod
    def of(cls, fraction: FloatArray, points: Points, first_plane: int) -> Fibres:
        """Look at a slab that begins with a plane of the first axis."""
        where = np.flatnonzero(fraction)
        some = Points(*(c.ravel()[where] for c in (points.x, points.y, points.z)))
        offset = first_plane * fraction.shape[1] * fraction.shape[2]
        orientation = orientation_tensor(some).astype(np.float32)
        return cls((where + offset).astype(np.int32), fraction.ravel()[where].astype(np.float32), orientation)

    @staticmethod
    def joined(slabs: list[Fibres]) -> Arrays:
        """Put slabs together, in their order."""
        return {name: np.concatenate([getattr(s, name) for s in slabs], axis=-1) for name in vars(slabs[0])}


def _average(
    fractions: dict[int, FloatArray], numbers: list[int], x: FloatArray, y: FloatArray, z: FloatArray
) -> FloatArray:
    """Average some parts of a slab, taken together, over output voxels, given the averaging matrix of every axis."""
    from qsm_recon.backend.averaging import average_block, taps

    found = [fractions[number] for number in numbers if number in fractions and fractions[number].any()]
    if not found:
        return np.zeros((len(x), len(y), len(z)), np.float32)
    total = found[0] if len(found) == 1 else sum(found[1:], found[0])
    result = np.empty((len(x), len(y), len(z)), np.float32)
    average_block(0, len(x), total, result, *taps(x), *taps(y), *taps(z))
    return result
