"""Real three-dimensional Fourier transforms, taken apart into planes and columns.

A transform over (x, y, z) is a two-dimensional real transform of every x-plane followed by a complex transform
along x for every row of y.  Both halves work on pieces that fit a processor's cache, so an engine can do its
element-wise work on a piece while it is there, and threads share the pieces.  pyFFTW computes them; where it is
not importable scipy does.  This is the only module that knows either.
"""

from __future__ import annotations

import contextlib
import json
import logging
import mmap
import sys
import threading
from collections.abc import Callable
from functools import cache, partial
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from qsm_recon.backend.cache_folder import cache_folder, write_in_one_step
from qsm_recon.backend.device import CPU, device_name
from qsm_recon.backend.threads import run_tasks, slab_edges, thread_count
from qsm_recon.values import precision

logger = logging.getLogger(__name__)

_STAND_INS = "pyfftw.interfaces"

ALIGNMENT_BYTES = 64
PLANES_PER_BLOCK = 4
ROWS_PER_BLOCK = 4


def fast_length(n: int) -> int:
    """Smallest length not below ``n`` whose only prime factors are 2, 3 and 5."""
    length = max(1, int(n))
    while True:
        rest = length
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return length
        length += 1


class BlockTransforms(Protocol):
    """The four transforms that a library must offer; unnormalised, each on one block."""

    def forward_planes(self, image: NDArray, spectrum: NDArray) -> None:
        """Real to complex over the last two axes."""

    def inverse_planes(self, spectrum: NDArray, image: NDArray) -> None:
        """Complex to real over the last two axes; may overwrite its input."""

    def forward_columns(self, spectrum: NDArray) -> None:
        """Complex along the first axis, in place."""

    def inverse_columns(self, spectrum: NDArray) -> None:
        """Complex along the first axis, in place, without division by the length."""


