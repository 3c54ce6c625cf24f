"""The head put together: structures painted over one another, slab by slab, into volume fractions of tissue."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qsm_recon.phantom.anatomy import cerebrum, deep_grey, hindbrain, ventricles
from qsm_recon.phantom.anatomy.shapes import (
    FloatArray,
    Points,
    ellipsoid,
    smooth_min,
    smooth_step,
)
from qsm_recon.phantom.anatomy.vessels import Surroundings, venous_tree
from qsm_recon.phantom.lesions import Box, Lesion
from qsm_recon.phantom.lesions import cover as lesion_cover
from qsm_recon.phantom.random_fields import SmoothField, random_field
from qsm_recon.phantom.tissue import (
    BLOOD,
    CALCIFICATION,
    CAUDATE,
    CSF,
    DENTATE,
    GREY,
    NIGRA,
    PALLIDUM,
    PUTAMEN,
    RED_NUCLEUS,
    THALAMUS,
    TISSUES,
    WHITE,
)

CALCIFICATION_CENTRE_MM = (0.6, 19.0, 38.0)
CALCIFICATION_HALF_AXES_MM = (1.7, 2.8, 2.2)

AMBIENT_CISTERN_MM = (17.0, -23.0, -23.0)
"""Centre of the fluid between brain stem, cerebellum and temporal lobe, which belongs to the brain mask."""


@dataclass(frozen=True)
class Fields:
    """Every random field of the anatomy, drawn once."""

    warp: tuple[SmoothField, ...]
    fine_warp: tuple[SmoothField, ...]
    primary_folds: SmoothField
    secondary_folds: SmoothField
    reach: SmoothField
    thickness: SmoothField
    csf: SmoothField
    crumple: SmoothField

    @classmethod
    def draw(cls, seed: int) -> Fields:
        """Draw the fields that belong to a seed."""
        return cls(
            warp=tuple(random_field(seed, f"warp {i}", 55.0) for i in "xyz"),
            fine_warp=tuple(random_field(seed, f"fine warp {i}", 16.0) for i in "xyz"),
            primary_folds=cerebrum.fold_field(seed, "primary folds", 27.0),
            secondary_folds=cerebrum.fold_field(seed, "secondary folds", 17.0),
            reach=random_field(seed, "sulcal depth", 30.0),
            thickness=random_field(seed, "cortical thickness", 22.0),
            csf=random_field(seed, "subarachnoid space", 26.0),
            crumple=random_field(seed, "dentate", 5.0, points_per_wavelength=4.0),
        )


class Slabs:
    """Values of the random fields and warped coordinates on slabs of one grid.

    Parameters
    ----------
    fields
        The random fields.
    axes_mm
        The three coordinate axes of the grid.
    """

    def __init__(self, fields: Fields, axes_mm: list[NDArray[np.float32]]) -> None:
        self.axes_mm = axes_mm
        self._warp = [f.prepared(*axes_mm[1:]) for f in fields.warp]
        self._fine_warp = [f.prepared(*axes_mm[1:]) for f in fields.fine_warp]
        names = ("primary_folds", "secondary_folds", "reach", "thickness", "csf", "crumple")
        self._prepared = {name: getattr(fields, name).prepared(*axes_mm[1:]) for name in names}

    def slab(self, start: int, stop: int) -> Slab:
        """Planes ``start`` to ``stop`` of the first axis."""
        x = self.axes_mm[0][start:stop]
        # Displaced coordinates: nothing in the head is straight or exactly symmetric.
        coordinates = np.meshgrid(x, *self.axes_mm[1:], indexing="ij")
        warped = [
            (c + np.float32(1.3) * slow.on(x) + np.float32(0.45) * fast.on(x)).astype(np.float32)
            for c, slow, fast in zip(coordinates, self._warp, self._fine_warp, strict=True)
        ]
        return Slab(Points(*warped), **{name: field.on(x) for name, field in self._prepared.items()})


@dataclass(frozen=True)
class Slab:
    """Warped coordinates and random fields, all of one shape."""

    points: Points
    primary_folds: FloatArray
    secondary_folds: FloatArray
    reach: FloatArray
    thickness: FloatArray
    csf: FloatArray
    crumple: FloatArray

    def boxed(self, box: tuple[slice, slice, slice]) -> Slab:
        """Part of the slab."""
        values = {name: value[box] for name, value in vars(self).items() if name != "points"}
        return Slab(Points(self.points.x[box], self.points.y[box], self.points.z[box]), **values)


@dataclass(frozen=True)
class Head:
    """A head ready to be painted on any grid."""

    fields: Fields
    veins: NDArray[np.floating]
    with_calcification: bool

    @classmethod
    def draw(cls, seed: int, with_calcification: bool, vessel_density: float = 1.0) -> Head:
        """Draw the random fields, then grow the veins through them."""
        fields = Fields.draw(seed)
        origin = (-81.0, -112.5, -109.5)
        axes = [np.arange(o, -o + 1.5, 1.5, dtype=np.float32) for o in origin]
        points = Slabs(fields, axes).slab(0, len(axes[0])).points
        surroundings = Surroundings(
            depth=SmoothField(-np.clip(cerebrum.outline(points), -40, 40), origin, 1.5),
            folds=fields.primary_folds,
            ventricles=SmoothField(np.clip(ventricles.lateral_ventricles(points), -30, 30), origin, 1.5),
        )
        return cls(fields, venous_tree(seed, surroundings, vessel_density), with_calcification)

    def fractions(
        self, slab: Slab, edge_mm: float, blood: FloatArray, covers: Sequence[tuple[Box, FloatArray] | None] = ()
    ) -> dict[int, FloatArray]:
        """Volume fraction of every tissue.

        Parameters
        ----------
        slab
            Where.
        edge_mm
            Width of the smooth transition at borders.
        blood
            Fraction filled by veins.
        covers
            What the lesions fill, see :meth:`LesionSet.covers`.

        Returns
        -------
        dict
            Label to fraction, and for lesions ``FIRST_LESION`` and the numbers after it; the fractions sum to the
            fraction of brain, which is 0 outside it.
        """

        def cover(distance: FloatArray) -> FloatArray:
            return smooth_step(-distance, -edge_mm / 2, edge_mm / 2)

        layers = _layers(slab, cover, self.with_calcification, blood)
        remaining = layers.pop(0)[2]
        result = {tissue.label: np.zeros_like(blood) for tissue in TISSUES}
        lesions = [(number, *found) for number, found in enumerate(covers, FIRST_LESION) if found is not None]
        result |= {number: np.zeros_like(blood) for number, _, _ in lesions}
        layers = lesions + layers
        for label, box, part_cover in layers:
            part = part_cover * remaining[box]
            remaining[box] -= part
            result[label][box] += part
        result[CSF.label] += remaining
        return result

    def share_inside(self, lesion: Lesion) -> float:
        """Part of a lesion's volume that lies in the brain, 0 to 1."""
        axes = [
            (centre + half * np.linspace(-1, 1, 13)).astype(np.float32)
            for centre, half in zip(lesion.centre_mm, lesion.half_axes_mm, strict=True)
        ]
        spacing = [half / 6 for half in lesion.half_axes_mm]
        found = lesion_cover(lesion, axes, spacing)
        slab = Slabs(self.fields, axes).slab(0, len(axes[0]))
        brain = sum(self.fractions(slab, max(spacing), np.zeros(slab.points.x.shape, np.float32)).values())
        assert found is not None  # the axes are the lesion's own
        return float((found[1] * brain).sum() / found[1].sum())


