"""Sizes of the grids that transforms run on."""

from __future__ import annotations

from qsm_recon.errors import ParameterError


def padded_shape(shape: tuple[int, int, int], padding: int | tuple[int, int, int] = 0) -> tuple[int, int, int]:
    """Grid size with at least ``padding`` more voxels along each axis whose prime factors are 2, 3 and 5 only.

    Raises
    ------
    ParameterError
        If a padding is negative.
    """
    from qsm_recon.backend.fft import fast_length

    margins = (padding,) * 3 if isinstance(padding, int) else padding
    if min(margins) < 0:
        raise ParameterError(f"padding: expected non-negative numbers of voxels, found {padding}")
    nx, ny, nz = (fast_length(n + margin) for n, margin in zip(shape, margins, strict=True))
    return (nx, ny, nz)
