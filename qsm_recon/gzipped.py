"""Files compressed by gzip, by the fastest library that is there.  The only place that knows one.

``isal`` reads twice and writes ten times as fast as Python's own zlib, to files about as small.  It is installed with
this package wherever it comes ready to use; where it cannot be imported zlib stands in, whose files hold the same.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

LEVEL = 1
"""Images hold noise, which no level compresses: more effort gains two per cent."""
MAGIC = b"\x1f\x8b"
WITH_HEADER = zlib.MAX_WBITS | 16
"""What zlib calls the form that gzip writes."""
CHUNK = 1 << 16
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
        If the file ends before the last voxel, or before the sum that checks them.
    gzip.BadGzipFile
        If the file is damaged.

    Notes
    -----
    What follows the compressed data is left aside, as gzip does.  Libraries differ in what they say of it, and of
    damage: where one finds either, the file is read again in a way that can tell.
    """
    layout = offset, shape, stored, scaled, kind
    try:
        with library().open(path, "rb") as stream:
            return _voxels(stream, *layout)
    except Exception:  # of which isal has its own
        with path.open("rb") as file, io.BufferedReader(_Members(file)) as stream:
            return _voxels(stream, *layout)


def _voxels(
    stream: IO[bytes] | io.BufferedReader,
    offset: int,
    shape: tuple[int, ...],
    stored: np.dtype,
    scaled: Callable[[NDArray], NDArray],
    kind: np.dtype | None,
) -> NDArray:
    nx, ny, nz = shape[:3]
    values: NDArray | None = None
    with np.errstate(over="ignore"):
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
    while stream.read(CHUNK):  # to the sum at the end, by which damage is found
        pass
    return np.empty(shape, kind) if values is None else values


class _Members(io.RawIOBase):
    """What a compressed file holds, member by member, up to its end or to what is no gzip any more."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.given, self.member, self.ended = file, b"", zlib.decompressobj(WITH_HEADER), False

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def readinto(self, into: Any) -> int:
        """Fill a buffer as far as a piece of the file goes; 0 at the end."""
        while not self.ended:
            if self.member.eof:
                self._go_on()
                continue
            self.given = self.given or self.file.read(CHUNK)
            if not self.given:
                raise EOFError("its compressed data end in the middle; is it complete?")
            try:
                found = self.member.decompress(self.given, len(into))
            except zlib.error as error:
                what = str(error).rpartition(": ")[2]
                raise gzip.BadGzipFile(f"its compressed data are damaged ({what}); copy it again") from error
            self.given = self.member.unconsumed_tail
            if found:
                into[: len(found)] = found
                return len(found)
        return 0

    def _go_on(self) -> None:
        """Begin with the next member, if there is one after zeros that fill a block."""
        rest = self.member.unused_data.lstrip(b"\0")
        while len(rest) < len(MAGIC) and (more := self.file.read(CHUNK)):
            rest = (rest + more).lstrip(b"\0")
        self.ended = not rest.startswith(MAGIC)
        self.given, self.member = rest, zlib.decompressobj(WITH_HEADER)


def _fill(stream: IO[bytes] | io.BufferedReader, block: NDArray) -> None:
    """Fill an array from a stream, which may give less at a time than is asked for."""
    left = memoryview(block.view(np.uint8))  # type: ignore[arg-type]
    while left:
        count = stream.readinto(left)  # type: ignore[union-attr]
        if not count:
            raise EOFError("it ends before its last voxel; is it complete?")
        left = left[count:]