Cover = Callable[[FloatArray], FloatArray]
Layer = tuple[int, tuple[slice, slice, slice], FloatArray]
FIRST_LESION = 100
"""Number of the first lesion among the parts of a head; below it are the labels of tissues."""
EVERYWHERE = (slice(None), slice(None), slice(None))
DEEP_BOX_MM = ((-46.0, 46.0), (-90.0, 46.0), (-60.0, 36.0))
HINDBRAIN_BOX_MM = ((-70.0, 70.0), (-105.0, 15.0), (-120.0, 10.0))


def _box(points: Points, limits_mm: tuple[tuple[float, float], ...]) -> tuple[slice, slice, slice] | None:
    """Smallest box of voxels that covers the limits, or None where the slab lies outside them."""
    inside = (
        (points.x > limits_mm[0][0])
        & (points.x < limits_mm[0][1])
        & (points.y > limits_mm[1][0])
        & (points.y < limits_mm[1][1])
        & (points.z > limits_mm[2][0])
        & (points.z < limits_mm[2][1])
    )
    if not inside.any():
        return None
    spans = [np.flatnonzero(inside.any(axis=others)) for others in ((1, 2), (0, 2), (0, 1))]
    x, y, z = (slice(int(span[0]), int(span[-1]) + 1) for span in spans)
    return (x, y, z)


