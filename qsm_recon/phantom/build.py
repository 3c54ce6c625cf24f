"""Building the phantom: the drawn anatomy on the fine grid, then field, echoes and truth on the image grid."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qsm_recon.phantom.background import background_field
from qsm_recon.phantom.cache import Arrays, cached
from qsm_recon.phantom.drawing import draw_anatomy
from qsm_recon.phantom.geometry import ImageGrid, fine_grid, output_grid, scanner_affine
from qsm_recon.phantom.microstructure import orientation_shift
from qsm_recon.phantom.parameters import PHANTOM_VERSION, PhantomParameters
from qsm_recon.phantom.remnant import remnant_field
from qsm_recon.phantom.resampling import average_voxels
from qsm_recon.phantom.signal import add_noise, dipole_field, noise_free_echoes, smooth_phase_offset
from qsm_recon.phantom.tissue import TissueMaps

FloatArray = NDArray[np.floating]

EVALUATION_MARGIN_MM = 2.0
"""How far inside the brain mask the evaluation mask stays."""
ANATOMICAL = (
    "texture_ppm",
    "texture_slope",
    "detail_seed",
    "calcifications",
    "haemorrhages",
    "vessel_density",
    "vessel_ppm",
)
"""Options that change the anatomy."""
FIBRES = ("white", "fraction", "orientation")


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
        cerebrospinal fluid, 11 blood, 16 calcification; 17, which the challenge does not have, haemorrhage; 0 outside.
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
    remnant_field_ppm
        (nx, ny, nz) what the removal of a background left of it, ppm; zero unless asked for.
    microstructure_field_ppm
        (nx, ny, nz) frequency shift of white matter by the direction of its fibres, ppm; zero unless asked for.
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
    remnant_field_ppm: FloatArray
    microstructure_field_ppm: FloatArray
    m0: FloatArray
    r1_per_s: FloatArray
    r2star_per_s: FloatArray
    affine: NDArray[np.float64]
    b0_tesla: float
    b0_direction: tuple[float, float, float]
    parameters: PhantomParameters
    version: int = PHANTOM_VERSION

    @property
    def frequency_ppm(self) -> FloatArray:
        """(nx, ny, nz) everything that shifts the noise-free frequency: the local field and all others, ppm."""
        others = self.background_field_ppm + self.remnant_field_ppm + self.microstructure_field_ppm
        return self.field_ppm + others

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
    arrays = cached("images", parameters.changed(), lambda: _images(parameters, cache), cache)
    absent = np.zeros(arrays["mask"].shape, np.float32)
    return Phantom(
        susceptibility_ppm=arrays["susceptibility_ppm"],
        labels=arrays["labels"],
        mask=arrays["mask"],
        evaluation_mask=arrays["evaluation_mask"],
        echoes=arrays["echoes"],
        echo_times_s=parameters.echo_times_s,
        field_ppm=arrays["field_ppm"],
        background_field_ppm=arrays["background_field_ppm"],
        remnant_field_ppm=arrays.get("remnant_field_ppm", absent),
        microstructure_field_ppm=arrays.get("microstructure_field_ppm", absent),
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
        The fine grid, the property maps on it, and ``labels`` and ``mask`` on the output grid; with
        ``microstructure_ppm`` also ``white``, the numbers of the fine voxels that hold white matter, its ``fraction``
        there and the ``orientation`` tensor of its fibres.
    """
    output = output_grid(parameters.output_voxel_mm)
    fine = fine_grid(output, parameters.fine_voxel_mm)
    values = {"case": parameters.case, "seed": parameters.seed, "fine": fine, "output": output}
    values |= {name: value for name, value in parameters.changed().items() if name in ANATOMICAL}
    with_fibres = parameters.microstructure_ppm != 0
    values |= {"fibres": True} if with_fibres else {}
    arrays = cached("anatomy", values, lambda: draw_anatomy(parameters, fine, output, with_fibres), cache)
    inside = np.unpackbits(arrays["inside"], count=int(np.prod(fine.shape))).astype(bool).reshape(fine.shape)
    maps = []
    for name in ("susceptibility_ppm", "m0", "r1_per_s", "r2star_per_s"):
        volume = np.zeros(fine.shape, np.float32)
        volume[inside] = arrays[name]
        maps.append(volume)
    kept = ("labels", "mask", *(FIBRES if with_fibres else ()))
    return fine, TissueMaps(*maps), {name: arrays[name] for name in kept}


def _images(parameters: PhantomParameters, cache: bool) -> Arrays:
    fine, maps, arrays = build_anatomy(parameters, cache=cache)
    output = output_grid(parameters.output_voxel_mm)
    shape = output.shape
    field = dipole_field(maps.susceptibility_ppm, fine.voxel_size_mm, parameters.b0_direction)
    local = average_voxels(field, shape)
    others = {"background": np.zeros(shape, np.float32)}
    for name, part in _other_fields(parameters, fine, maps, arrays):
        others[name] = average_voxels(part, shape)
        field += part
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
        **{f"{name}_field_ppm": part for name, part in others.items()},
        "m0": average_voxels(maps.m0, shape),
        "r1_per_s": average_voxels(maps.r1_per_s, shape),
        "r2star_per_s": average_voxels(maps.r2star_per_s, shape),
    }


def _other_fields(
    parameters: PhantomParameters, fine: ImageGrid, maps: TissueMaps, arrays: Arrays
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """What else shifts the frequency, by name, on the fine grid (ppm)."""
    brain = maps.m0 > 0.1
    if parameters.background:
        yield "background", background_field(fine, parameters.b0_direction, brain)
    if parameters.remnant_ppm:
        stream = (parameters.seed, f"background remnant {parameters.detail_seed}")
        yield (
            "remnant",
            remnant_field(fine, parameters.b0_direction, brain, arrays["mask"], parameters.remnant_ppm, stream),
        )
    if parameters.microstructure_ppm:
        shift = orientation_shift(arrays["orientation"], parameters.b0_direction, parameters.microstructure_ppm)
        volume = np.zeros(fine.shape, np.float32)
        volume.ravel()[arrays["white"]] = arrays["fraction"] * shift
        yield "microstructure", volume


def _eroded(mask: NDArray[np.bool_], grid: ImageGrid) -> NDArray[np.bool_]:
    from scipy.ndimage import distance_transform_edt

    padded = np.pad(mask, 1)
    depth = distance_transform_edt(padded, sampling=grid.voxel_size_mm)
    return depth[1:-1, 1:-1, 1:-1] > EVALUATION_MARGIN_MM
