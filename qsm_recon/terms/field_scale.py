"""How large the errors of a field are, and how steep its susceptibility: what a default weight has to follow."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from qsm_recon.operators.blocks import box_sums
from qsm_recon.problem import Problem
from qsm_recon.region import Region
from qsm_recon.terms.cone_errors import COARSE_SHELLS, cone_errors
from qsm_recon.terms.field_spectrum import KERNEL_EDGES, SHELL_EDGES, TRUSTED_BAND, SpectralBins

TAPER_VOXELS = 3
"""Half the width that the mask is tapered over, so that its edge does not leak into the cone."""


@dataclass(frozen=True)
class FieldScale:
    """Three numbers of a field map.

    Parameters
    ----------
    error_ppm
        Standard deviation per voxel of its errors at fine scales: what its spectrum holds near the magic cone.
    gradient_ppm_per_mm
        Root mean square of a component of the gradient of the susceptibility, from the spectrum off the cone.
    susceptibility_ppm
        Root mean square of the susceptibility at the same scales.
    voxel_mm
        Edge of a cube of the voxel's volume.
    error_bounds
        What the power of the errors does not exceed in shells whose cone shows mostly susceptibility, in ppm²; see
        :class:`qsm_recon.terms.cone_errors.ConeErrors`.
    """

    error_ppm: float
    gradient_ppm_per_mm: float
    susceptibility_ppm: float
    voxel_mm: float
    error_bounds: tuple[float, ...] = ()

    @property
    def coarseness(self) -> float:
        """Error over the step of susceptibility from voxel to voxel."""
        return self.error_ppm / (self.gradient_ppm_per_mm * self.voxel_mm)


def field_scale(problem: Problem) -> FieldScale:
    """Measure a field map.

    Parameters
    ----------
    problem
        The measurement.
    """
    part = Region.around(problem, 0.0).cut_problem(problem.changed(echoes=None))
    window = _tapered(part.mask)
    bins = SpectralBins.padded(part.grid)
    measured = part.measured
    known = part.field_ppm
    if np.count_nonzero(measured) < np.count_nonzero(part.mask):  # where there is no signal the field is anything
        known = _filled(known, measured, part.mask)
    mean = float(known[part.mask].mean(dtype=np.float64))  # which means nothing
    field = np.where(part.mask, known - mean, 0) * window
    spectrum = bins.transform(field.astype(np.float32))
    power = bins.power(spectrum) / float(np.square(window, dtype=np.float64).sum())
    errors = cone_errors(bins, spectrum, window)
    error = math.sqrt(errors.fine)
    voxel = float(np.prod(part.grid.voxel_size_mm)) ** (1 / 3)
    spread = max(float(np.std(known[part.mask], dtype=np.float64)), 1e-12)
    susceptibility, gradient = _susceptibility(bins, power, errors.shells)
    return FieldScale(
        max(error, 1e-6 * spread),
        max(gradient, 1e-6 * spread / voxel),
        max(susceptibility, 1e-6 * spread),
        voxel,
        tuple(errors.bounds.tolist()),
    )


def _tapered(mask: np.ndarray) -> np.ndarray:
    """The mask, falling to zero over its outermost voxels; as it is where nothing else would be left."""
    inside = box_sums(mask.astype(np.int16), TAPER_VOXELS)
    share = box_sums(inside.astype(np.int32), TAPER_VOXELS) / np.float32((2 * TAPER_VOXELS + 1) ** 6)
    window = np.clip(2 * share.astype(np.float32) - 1, 0, 1) * mask
    return window if window.any() else mask.astype(np.float32)


def _filled(field: np.ndarray, known: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """A field with means of the known voxels around in place of the others; boxes widen until they hold some.

    The nearest known voxel would do, but is often one of several, of which the order of the axes decides.
    """
    from scipy import ndimage

    filled, missing, width = field.copy(), wanted & ~known, 3
    values, counted = np.where(known, field, 0).astype(np.float64), known.astype(np.float64)
    while missing.any():
        sums, share = (ndimage.uniform_filter(image, width, mode="constant") for image in (values, counted))
        near = missing & (share > 0.5 / width**3)
        filled[near] = sums[near] / share[near]
        missing &= ~near
        width = 2 * width - 1
    return filled


def _susceptibility(bins: SpectralBins, power: np.ndarray, errors: np.ndarray) -> tuple[float, float]:
    """Root mean squares of the susceptibility that the power off the cone stands for, and of its gradient."""
    kernel = 0.5 * np.add(KERNEL_EDGES[:-1], KERNEL_EDGES[1:])
    seen = np.where(np.arange(kernel.size) >= TRUSTED_BAND, bins.counts, 0.0)
    total = seen.sum(axis=1)
    squared_kernel = (seen * kernel**2).sum(axis=1) / np.maximum(total, 1)
    off = (seen * power).sum(axis=1) / np.maximum(total, 1)
    susceptibility = np.divide(
        np.maximum(off - errors, 0), squared_kernel, out=np.zeros_like(off), where=squared_kernel > 0
    )
    radius = np.sqrt(np.multiply(SHELL_EDGES[:-1], SHELL_EDGES[1:]))
    sizes = np.asarray(bins.grid.voxel_size_mm)
    # Over a shell each axis holds a third of the squared radius, in units of its own Nyquist frequency.
    squared_wave_number = (math.pi * radius) ** 2 / 3 * float(np.mean(1 / sizes**2))
    share = bins.counts.sum(axis=1) / max(float(np.prod(bins.grid.shape)), 1.0)
    share[:COARSE_SHELLS] = 0
    variance = share * susceptibility
    return math.sqrt(float(variance.sum())), math.sqrt(float((variance * squared_wave_number).sum()))
