"""The head put together: structures painted over one another, slab by slab, into volume fractions of tissue."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qsm_recon.datasets.phantom.anatomy import cerebrum, deep_grey, hindbrain, ventricles
from qsm_recon.datasets.phantom.anatomy.shapes import (
    FloatArray,
    Points,
    ellipsoid,
    smooth_min,
    smooth_step,
)
from qsm_recon.datasets.phantom.anatomy.vessels import Surroundings, venous_tree
from qsm_recon.datasets.phantom.random_fields import SmoothField, random_field
from qsm_recon.datasets.phantom.tissue import (
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
    WHITE,
)

CALCIFICATION_CENTRE_MM = (0.6, 19.0, 38.0)
CALCIFICATION_HALF_AXES_MM = (2.0, 4.0, 3.2)


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
            crumple=random_field(seed, "dentate", 5.0),
        )

    def points(self, *axes_mm: NDArray[np.floating]) -> Points:
        """Coordinates of a grid, displaced by the warps so that nothing is straight or exactly symmetric."""
        coordinates = np.meshgrid(*(axis.astype(np.float32) for axis in axes_mm), indexing="ij")
        warped = [
            c + np.float32(1.3) * slow.on(*axes_mm) + np.float32(0.45) * fast.on(*axes_mm)
            for c, slow, fast in zip(coordinates, self.warp, self.fine_warp, strict=True)
        ]
        return Points(*warped)


@dataclass(frozen=True)
class Head:
    """A head ready to be painted on any grid."""

    fields: Fields
    veins: NDArray[np.float64]
    with_calcification: bool

    @classmethod
    def draw(cls, seed: int, with_calcification: bool) -> Head:
        """Draw the random fields, then grow the veins through them."""
        fields = Fields.draw(seed)
        axes = [np.arange(-h, h + 1.5, 1.5, dtype=np.float32) for h in (80.0, 112.0, 108.0)]
        points = fields.points(*axes)
        origin = (-80.0, -112.0, -108.0)
        surroundings = Surroundings(
            depth=SmoothField(-np.clip(cerebrum.outline(points), -40, 40), origin, 1.5),
            folds=fields.primary_folds,
            ventricles=SmoothField(np.clip(ventricles.lateral_ventricles(points), -30, 30), origin, 1.5),
        )
        return cls(fields, venous_tree(seed, surroundings), with_calcification)

    def fractions(self, axes_mm: list[NDArray[np.float32]], edge_mm: float, blood: FloatArray) -> dict[int, FloatArray]:
        """Volume fraction of every label on a rectangular grid.

        Parameters
        ----------
        axes_mm
            Coordinates along the three axes.
        edge_mm
            Width of the smooth transition at borders.
        blood
            Fraction filled by veins.

        Returns
        -------
        dict
            Label to fraction; the fractions sum to the fraction of brain, which is 0 outside it.
        """
        points = self.fields.points(*axes_mm)
        layers = self._layers(points, axes_mm, edge_mm, blood)
        remaining = layers.pop(0)[1]
        result: dict[int, FloatArray] = {}
        for label, cover in layers:
            part = cover * remaining
            remaining = remaining - part
            result[label] = result[label] + part if label in result else part
        result[CSF.label] = result[CSF.label] + remaining
        return result

    def _layers(
        self, points: Points, axes_mm: list[NDArray[np.float32]], edge_mm: float, blood: FloatArray
    ) -> list[tuple[int, FloatArray]]:
        """Cover of every structure, topmost first; the first entry is the brain itself."""

        def cover(distance: FloatArray) -> FloatArray:
            return smooth_step(-distance, -edge_mm / 2, edge_mm / 2)

        outline = cerebrum.outline(points)
        cerebellum = np.maximum(hindbrain.cerebellum_outline(points), 1.2 - outline)
        stem = hindbrain.brain_stem(points)
        brain = smooth_min(smooth_min(outline, cerebellum, 9), stem, 9)
        lowest = smooth_step(points.z, -79, -76)  # the spinal cord is cut off
        layers = [(0, cover(brain) * lowest)]
        if self.with_calcification:
            layers.append((CALCIFICATION.label, cover(self._calcification(points, axes_mm))))
        layers.append((BLOOD.label, blood))
        layers += self._deep_grey(points, axes_mm, cover)
        ventricle = smooth_min(ventricles.lateral_ventricles(points), ventricles.midline_ventricles(points), 1.0)
        layers.append((CSF.label, cover(ventricle)))
        layers.append((WHITE.label, cover(stem)))
        layers += self._cerebellum(points, axes_mm, cerebellum, cover)
        layers += self._cortex(points, axes_mm, outline, cover)
        return layers

    def _calcification(self, points: Points, axes_mm: list[NDArray[np.float32]]) -> FloatArray:
        lumps = self.fields.crumple.on(*axes_mm)
        shape = ellipsoid(points.x, points.y, points.z, CALCIFICATION_CENTRE_MM, CALCIFICATION_HALF_AXES_MM)
        return shape + 0.5 * lumps

    def _deep_grey(self, points: Points, axes_mm: list, cover) -> list[tuple[int, FloatArray]]:  # noqa: ANN001
        lamina = np.minimum(cover(deep_grey.medullary_lamina(points)), 0.6)
        pallidum = cover(deep_grey.globus_pallidus(points))
        return [
            (RED_NUCLEUS.label, cover(deep_grey.red_nucleus(points))),
            (NIGRA.label, cover(deep_grey.substantia_nigra(points))),
            (DENTATE.label, cover(deep_grey.dentate(points, self.fields.crumple.on(*axes_mm)))),
            (WHITE.label, lamina * pallidum),
            (PALLIDUM.label, pallidum),
            (PUTAMEN.label, cover(deep_grey.putamen(points))),
            (THALAMUS.label, cover(deep_grey.thalamus(points))),
            (CAUDATE.label, cover(deep_grey.caudate(points))),
            (GREY.label, cover(deep_grey.claustrum(points))),
            (GREY.label, cover(deep_grey.hippocampus(points))),
        ]

    def _cerebellum(self, points: Points, axes_mm: list, outline: FloatArray, cover) -> list:  # noqa: ANN001
        bend = self.fields.thickness.on(*axes_mm)
        fissures, leaves = hindbrain.folia(points, bend, -outline)
        white = smooth_min(hindbrain.cerebellar_white_matter(points, 0.8 * bend), np.maximum(leaves, outline + 3), 1.5)
        inside = cover(outline + 0.5)
        return [
            (WHITE.label, cover(white) * inside),
            (CSF.label, cover(fissures) * inside * 0.8),
            (GREY.label, inside),
        ]

    def _cortex(self, points: Points, axes_mm: list, outline: FloatArray, cover) -> list:  # noqa: ANN001
        fields = self.fields
        reach, thickness = fields.reach.on(*axes_mm), fields.thickness.on(*axes_mm)
        depth = -outline
        midline = cerebrum.midline_distance(points)
        below_surface = np.minimum(depth, np.abs(midline) + 1)
        sulci = cerebrum.sulcus_distance(
            fields.primary_folds.on(*axes_mm),
            fields.secondary_folds.on(*axes_mm),
            below_surface,
            reach,
            cerebrum.central_core(points),
        )
        envelope = depth - np.maximum(0.9 + 0.6 * fields.csf.on(*axes_mm), 0.1)
        pial = smooth_min(envelope, sulci, 3.5)
        pial = smooth_min(pial, np.minimum(midline, cerebrum.lateral_fissure_distance(points)), 2.0)
        white = pial - np.clip(2.75 + 0.35 * thickness, 1.9, 3.8)
        tissue = cover(-pial)
        return [(WHITE.label, cover(-white) * tissue), (GREY.label, tissue)]