class _ScipyBlocks:
    """Transforms by scipy.fft, for machines without pyFFTW."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        import scipy.fft  # here, so that commands which compute nothing need not wait for it

        self._plane = shape[1:]
        self._library = scipy.fft

    def forward_planes(self, image: NDArray, spectrum: NDArray) -> None:
        """See :class:`BlockTransforms`."""
        spectrum[...] = self._library.rfft2(image, axes=(1, 2))

    def inverse_planes(self, spectrum: NDArray, image: NDArray) -> None:
        """See :class:`BlockTransforms`."""
        image[...] = self._library.irfft2(spectrum, s=self._plane, axes=(1, 2), norm="forward")

    def forward_columns(self, spectrum: NDArray) -> None:
        """See :class:`BlockTransforms`."""
        spectrum[...] = self._library.fft(spectrum, axis=0)

    def inverse_columns(self, spectrum: NDArray) -> None:
        """See :class:`BlockTransforms`."""
        spectrum[...] = self._library.ifft(spectrum, axis=0, norm="forward")


class _FFTWBlocks:
    """Transforms by pyFFTW.  One object per thread: executing on new arrays changes a plan."""

    def __init__(self, library: Any) -> None:
        self._library = library
        self._plans: dict[tuple, tuple[Any, NDArray, NDArray]] = {}

    def _run(self, source: NDArray, target: NDArray, axes: tuple[int, ...], direction: str) -> None:
        key = (direction, axes, source.shape, source.strides, target.strides, source.dtype)
        found = self._plans.get(key)
        if found is None:
            plan = self._make_plan(source, target, axes, direction)
            found = self._plans[key] = plan, _hollow(source), _hollow(target)
        plan, *nothing = found
        plan.update_arrays(source, target)
        plan.execute()
        plan.update_arrays(*nothing)  # a plan holds on to its arrays, and with them to volumes nobody uses any more

    def _make_plan(self, source: NDArray, target: NDArray, axes: tuple[int, ...], direction: str) -> Any:
        # Measuring overwrites the arrays, so plan on stand-ins of the same layout and alignment.
        in_place = source.ctypes.data == target.ctypes.data
        stand_in = _same_layout(source)
        destination = stand_in if in_place else _same_layout(target)
        flags = ["FFTW_MEASURE"]
        if not in_place and direction == "FFTW_BACKWARD":
            flags.append("FFTW_DESTROY_INPUT")
        make = partial(self._library.FFTW, stand_in, destination, axes=axes, direction=direction, threads=1)
        with _planner_lock:
            try:
                return make(flags=[*flags, "FFTW_WISDOM_ONLY"])
            except RuntimeError:  # nobody has measured this one before
                plan = make(flags=flags)
                _save_wisdom(self._library)
                return plan

    def forward_planes(self, image: NDArray, spectrum: NDArray) -> None:
        """See :class:`BlockTransforms`."""
        self._run(image, spectrum, (1, 2), "FFTW_FORWARD")

    def inverse_planes(self, spectrum: NDArray, image: NDArray) -> None:
        """See :class:`BlockTransforms`."""
        self._run(spectrum, image, (1, 2), "FFTW_BACKWARD")

    def forward_columns(self, spectrum: NDArray) -> None:
        """See :class:`BlockTransforms`."""
        self._run(spectrum, spectrum, (0,), "FFTW_FORWARD")

    def inverse_columns(self, spectrum: NDArray) -> None:
        """See :class:`BlockTransforms`."""
        self._run(spectrum, spectrum, (0,), "FFTW_BACKWARD")


_planner_lock, _import_lock = threading.Lock(), threading.Lock()


def _same_layout(array: NDArray) -> NDArray:
    """Return a zeroed aligned array with the shape and strides of another, which leaves no trace once it is let go of.

    Its memory is the system's own: the C library of Linux keeps what a thread freed on top of its heap, for each
    thread as much as a volume, and trimming does not reach it.
    """
    span = sum((n - 1) * abs(s) for n, s in zip(array.shape, array.strides, strict=True)) + array.itemsize
    base = np.frombuffer(mmap.mmap(-1, span), array.dtype)
    return np.lib.stride_tricks.as_strided(base, array.shape, array.strides)


def _hollow(array: NDArray) -> NDArray:
    """Return an array of the same layout with no memory behind its entries, which must not be touched."""
    return np.lib.stride_tricks.as_strided(aligned_zeros((1,), array.dtype), array.shape, array.strides)


def aligned_zeros(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray:
    """Return a zeroed C-ordered array that starts at a cache line."""
    dtype = np.dtype(dtype)
    size = int(np.prod(shape)) * dtype.itemsize
    raw = np.zeros(size + ALIGNMENT_BYTES, dtype=np.uint8)
    offset = -raw.ctypes.data % ALIGNMENT_BYTES
    return raw[offset : offset + size].view(dtype).reshape(shape)


def _wisdom_file() -> Path | None:
    folder = cache_folder("fft")
    return None if folder is None else folder / "wisdom.json"


@cache
def _load_fftw() -> Any | None:
    """Import pyFFTW with the wisdom of earlier runs, or say once that scipy is used."""
    try:
        pyfftw = _import_fftw()
    except ImportError:
        logger.info("pyFFTW is not importable: Fourier transforms run on scipy.fft, which is slower")
        return None
    path = _wisdom_file()
    if path is not None:
        _read_wisdom(pyfftw, path)
    return pyfftw


def _import_fftw() -> Any:
    """Import pyFFTW without its stand-ins for other libraries, which import SciPy and, where it is there, Dask.

    They take many times as long as the rest, and nothing here calls them; who asks for them later gets them.
    """
    with _import_lock:
        if "pyfftw" not in sys.modules:
            sys.modules[_STAND_INS] = ModuleType(_STAND_INS)
            try:
                import pyfftw
            finally:
                del sys.modules[_STAND_INS]
            vars(pyfftw).pop("interfaces", None)
            pyfftw.__getattr__ = _stand_ins_when_asked_for
    import pyfftw

    return pyfftw


def _stand_ins_when_asked_for(name: str) -> Any:
    """Import what :func:`_import_fftw` left out when it is first used as an attribute."""
    if name == "interfaces":
        return import_module(_STAND_INS)
    raise AttributeError(f"module 'pyfftw' has no attribute '{name}'")


def _read_wisdom(library: Any, path: Path) -> None:
    # Wisdom only saves planning time: whatever is wrong with the file, planning afresh is right.
    with contextlib.suppress(OSError, ValueError, TypeError, AttributeError, LookupError):
        library.import_wisdom(tuple(text.encode() for text in json.loads(path.read_text("utf-8"))))


def _save_wisdom(library: Any) -> None:
    path = _wisdom_file()
    if path is None:
        return
    _read_wisdom(library, path)  # what another process has found since
    text = json.dumps([text.decode() for text in library.export_wisdom()])
    with contextlib.suppress(OSError):
        write_in_one_step(path, lambda file: file.write(text.encode()))


def library_name() -> str:
    """Name and version of the library that computes solvers' transforms, for reports."""
    if device_name() != CPU:
        return f"torch {version('torch')} on {device_name()}"
    library = _load_fftw()
    return f"scipy.fft {version('scipy')}" if library is None else f"pyfftw {library.__version__}"


