"""Dipole kernels on the full spectrum, differences as Fourier symbols, and known fields."""

import itertools

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
        kernel = np.fft.fftn(voxel_field(shape, voxel_size, b))
    else:
        k = frequencies(shape, voxel_size) if kind == "continuous" else difference_symbols(shape, voxel_size)
        squared = sum(np.abs(ki) ** 2 for ki in k)
        squared[0, 0, 0] = 1
        kernel = 1 / 3 - np.abs(sum(bi * ki for bi, ki in zip(b, k, strict=True))) ** 2 / squared
    kernel = (kernel + mirrored(kernel)).real / 2
    kernel[0, 0, 0] = 0
    return kernel


def offsets(shape, voxel_size):
    """Positions of all voxels relative to the first, in FFT order, each of the full shape."""
    return np.meshgrid(*[np.fft.fftfreq(n) * n * d for n, d in zip(shape, voxel_size, strict=True)], indexing="ij")


def voxel_field(shape, voxel_size, b):
    """Field along b of one box of unit susceptibility, corner by corner; less the field of a sphere inside itself."""
    positions = offsets(shape, voxel_size)
    field = np.zeros(shape)
    for signs in itertools.product((-1, 1), repeat=3):
        x, y, z = (p + s * d / 2 for p, s, d in zip(positions, signs, voxel_size, strict=True))
        r = np.sqrt(x**2 + y**2 + z**2)
        tensor = np.array(
            [
                [-np.arctan(y * z / (x * r)), np.log(z + r), np.log(y + r)],
                [np.log(z + r), -np.arctan(x * z / (y * r)), np.log(x + r)],
                [np.log(y + r), np.log(x + r), -np.arctan(x * y / (z * r))],
            ]
        )
        field += np.prod(signs) * np.einsum("i,ij...,j", b, tensor, b) / (4 * np.pi)
    field[0, 0, 0] += 1 / 3
    return field


def filtered(kernel, image):
    """Multiply by a kernel in k-space; the complex result."""
    return np.fft.ifftn(kernel * np.fft.fftn(image))


def sphere_field(shape, voxel_size, direction, radius, susceptibility):
    """A ball in the middle of the grid, its field by the textbook formula, and the distance from its centre (mm).

    Voxels on the surface hold the part of the susceptibility that is theirs, from 5³ points in each.
    """
    b = np.asarray(direction, dtype=float) / np.linalg.norm(direction)
    axes = [(np.arange(n) - n // 2) * d for n, d in zip(shape, voxel_size, strict=True)]
    fractions = (np.arange(5) - 2) / 5
    fine = np.ix_(*[(a[:, None] + d * fractions).ravel() for a, d in zip(axes, voxel_size, strict=True)])
    inside = sum(r**2 for r in fine) <= radius**2
    fill = inside.reshape([size for n in shape for size in (n, 5)]).mean(axis=(1, 3, 5))
    r = np.ix_(*axes)
    distance = np.sqrt(sum(ri**2 for ri in r))
    cosine = sum(bi * ri for bi, ri in zip(b, r, strict=True)) / np.maximum(distance, 1e-9)
    ratio = radius / np.maximum(distance, radius)
    field = np.where(distance > radius, susceptibility / 3 * ratio**3 * (3 * cosine**2 - 1), 0)
    return susceptibility * fill, field, distance
