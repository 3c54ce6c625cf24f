"""Plain numpy for :mod:`qsm_recon.backend.kernels.image`."""

from __future__ import annotations

from numpy.typing import NDArray

from qsm_recon.backend.plain.arrays import planes, square, total


def replace_planes(image: NDArray, fresh: NDArray, first: int, nz: int) -> tuple[float, float]:
    """See the kernel."""
    new, old = planes(fresh, first, nz, image)
    sums = total(square(new - old)), total(square(new))
    old[...] = new
    return sums
