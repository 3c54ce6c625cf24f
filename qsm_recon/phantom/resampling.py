"""From the fine grid to the image: k-space cropping for the signal, voxel averages for what must not ring."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.threads import parallel_slabs, thread_count


def crop_k_space(signal: NDArray[np.complexfloating], shape: tuple[int, int, int]) -> NDArray[np.complex64]:
    """Acquire an image at lower resolution over the same field of view.

    The discrete Fourier transform is cut to the central frequencies, as a scanner samples them, so that spins which
    dephase within an image voxel cancel and edges ring.  A phase ramp keeps the outer edges of the two grids together:
    without it the image would be displaced by half the difference of the voxel sizes.  Values are scaled such that a
    constant keeps its value.

    Parameters
    ----------
    signal
        (Nx, Ny, Nz) complex signal on the fine grid.
    shape
        (nx, ny, nz), nowhere larger than the fine grid.
    """
    from scipy import fft

    spectrum = signal
    for axis, n in enumerate(shape):
        size = spectrum.shape[axis]
        spectrum = fft.fft(spectrum, axis=axis, workers=thread_count())
        index = np.concatenate([np.arange((n + 1) // 2), np.arange(size - n // 2, size)])
        frequency = fft.fftfreq(n, 1.0 / n)
        shift = 0.5 / n - 0.5 / size  # between the centres of the first voxels, as a fraction of the field of view
        ramp = np.exp(2j * np.pi * frequency * shift).astype(np.complex64) * np.float32(n / size)
        along = [1, 1, 1]
        along[axis] = n
        spectrum = np.take(spectrum, index, axis=axis) * ramp.reshape(along)
    return fft.ifftn(spectrum, overwrite_x=True, workers=thread_count()).astype(np.complex64)


def averaging_matrix(fine: int, coarse: int) -> NDArray[np.float32]:
    """(coarse, fine) matrix that averages a function, constant on fine voxels, over coarse voxels of the same span."""
    edges = np.arange(coarse + 1) * (fine / coarse)
    low = np.maximum(edges[:-1, None], np.arange(fine)[None, :])
    high = np.minimum(edges[1:, None], np.arange(1, fine + 1)[None, :])
    return (np.maximum(high - low, 0) * (coarse / fine)).astype(np.float32)


def average_voxels(volume: NDArray[np.float32], shape: tuple[int, int, int]) -> NDArray[np.float32]:
    """Mean over each image voxel of a quantity given on the fine grid.

    This is how truth, labels and the true field are brought to the image's resolution.  It never over- or undershoots,
    and keeps sums (the moment of a calcification).  The average alone is a convolution and commutes with the dipole
    model, but taking one value per image voxel folds fine scales into coarse ones, where the kernel is another: the
    averaged field is the field of the averaged susceptibility but for 6 to 8 % straight and 11 to 16 % oblique at 1.3
    to 2 times the voxel size (objects with sharp edges), most of it at the finest scales; ``test_phantom_signal`` has
    bounds.  Local sub-voxel shifts, the challenge's remedy for ringing, do not commute even before that.

    Parameters
    ----------
    volume
        (Nx, Ny, Nz).
    shape
        (nx, ny, nz) over the same field of view.
    """
    from qsm_recon.backend.averaging import average_block, taps

    result = np.empty(shape, np.float32)
    bands = [band for fine, n in zip(volume.shape, shape, strict=True) for band in taps(averaging_matrix(fine, n))]
    parallel_slabs(average_block, shape[0], volume, result, *bands)
    return result
