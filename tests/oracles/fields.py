"""Dipole kernels on the full spectrum, differences as Fourier symbols, and known fields."""

import numpy as np


def frequencies(shape, voxel_size):
    """Spatial frequencies n / (N Δ) in cycles per mm, each of the full shape."""
    return np.meshgrid(*[np.fft.fftfreq(n, d) for n, d in zip(shape, voxel_size, strict=True)], indexing="ij")


def difference_symbols(shape, spacing):
    """Transforms of the periodic forward differences x[n + 1] - x[n], divided by the spacing."""
    cycles = np.meshgrid(*[np.fft.fftfreq(n) for n in shape], indexing="ij")
    return [(np.exp(2j * np.pi * c) - 1) / h for c, h in zip(cycles, spacing, strict=True)]


def mirrored(spectrum):
    """The spectrum at -k."""
    return np.roll(spectrum[::-1, ::-1, ::-1], 1, (0, 1, 2))


def dipole_kernel(kind, shape, voxel_size, direction):
    """Real symmetric dipole kernel on the full unshifted spectrum; zero at zero frequency."""
    b = np.asarray(direction, dtype=float) / np.linalg.norm(direction)
    if kind == "green":
        kernel = np.fft.fftn(_sampled_dipole(shape, voxel_size, b))
    else:
        k = frequencies(shape, voxel_size) if kind == "continuous" else difference_symbols(shape, voxel_size)
        squared = sum(np.abs(ki) ** 2 for ki in k)
        squared[0, 0, 0] = 1
        kernel = 1 / 3 - np.abs(sum(bi * ki for bi, ki in zip(b, k, strict=True))) ** 2 / squared
    kernel = (kernel + mirrored(kernel)).real / 2
    kernel[0, 0, 0] = 0
    return kernel


def _sampled_dipole(shape, voxel_size, b):
    positions = [np.fft.fftfreq(n) * n * d for n, d in zip(shape, voxel_size, strict=True)]
    r = np.meshgrid(*positions, indexing="ij")
    distance = np.sqrt(sum(ri**2 for ri in r))
    distance[0, 0, 0] = 1
    cosine = sum(bi * ri for bi, ri in zip(b, r, strict=True)) / distance
    dipole = (3 * cosine**2 - 1) / (4 * np.pi * distance**3)
    dipole[0, 0, 0] = 0
    return dipole * np.prod(voxel_size)


def filtered(kernel, image):
    """Multiply by a kernel in k-space; the complex result."""
    return np.fft.ifftn(kernel * np.fft.fftn(image))


def sphere_field(shape, voxel_size, direction, radius, susceptibility):
    """A ball in the middle of the grid, its field by the textbook formula, and the distance from its centre (mm)."""
    b = np.asarray(direction, dtype=float) / np.linalg.norm(direction)
    r = np.meshgrid(*[(np.arange(n) - n // 2) * d for n, d in zip(shape, voxel_size, strict=True)], indexing="ij")
    distance = np.sqrt(sum(ri**2 for ri in r))
    cosine = sum(bi * ri for bi, ri in zip(b, r, strict=True)) / np.maximum(distance, 1e-9)
    ratio = radius / np.maximum(distance, radius)
    field = np.where(distance > radius, susceptibility / 3 * ratio**3 * (3 * cosine**2 - 1), 0)
    return np.where(distance <= radius, susceptibility, 0.0), field, distance
