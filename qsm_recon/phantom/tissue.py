"""Tissue properties at 7 T, their texture, and the susceptibility tied to it.

Mean susceptibilities are those published for the challenge's phantom (Marques et al., Magn Reson Med 2021,
doi:10.1002/mrm.28716).  As there, the susceptibility inside a tissue follows the deviations of its R1 and R2* from
their means, so that no tissue is piecewise constant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]


@dataclass(frozen=True)
class Tissue:
    """Properties of one tissue at 7 T.

    Parameters
    ----------
    label
        Number in the label map.
    name
        Full name.
    susceptibility_ppm, m0, r1_per_s, r2star_per_s
        Mean values; M0 relative to that of cerebrospinal fluid.
    iron_r2star_per_s, myelin_r1_per_s
        Standard deviations of R2* and R1 inside the tissue, from the two textures.
    ppm_per_r2star, ppm_per_r1
        Susceptibility per deviation of R2* and of R1 from their means (ppm s).
    """

    label: int
    name: str
    susceptibility_ppm: float
    m0: float
    r1_per_s: float
    r2star_per_s: float
    iron_r2star_per_s: float = 0.0
    myelin_r1_per_s: float = 0.0
    ppm_per_r2star: float = 0.0
    ppm_per_r1: float = 0.0


CAUDATE = Tissue(1, "caudate nucleus", 0.044, 0.80, 0.60, 45.0, 4.0, 0.015, 0.0016, -0.10)
PALLIDUM = Tissue(2, "globus pallidus", 0.131, 0.72, 0.77, 80.0, 10.0, 0.025, 0.0018, -0.10)
PUTAMEN = Tissue(3, "putamen", 0.038, 0.79, 0.62, 50.0, 6.0, 0.015, 0.0018, -0.10)
RED_NUCLEUS = Tissue(4, "red nucleus", 0.100, 0.74, 0.73, 68.0, 7.0, 0.02, 0.0018, -0.10)
DENTATE = Tissue(5, "dentate nucleus", 0.152, 0.75, 0.68, 72.0, 8.0, 0.02, 0.0018, -0.10)
NIGRA = Tissue(6, "substantia nigra and subthalamic nucleus", 0.111, 0.75, 0.69, 75.0, 9.0, 0.02, 0.0018, -0.10)
THALAMUS = Tissue(7, "thalamus", 0.020, 0.76, 0.66, 38.0, 3.5, 0.035, 0.0020, -0.14)
WHITE = Tissue(8, "white matter", -0.030, 0.69, 0.83, 40.8, 2.0, 0.035, 0.0012, -0.14)
GREY = Tissue(9, "grey matter", 0.020, 0.83, 0.53, 27.5, 3.0, 0.02, 0.0014, -0.10)
CSF = Tissue(10, "cerebrospinal fluid", 0.019, 1.00, 0.24, 2.5, 0.3, 0.004)
BLOOD = Tissue(11, "venous blood", 0.190, 1.00, 0.47, 75.0, 4.0, 0.01, 0.0010)
CALCIFICATION = Tissue(16, "calcification", -1.7, 0.25, 0.60, 160.0)
HAEMORRHAGE = Tissue(17, "haemorrhage", 1.4, 0.75, 1.00, 180.0)
"""Of an old bleeding, only where it is asked for; the challenge's phantom has none, and its labels end at 16."""

TISSUES = (
    CAUDATE,
    PALLIDUM,
    PUTAMEN,
    RED_NUCLEUS,
    DENTATE,
    NIGRA,
    THALAMUS,
    WHITE,
    GREY,
    CSF,
    BLOOD,
    CALCIFICATION,
)

TEXTURED_SHARE = {CSF.label: 0.3, BLOOD.label: 0.0, CALCIFICATION.label: 0.0, HAEMORRHAGE.label: 0.0}
"""How much of the added texture a tissue takes up, where that is not all of it."""
TEXTURE_PPM_PER_R2STAR = 0.0016
TEXTURE_PPM_PER_R1 = -0.12
"""Susceptibility (ppm s) that the added texture goes with: iron per R2*, myelin per R1, as in the tissues above."""
SIM1_SUSCEPTIBILITY_PPM = {WHITE.label: 0.000, GREY.label: 0.016}
"""Where SIM1 departs from the published means: its grey-white contrast is a third of that of SIM2."""
INFLOW_R1_PER_S = 5.7
"""Apparent R1 of blood in the largest veins: it flows in unsaturated, which makes it the brightest voxel."""