def _layers(slab: Slab, cover: Cover, with_calcification: bool, blood: FloatArray) -> list[Layer]:
    """Cover of every structure and the box it lies in, topmost first; the first entry is the brain itself."""
    points = slab.points
    outline = cerebrum.outline(points)
    cerebellum = np.maximum(hindbrain.cerebellum_outline(points), 1.2 - outline)
    stem = hindbrain.brain_stem(points)
    brain = smooth_min(smooth_min(outline, cerebellum, 14), stem, 12)
    brain = smooth_min(brain, ellipsoid(points.a, points.y, points.z, AMBIENT_CISTERN_MM, (11, 14, 9)), 8)
    spinal_end = smooth_step(points.z, -79, -76)
    layers: list[Layer] = [(0, EVERYWHERE, cover(brain) * spinal_end)]
    deep = _box(points, DEEP_BOX_MM)
    if with_calcification:
        shape = ellipsoid(points.x, points.y, points.z, CALCIFICATION_CENTRE_MM, CALCIFICATION_HALF_AXES_MM)
        layers.append((CALCIFICATION.label, EVERYWHERE, cover(shape + 0.5 * slab.crumple)))
    layers.append((BLOOD.label, EVERYWHERE, blood))
    if deep is not None:
        part = slab.boxed(deep)
        layers += [(label, deep, value) for label, value in _deep_grey(part, cover)]
        ventricle = ventricles.lateral_ventricles(part.points)
        ventricle = smooth_min(ventricle, ventricles.midline_ventricles(part.points), 1.0)
        layers.append((CSF.label, deep, cover(ventricle)))
    layers.append((WHITE.label, EVERYWHERE, cover(stem)))
    behind = _box(points, HINDBRAIN_BOX_MM)
    if behind is not None:
        layers += [
            (label, behind, value) for label, value in _cerebellum(slab.boxed(behind), cerebellum[behind], cover)
        ]
    return layers + [(label, EVERYWHERE, value) for label, value in _cortex(slab, outline, cover)]


def _deep_grey(slab: Slab, cover: Cover) -> list[tuple[int, FloatArray]]:
    points = slab.points
    lamina = np.minimum(cover(deep_grey.medullary_lamina(points)), 0.45)
    pallidum = cover(deep_grey.globus_pallidus(points))
    return [
        (RED_NUCLEUS.label, cover(deep_grey.red_nucleus(points))),
        (NIGRA.label, cover(deep_grey.substantia_nigra(points))),
        (DENTATE.label, cover(deep_grey.dentate(points, slab.crumple))),
        (WHITE.label, lamina * pallidum),
        (PALLIDUM.label, pallidum),
        (PUTAMEN.label, cover(deep_grey.putamen(points))),
        (THALAMUS.label, cover(deep_grey.thalamus(points))),
        (CAUDATE.label, cover(deep_grey.caudate(points))),
        (GREY.label, cover(deep_grey.claustrum(points))),
        (GREY.label, cover(deep_grey.hippocampus(points))),
    ]


def _cerebellum(slab: Slab, outline: FloatArray, cover: Cover) -> list[tuple[int, FloatArray]]:
    fissures, leaves = hindbrain.folia(slab.points, slab.thickness, -outline)
    core = hindbrain.cerebellar_white_matter(slab.points, 0.8 * slab.thickness)
    white = smooth_min(core, np.maximum(leaves, outline + 3), 1.5)
    inside = cover(outline + 0.5)
    return [
        (WHITE.label, cover(white) * inside),
        (CSF.label, cover(fissures) * inside * 0.8),
        (GREY.label, inside),
    ]


def _cortex(slab: Slab, outline: FloatArray, cover: Cover) -> list[tuple[int, FloatArray]]:
    depth = -outline
    midline = cerebrum.midline_distance(slab.points)
    below_surface = np.minimum(depth, 1.2 * np.abs(midline) + 1)
    core = cerebrum.central_core(slab.points)
    sulci = cerebrum.sulcus_distance(slab.primary_folds, slab.secondary_folds, below_surface, slab.reach, core)
    envelope = depth - np.maximum(0.6 + 0.9 * slab.csf, 0.0)
    pial = smooth_min(envelope, sulci, 3.5)
    pial = smooth_min(pial, np.minimum(midline, cerebrum.lateral_fissure_distance(slab.points)), 2.0)
    white = pial - np.clip(2.75 + 0.35 * slab.thickness, 1.9, 3.8)
    tissue = cover(-pial)
    return [(WHITE.label, cover(-white) * tissue), (GREY.label, tissue)]
