"""From susceptibility to echoes: dipole field, spoiled gradient-echo signal, noise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.threads import thread_count
from qsm_recon.operators.dipole import dipole_kernel
from qsm_recon.operators.grid import Grid
from qsm_recon.phantom.geometry import ImageGrid
from qsm_recon.phantom.random_fields import generator
from qsm_recon.phantom.resampling import crop_k_space
from qsm_recon.phantom.tissue import TissueMaps
from qsm_recon.units import rad_per_ppm

FloatArray = NDArray[np.floating]

REPETITION_TIME_S = 0.050
FLIP_ANGLE_DEG = 15.0
PADDING = 1.5
"""Length of the transformed grid over that of the image: keeps the periodic copies of the head away."""


def dipole_field(
    susceptibility_ppm: FloatArray,
    voxel_size_mm: tuple[float, float, float],
    b0_direction: tuple[float, float, float],
    padding: float = PADDING,
) -> FloatArray:
    """Relative field shift (ppm) along B0 of a susceptibility distribution (ppm), by zero-padded convolution.

    Parameters
    ----------
    susceptibility_ppm
        (nx, ny, nz).
    voxel_size_mm
        Voxel edges.
    b0_direction
        Field direction in voxel axes.
    padding
        Length of the transformed grid over that of the image.

    Returns
    -------
    ndarray
        (nx, ny, nz) field, ppm.
    """
    from scipy import fft

    nx, ny, nz = susceptibility_ppm.shape
    lengths = [fft.next_fast_len(int(np.ceil(padding * n)), real=True) for n in (nx, ny, nz)]
    shape = (lengths[0], lengths[1], lengths[2])
    spectrum = fft.rfftn(susceptibility_ppm, s=shape, workers=thread_count())
    spectrum *= dipole_kernel(Grid(shape, voxel_size_mm, b0_direction))
    field = fft.irfftn(spectrum, s=shape, workers=thread_count(), overwrite_x=True)
    return np.ascontiguousarray(field[:nx, :ny, :nz], dtype=np.float32)


def steady_state(m0: FloatArray, r1_per_s: FloatArray) -> FloatArray:
    """Signal of a spoiled gradient-echo sequence at echo time zero (Ernst and Anderson, Rev Sci Instrum 1966)."""
    flip = np.radians(FLIP_ANGLE_DEG)
    recovery = np.exp(np.float32(-REPETITION_TIME_S) * r1_per_s)
    return m0 * np.float32(np.sin(flip)) * (1 - recovery) / (1 - np.float32(np.cos(flip)) * recovery)


def noise_free_echoes(
    maps: TissueMaps,
    field_ppm: FloatArray,
    echo_times_s: Sequence[float],
    b0_tesla: float,
    output_shape: tuple[int, int, int],
    initial_phase_rad: FloatArray | None = None,
) -> Iterator[NDArray[np.complex64]]:
    """Complex images of every echo, cropped in k-space from the fine grid to ``output_shape``.

    Parameters
    ----------
    maps
        M0, R1 and R2* on the fine grid.
    field_ppm
        Relative field shift on the fine grid.
    echo_times_s, b0_tesla
        Echo times (s) and field strength (T).
    output_shape
        Shape of the image.
    initial_phase_rad
        Phase at echo time zero on the fine grid.
    """
    at_zero = steady_state(maps.m0, maps.r1_per_s)
    for echo_time in echo_times_s:
        phase = np.float32(rad_per_ppm(b0_tesla, echo_time)) * field_ppm
        if initial_phase_rad is not None:
            phase += initial_phase_rad
        magnitude = at_zero * np.exp(np.float32(-echo_time) * maps.r2star_per_s)
        signal = np.empty(phase.shape, np.complex64)
        np.multiply(magnitude, np.cos(phase), out=signal.real)
        np.multiply(magnitude, np.sin(phase), out=signal.imag)
        del phase, magnitude
        yield crop_k_space(signal, output_shape)


def add_noise(echoes: NDArray[np.complex64], snr: float, noise_seed: int) -> None:
    """Add complex Gaussian noise in place.

    Parameters
    ----------
    echoes
        (nx, ny, nz, n_echoes).
    snr
        Largest magnitude of the first echo over the standard deviation of the real (and of the imaginary) part.
    noise_seed
        Selects the noise; every echo has its own stream.
    """
    if not np.isfinite(snr):
        return
    deviation = np.float32(np.abs(echoes[..., 0]).max() / snr)
    for echo in range(echoes.shape[3]):
        rng = generator(noise_seed, f"noise of echo {echo}")
        for part in (echoes.real, echoes.imag):
            part[..., echo] += deviation * rng.standard_normal(echoes.shape[:3], dtype=np.float32)


def smooth_phase_offset(grid: ImageGrid, amplitude_rad: float) -> FloatArray:
    """Phase at echo time zero, as the transmit and receive fields of a coil leave it: quadratic over the head."""
    x, y, z = (axis / np.float32(100.0) for axis in np.ix_(*grid.axes_mm))
    shape = 0.9 * x + 0.5 * y - 0.6 * z - 1.1 * (x * x + 0.8 * y * y + 0.9 * z * z) + 0.5 * x * y + 0.4 * y * z
    return np.asarray(amplitude_rad * shape, dtype=np.float32)
