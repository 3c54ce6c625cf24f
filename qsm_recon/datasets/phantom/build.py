"""Building the phantom: anatomy and tissue on the fine grid, then field, echoes and truth on the image grid."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.threads import run_tasks, slab_edges
from qsm_recon.datasets.phantom.anatomy.head import Head, Slabs
from qsm_recon.datasets.phantom.anatomy.tracts import tract_myelin
from qsm_recon.datasets.phantom.anatomy.vessels import LARGE_RADIUS_MM
from qsm_recon.datasets.phantom.background import background_field
from qsm_recon.datasets.phantom.cache import Arrays, cached
from qsm_recon.datasets.phantom.geometry import ImageGrid, fine_grid, output_grid, scanner_affine
from qsm_recon.datasets.phantom.parameters import PHANTOM_VERSION, PhantomParameters
from qsm_recon.datasets.phantom.random_fields import PreparedField, random_field
from qsm_recon.datasets.phantom.resampling import average_voxels, averaging_matrix
from qsm_recon.datasets.phantom.signal import add_noise, dipole_field, noise_free_echoes, smooth_phase_offset
from qsm_recon.datasets.phantom.tissue import TISSUES, TissueMaps, property_maps

FloatArray = NDArray[np.floating]

PLANES_PER_SLAB = 6
EVALUATION_MARGIN_MM = 2.0
"""How far inside the brain mask the evaluation mask stays."""


@dataclass(frozen=True)
class Phantom:
    """A simulated head with its ground truth; all images share the output grid.

    Parameters
    ----------
    susceptibility_ppm
        (nx, ny, nz) truth, ppm, zero outside the brain.
    labels
        (nx, ny, nz) the challenge's tissue numbers: 1 caudate, 2 globus pallidus, 3 putamen, 4 red nucleus,
        5 dentate, 6 substantia nigra and subthalamic nucleus, 7 thalamus, 8 white matter, 9 grey matter, 10
        cerebrospinal fluid, 11 blood, 16 calcification; 0 outside.
    mask
        (nx, ny, nz) the brain, given to reconstructions.
    evaluation_mask
        (nx, ny, nz) the brain without its rim, for metrics.
    echoes
        (nx, ny, nz, n_echoes) complex images.
    echo_times_s
        Echo times, s.
    field_ppm
        (nx, ny, nz) noise-free local field, ppm.
    background_field_ppm
        (nx, ny, nz) field of the air around and in the head, ppm; zero unless asked for.
    m0, r1_per_s, r2star_per_s
        (nx, ny, nz) proton density relative to water, R1 and R2* in 1/s.
    affine
        (4, 4) voxel-to-world matrix, in mm, of a scanner whose main field lies along the world's third axis.
    b0_tesla, b0_direction
        Field strength, T, and its unit direction in voxel axes.
    parameters
        What was asked for.
    version
        Version of the phantom.
    """

    susceptibility_ppm: FloatArray
    labels: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    evaluation_mask: NDArray[np.bool_]
    echoes: NDArray[np.complex64]
    echo_times_s: tuple[float, ...]
    field_ppm: FloatArray
    background_field_ppm: FloatArray
    m0: FloatArray
    r1_per_s: FloatArray
    r2star_per_s: FloatArray
    affine: NDArray[np.float64]
    b0_tesla: float
    b0_direction: tuple[float, float, float]
    parameters: PhantomParameters
    version: int = PHANTOM_VERSION

    @property
    def voxel_size_mm(self) -> tuple[float, float, float]:
        """Voxel edges, mm."""
        return self.parameters.output_voxel_mm


def build_phantom(parameters: PhantomParameters | None = None, *, cache: bool = True) -> Phantom:
    """Build the phantom, or read it from the user's cache.

    Parameters
    ----------
    parameters
        What to build; by default the challenge's SIM2 at full size.
    cache
        Use the cache folder.  The anatomy is kept apart from the images, so that another echo time, field direction
        or noise level does not repeat it.
    """
    parameters = parameters or PhantomParameters()
    arrays = cached("images", asdict(parameters), lambda: _images(parameters, cache), cache)
    return Phantom(
        susceptibility_ppm=arrays["susceptibility_ppm"],
        labels=arrays["labels"],
        mask=arrays["mask"],
        evaluation_mask=arrays["evaluation_mask"],
        echoes=arrays["echoes"],
        echo_times_s=parameters.echo_times_s,
        field_ppm=arrays["field_ppm"],
        background_field_ppm=arrays["background_field_ppm"],
        m0=arrays["m0"],
        r1_per_s=arrays["r1_per_s"],
        r2star_per_s=arrays["r2star_per_s"],
        affine=scanner_affine(output_grid(parameters.output_voxel_mm), parameters.b0_direction),
        b0_tesla=parameters.b0_tesla,
        b0_direction=parameters.b0_direction,
        parameters=parameters,
    )


def build_anatomy(parameters: PhantomParameters, *, cache: bool = True) -> tuple[ImageGrid, TissueMaps, Arrays]:
    """Build the stage that does not depend on the acquisition.

    Returns
    -------
    tuple
        The fine grid, the property maps on it, and ``labels`` and ``mask`` on the output grid.
    """
    output = output_grid(parameters.output_voxel_mm)
    fine = fine_grid(output, parameters.fine_voxel_mm)
    values = {"case": parameters.case, "seed": parameters.seed, "fine": fine, "output": output}
    arrays = cached("anatomy", values, lambda: _anatomy(parameters, fine, output), cache)
    inside = np.unpackbits(arrays["inside"], count=int(np.prod(fine.shape))).astype(bool).reshape(fine.shape)
    maps = []
    for name in ("susceptibility_ppm", "m0", "r1_per_s", "r2star_per_s"):
        volume = np.zeros(fine.shape, np.float32)
        volume[inside] = arrays[name]
        maps.append(volume)
    return fine, TissueMaps(*maps), {name: arrays[name] for name in ("labels", "mask")}


def _anatomy(parameters: PhantomParameters, fine: ImageGrid, output: ImageGrid) -> Arrays:
    from qsm_recon.backend.rasterise import draw_tubes

    head = Head.draw(parameters.seed, with_calcification=parameters.case == "sim2")
    slabs = Slabs(head.fields, fine.axes_mm)
    textures = [Texture.draw(parameters.seed, name, fine) for name in ("iron", "myelin")]
    veins = head.veins.astype(np.float64)
    large = veins[np.minimum(veins[:, 3], veins[:, 7]) > LARGE_RADIUS_MM]
    blood, inflow = np.zeros(fine.shape, np.float32), np.zeros(fine.shape, np.float32)
    edges = slab_edges(fine.shape[0], -(-fine.shape[0] // PLANES_PER_SLAB))
    origin, spacing = np.array(fine.origin_mm), np.array(fine.voxel_size_mm)
    maps = TissueMaps(*(np.zeros(fine.shape, np.float32) for _ in range(4)))
    averaging = [averaging_matrix(f, c) for f, c in zip(fine.shape, output.shape, strict=True)]

    def paint(start: int, stop: int) -> tuple[int, NDArray[np.float32]]:
        draw_tubes(start, stop, blood, veins, origin, spacing)
        draw_tubes(start, stop, inflow, large, origin, spacing)
        part = slabs.slab(start, stop)
        fractions = head.fractions(part, max(fine.voxel_size_mm), blood[start:stop])
        iron, myelin = (texture.on(fine.axes_mm[0][start:stop]) for texture in textures)
        myelin += tract_myelin(part.points)
        slab = property_maps(fractions, inflow[start:stop], iron, myelin, parameters.case)
        for name in vars(slab):
            getattr(maps, name)[start:stop] = getattr(slab, name)
        planes = np.flatnonzero(averaging[0][:, start:stop].any(axis=1))
        across = averaging[0][planes[0] : planes[-1] + 1, start:stop]
        return int(planes[0]), np.stack([_average(fractions[label], across, *averaging[1:]) for label in present])

    present = [t.label for t in TISSUES if t.label != 16 or parameters.case == "sim2"]
    shares = np.zeros((len(present), *output.shape), np.float32)
    for first, coarse in run_tasks([partial(paint, start, stop) for start, stop in edges]):
        shares[:, first : first + coarse.shape[1]] += coarse
    mask = shares.sum(axis=0) > 0.5
    labels = np.where(mask, np.array(present, np.uint8)[shares.argmax(axis=0)], 0).astype(np.uint8)
    inside = maps.m0 > 0
    arrays: Arrays = {name: getattr(maps, name)[inside] for name in vars(maps)}
    return {**arrays, "inside": np.packbits(inside), "labels": labels, "mask": mask}


def _average(fraction: FloatArray, x: FloatArray, y: FloatArray, z: FloatArray) -> FloatArray:
    """Average one tissue of a slab over output voxels, given the averaging matrix of every axis."""
    from qsm_recon.backend.averaging import average_block, taps

    if not fraction.any():
        return np.zeros((len(x), len(y), len(z)), np.float32)
    result = np.empty((len(x), len(y), len(z)), np.float32)
    average_block(0, len(x), fraction, result, *taps(x), *taps(y), *taps(z))
    return result


@dataclass(frozen=True)
class Texture:
    """A random texture of unit variance with structure at several scales."""

    parts: tuple[tuple[np.float32, PreparedField], ...]

    @classmethod
    def draw(cls, seed: int, name: str, grid: ImageGrid) -> Texture:
        """Draw the texture that belongs to a seed and a name."""
        parts = []
        for scale_mm, weight, points in ((40.0, 0.6, 6.0), (13.0, 0.55, 6.0), (5.0, 0.58, 4.0)):
            field = random_field(seed, f"{name} {scale_mm:g} mm", scale_mm, None, points)
            parts.append((np.float32(weight), field.prepared(*grid.axes_mm[1:])))
        return cls(tuple(parts))

    def on(self, x_mm: FloatArray) -> FloatArray:
        """Evaluate on planes of constant x."""
        values = [weight * field.on(x_mm) for weight, field in self.parts]
        return values[0] + values[1] + values[2]


def _images(parameters: PhantomParameters, cache: bool) -> Arrays:
    fine, maps, arrays = build_anatomy(parameters, cache=cache)
    output = output_grid(parameters.output_voxel_mm)
    shape = output.shape
    field = dipole_field(maps.susceptibility_ppm, fine.voxel_size_mm, parameters.b0_direction)
    local = average_voxels(field, shape)
    background = np.zeros(shape, np.float32)
    if parameters.background:
        air = background_field(fine, parameters.b0_direction, maps.m0 > 0.1)
        background = average_voxels(air, shape)
        field += air
    offset = smooth_phase_offset(fine, parameters.rf_phase_offset_rad) if parameters.rf_phase_offset_rad else None
    echoes = np.empty((*shape, len(parameters.echo_times_s)), np.complex64)
    images = noise_free_echoes(maps, field, parameters.echo_times_s, parameters.b0_tesla, shape, offset)
    for index, image in enumerate(images):
        echoes[..., index] = image
    add_noise(echoes, parameters.snr, parameters.noise_seed)
    mask = arrays["mask"]
    truth = average_voxels(maps.susceptibility_ppm, shape)
    return {
        "susceptibility_ppm": truth,
        "labels": arrays["labels"],
        "mask": mask,
        "evaluation_mask": _eroded(mask, output),
        "echoes": echoes,
        "field_ppm": local,
        "background_field_ppm": background,
        "m0": average_voxels(maps.m0, shape),
        "r1_per_s": average_voxels(maps.r1_per_s, shape),
        "r2star_per_s": average_voxels(maps.r2star_per_s, shape),
    }


def _eroded(mask: NDArray[np.bool_], grid: ImageGrid) -> NDArray[np.bool_]:
    from scipy.ndimage import distance_transform_edt

    padded = np.pad(mask, 1)
    depth = distance_transform_edt(padded, sampling=grid.voxel_size_mm)
    return depth[1:-1, 1:-1, 1:-1] > EVALUATION_MARGIN_MM
