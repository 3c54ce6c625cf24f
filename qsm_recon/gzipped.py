"""Files compressed by gzip, by the fastest library that is there.  The only place that knows one.

``isal`` reads twice and writes ten times as fast as Python's own zlib, to files about as small.  It is installed with
this package wherever it comes ready to use; where it cannot be imported zlib stands in, whose files hold the same.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import IO

import numpy as np
from numpy.typing import NDArray

LEVEL = 1
"""Images hold noise, which no level compresses: more effort gains two per cent."""
SLICES_AT_ONCE = 32
"""A block of them stays in a processor's cache."""


@cache
def library() -> ModuleType:
    """Return the module that does the work: ``isal.igzip``, or ``gzip`` where that cannot be imported."""
    try:
        from isal import igzip
    except ImportError:
        return gzip
    return igzip


def write_gzipped(path: Path, content: bytes) -> None:
    """Write a compressed file; the same content gives the same bytes at any time."""
    path.write_bytes(library().compress(content, LEVEL, mtime=0))


def read_voxels(
    path: Path,
    offset: int,
    shape: tuple[int, ...],
    stored: np.dtype,
    scaled: Callable[[NDArray], NDArray],
    kind: np.dtype | None,
) -> NDArray:
    """Read the voxels of a compressed file, a few slices at a time, into an array in C order.

    The slices are put in their places while the processor has them at hand, and the whole image need not exist in the
    file's order and type as well.

    Parameters
    ----------
    path
        The file.
    offset
        Bytes before the first voxel.
    shape
        Of the image, three axes or more; in the file the first runs fastest.
    stored
        Type in the file.
    scaled
        Makes values of what is stored, element by element.
    kind
        Type of the result; None takes that which ``scaled`` gives.

    Raises
    ------
    EOFError
        If the file ends before the last voxel; a damaged one may raise other errors.
    """
    nx, ny, nz = shape[:3]
    values: NDArray | None = None
    with library().open(path, "rb") as stream, np.errstate(over="ignore"):
        if len(stream.read(offset)) < offset:
            raise EOFError("it ends within its header")
        for volume in np.ndindex(shape[:2:-1]):  # the last axis runs slowest
            for first in range(0, nz, SLICES_AT_ONCE):
                last = min(first + SLICES_AT_ONCE, nz)
                block = np.empty((last - first) * ny * nx, stored)
                _fill(stream, block)
                slices = scaled(block).reshape((nx, ny, last - first), order="F")
                if values is None:
                    values = np.empty(shape, slices.dtype if kind is None else kind)
                values[(slice(None), slice(None), slice(first, last), *volume[::-1])] = slices
    return np.empty(shape, kind) if values is None else values


def _fill(stream: IO[bytes], block: NDArray) -> None:
    """Fill an array from a stream, which may give less at a time than is asked for."""
    left = memoryview(block.view(np.uint8))  # type: ignore[arg-type]
    while left:
        count = stream.readinto(left)  # type: ignore[attr-defined]
        if not count:
            raise EOFError("it ends before its last voxel; is it complete?")
        left = left[count:]