class FourierTransform:
    """Real Fourier transforms of one grid size and precision, on buffers of one fixed layout.

    Parameters
    ----------
    shape
        Number of voxels along x, y and z.
    dtype
        float32 or float64.

    Notes
    -----
    Images are (nx, ny, stride) arrays of which the first nz entries of the last axis count; spectra are
    (nx, ny, columns) arrays of which the first nz//2 + 1 count.  The padding keeps every row on a cache line.
    Transforms are not normalised: ``inverse(forward(image))`` is ``image`` times :attr:`n_voxels`.
    """

    def __init__(self, shape: tuple[int, int, int], dtype: DTypeLike = np.float32) -> None:
        self.shape = shape
        self.dtype = precision(dtype)
        self.complex_dtype = np.dtype(np.complex64 if self.dtype == np.float32 else np.complex128)
        self.n_voxels = int(np.prod(shape))
        self.half = shape[2] // 2 + 1
        self._stride = _round_up(shape[2], ALIGNMENT_BYTES // self.dtype.itemsize)
        self._columns = _round_up(self.half, ALIGNMENT_BYTES // self.complex_dtype.itemsize)
        self._local = threading.local()

    def __getstate__(self) -> dict[str, Any]:
        """What is copied, or sent to another process: all but the plans, which are made anew there."""
        return {name: value for name, value in vars(self).items() if name != "_local"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """See :meth:`__getstate__`."""
        vars(self).update(state, _local=threading.local())

    def blocks(self) -> BlockTransforms:
        """Return the block transforms that belong to the calling thread."""
        found = getattr(self._local, "blocks", None)
        if found is None:
            library = _load_fftw()
            found = _ScipyBlocks(self.shape) if library is None else _FFTWBlocks(library)
            self._local.blocks = found
        return found

    @property
    def planes_at_once(self) -> int:
        """How many planes a step with many components takes at once: so many that they stay in a processor's cache."""
        return 1

    def zeros(self, shape: tuple[int, ...], dtype: DTypeLike | None = None) -> NDArray:
        """Return a zeroed buffer of any shape; of the transform's precision unless another type is asked for."""
        return aligned_zeros(shape, self.dtype if dtype is None else dtype)

    def array(self, values: NDArray) -> NDArray:
        """Return values where the buffers are: here, as they are given."""
        return values

    def empty_image(self, planes: int | None = None) -> NDArray:
        """Return a zeroed image buffer; of the whole grid, or of some planes only."""
        return self.zeros((planes or self.shape[0], self.shape[1], self._stride))

    def empty_block(self) -> NDArray:
        """Return a zeroed image buffer of as many planes as a call of :meth:`for_planes`' work gets at most."""
        return self.empty_image(PLANES_PER_BLOCK)

    def empty_spectrum(self) -> NDArray:
        """Return a zeroed half-spectrum buffer."""
        return self.zeros((self.shape[0], self.shape[1], self._columns), self.complex_dtype)

    def empty_half_image(self) -> NDArray:
        """Return a zeroed real buffer with one entry per entry of a spectrum buffer, for kernels."""
        return self.zeros((self.shape[0], self.shape[1], self._columns))

    def load_image(self, values: NDArray) -> NDArray:
        """Copy an array no larger than the grid into the corner of a zeroed image buffer."""
        image = self.empty_image()
        self._put(values, image)
        return image

    def reload_image(self, values: NDArray, image: NDArray) -> None:
        """The same into an image buffer that is there."""
        image[...] = 0
        self._put(values, image)

    def _put(self, values: NDArray, image: NDArray) -> None:
        nx, ny, nz = values.shape
        image[:nx, :ny, :nz] = self.array(values)

    def image_view(self, image: NDArray) -> NDArray:
        """Return the part of an image buffer that counts."""
        return image[..., : self.shape[2]]

    def spectrum_view(self, spectrum: NDArray) -> NDArray:
        """Return the part of a spectrum buffer (or of a real buffer of its layout) that counts."""
        return spectrum[..., : self.half]

    def for_planes(self, work: Callable[[int, int, int, int], Any], slabs: list[tuple[int, int]] | None = None) -> list:
        """Call ``work(slab, slab_start, first, last)`` for blocks of planes, slabs in parallel, blocks in order."""
        return _for_blocks(work, slabs or self.slabs(), PLANES_PER_BLOCK)

    def for_rows(self, work: Callable[[int, int, int, int], Any]) -> list:
        """The same for blocks of rows of y, which the column transforms work on."""
        return _for_blocks(work, slab_edges(self.shape[1], thread_count()), ROWS_PER_BLOCK)

    def slabs(self) -> list[tuple[int, int]]:
        """Slabs of planes, one per thread."""
        return slab_edges(self.shape[0], thread_count())

    def forward(self, image: NDArray, spectrum: NDArray) -> NDArray:
        """Transform an image buffer into a spectrum buffer, unnormalised."""
        valid, target = self.image_view(image), self.spectrum_view(spectrum)
        self.for_planes(lambda _slab, _start, a, b: self.blocks().forward_planes(valid[a:b], target[a:b]))
        self.for_rows(lambda _slab, _start, a, b: self.blocks().forward_columns(spectrum[:, a:b]))
        return spectrum

    def inverse(self, spectrum: NDArray, image: NDArray) -> NDArray:
        """Transform a spectrum buffer, which is overwritten, into an image buffer, unnormalised."""
        source, valid = self.spectrum_view(spectrum), self.image_view(image)
        self.for_rows(lambda _slab, _start, a, b: self.blocks().inverse_columns(spectrum[:, a:b]))
        self.for_planes(lambda _slab, _start, a, b: self.blocks().inverse_planes(source[a:b], valid[a:b]))
        return image


def _for_blocks(work: Callable[[int, int, int, int], Any], slabs: list[tuple[int, int]], size: int) -> list:
    def run(index: int, start: int, stop: int) -> list:
        return [work(index, start, a, min(a + size, stop)) for a in range(start, stop, size)]

    tasks: list[Callable[[], list]] = [partial(run, i, a, b) for i, (a, b) in enumerate(slabs)]
    return [result for slab in run_tasks(tasks) for result in slab]


def _round_up(n: int, multiple: int) -> int:
    return -(-n // multiple) * multiple