def tissues_of(case: str, vessel_ppm: float) -> dict[int, Tissue]:
    """Tissues by label as they are in ``"sim1"`` or ``"sim2"``, with blood of a given susceptibility (ppm)."""
    changed = {**(SIM1_SUSCEPTIBILITY_PPM if case == "sim1" else {}), BLOOD.label: vessel_ppm}
    return {t.label: replace(t, susceptibility_ppm=changed.get(t.label, t.susceptibility_ppm)) for t in TISSUES}


@dataclass
class TissueMaps:
    """The four property maps of a grid (or slab), zero outside the brain."""

    susceptibility_ppm: FloatArray
    m0: FloatArray
    r1_per_s: FloatArray
    r2star_per_s: FloatArray


def property_maps(
    parts: Sequence[tuple[Tissue, FloatArray]], blood_inflow: FloatArray, iron: FloatArray, myelin: FloatArray
) -> TissueMaps:
    """Mix the tissues' properties by volume fraction.

    Parameters
    ----------
    parts
        Tissues and the volume fraction of each, summing to at most 1.
    blood_inflow
        Fraction of each voxel that is blood which flows in unsaturated.
    iron, myelin
        Textures of mean 0 and unit variance.
    """
    shape = iron.shape
    maps = TissueMaps(*(np.zeros(shape, np.float32) for _ in range(4)))
    for tissue, fraction in parts:
        delta_r1 = np.float32(tissue.myelin_r1_per_s) * myelin
        delta_r2star = np.float32(tissue.iron_r2star_per_s) * iron
        maps.m0 += fraction * np.float32(tissue.m0)
        maps.r1_per_s += fraction * (np.float32(tissue.r1_per_s) + delta_r1)
        maps.r2star_per_s += fraction * np.maximum(np.float32(tissue.r2star_per_s) + delta_r2star, 0)
        maps.susceptibility_ppm += fraction * (
            np.float32(tissue.susceptibility_ppm)
            + np.float32(tissue.ppm_per_r1) * delta_r1
            + np.float32(tissue.ppm_per_r2star) * delta_r2star
        )
    maps.r1_per_s += blood_inflow * np.float32(INFLOW_R1_PER_S - BLOOD.r1_per_s)
    return maps


def add_texture(
    maps: TissueMaps,
    parts: Sequence[tuple[Tissue, FloatArray]],
    iron_ppm: FloatArray,
    myelin_ppm: FloatArray,
) -> None:
    """Add texture to the susceptibility in place, and to R2* and R1 what goes with it.

    Parameters
    ----------
    maps
        Where to add it.
    parts
        Tissues and the volume fraction of each.
    iron_ppm, myelin_ppm
        Susceptibility (ppm) of the two textures: one follows R2*, the other R1.
    """
    share, brain = np.zeros_like(iron_ppm), np.zeros_like(iron_ppm)
    for tissue, fraction in parts:
        share += np.float32(TEXTURED_SHARE.get(tissue.label, 1.0)) * fraction
        brain += fraction
    maps.susceptibility_ppm += share * (iron_ppm + myelin_ppm)
    maps.r2star_per_s += share * iron_ppm / np.float32(TEXTURE_PPM_PER_R2STAR)
    maps.r1_per_s += share * myelin_ppm / np.float32(TEXTURE_PPM_PER_R1)
    # No tissue relaxes slower than fluid, however strong the texture.
    np.maximum(maps.r2star_per_s, np.float32(CSF.r2star_per_s) * brain, out=maps.r2star_per_s)
    np.maximum(maps.r1_per_s, np.float32(CSF.r1_per_s) * brain, out=maps.r1_per_s)
