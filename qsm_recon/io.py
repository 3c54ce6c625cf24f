"""NIfTI in and out, and atomic writing.  The only place that imports nibabel."""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from qsm_recon.backend.memory import require_memory
from qsm_recon.errors import DataError, ResourceError
from qsm_recon.file_names import why_absent
from qsm_recon.gzipped import read_voxels, write_gzipped
from qsm_recon.header import read_geometry
from qsm_recon.masks import binary_mask
from qsm_recon.unfinished import clear_abandoned, unfinished_prefix
from qsm_recon.values import storable

AFFINE_TOLERANCE_MM, AFFINE_TOLERANCE_VOXELS = 1e-2, 0.05
"""Affines may differ by the smaller of the two."""
TEMPLATE_SPACE = 5
"""NIfTI's code of a form that is neither the scanner's nor aligned to a scan."""


@dataclass(frozen=True)
class Image:
    """An image read from a file.

    Parameters
    ----------
    data
        Voxel values, C-ordered.
    affine
        (4, 4) voxel-to-world matrix in mm.
    path
        Where it came from.
    scanner_affine, orientation
        Where the scanner's axes are, and how that is known or why not; see :class:`qsm_recon.header.Geometry`.
    complex_valued
        Whether the file holds complex numbers, of which ``data`` is one part.
    contradiction
        What its header says of the size of the voxels besides, see :class:`qsm_recon.header.Geometry`.
    """

    data: NDArray
    affine: NDArray[np.floating]
    path: Path
    scanner_affine: NDArray[np.floating] | None = None
    orientation: str = "its orientation is not known"
    complex_valued: bool = False
    contradiction: str = ""


def load_image(
    path: str | Path, *, dtype: DTypeLike | None = np.float32, ndim: int | None = 3, part: str | None = None
) -> Image:
    """Read a NIfTI image.

    Parameters
    ----------
    path
        A ``.nii`` or ``.nii.gz`` file.
    dtype
        Type of the returned data; scaling stored in the header is applied.  None: the type in which it is stored.
    ndim
        Required number of dimensions (further axes of length one are dropped); None accepts any.
    part
        ``"magnitude"`` or ``"phase"`` (rad), what to take of a complex image; None refuses one.

    Raises
    ------
    DataError
        If the file is missing or unreadable, or has another number of dimensions.
    ResourceError
        If it does not fit into memory.
    """
    path = Path(path)
    stored = _opened(path)
    kind = None if dtype is None else np.dtype(dtype)
    voxel_bytes = stored.get_data_dtype().itemsize + (stored.get_data_dtype() if kind is None else kind).itemsize
    size = prod(stored.shape)
    require_memory(size * voxel_bytes, str(path), "crop or resample it, or use a machine with more memory")
    try:
        data = _voxels(stored, path, kind)
        geometry = read_geometry(stored, path)
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{path}: not a readable NIfTI image ({_one_line(error)})") from error
    complex_valued = np.iscomplexobj(data)
    if complex_valued and (kind is None or kind.kind != "c"):
        if part is None:
            raise DataError(f"{path}: the image is complex; give magnitude and phase as separate images")
        data = np.abs(data) if part == "magnitude" else np.angle(data)
    for axis in range(data.ndim - 1, 2, -1):
        if data.shape[axis] == 1 and data.ndim > (4 if ndim is None else ndim):
            data = data.squeeze(axis)
    if data.ndim < 3:
        raise DataError(
            f"{path}: expected a 3D image, found a single slice of shape {data.shape}; merge the slices of the volume "
            "into one 3D image"
        )
    if ndim is not None and data.ndim != ndim:
        raise DataError(f"{path}: expected a {ndim}D image, found shape {data.shape}; extract the volume that is meant")
    if data.dtype.kind not in "biufc":
        raise DataError(
            f"{path}: its voxels are no numbers ({_described(data.dtype)}); export an image with one value per voxel"
        )
    with np.errstate(over="ignore"):  # beyond single precision is infinite, which is for the reader to refuse
        values = np.ascontiguousarray(data, dtype=kind)
    return Image(
        values, geometry.affine, path, geometry.scanner_affine, geometry.orientation, complex_valued,
        geometry.contradiction,
    )  # fmt: skip


def _voxels(stored: Any, path: Path, kind: np.dtype | None) -> NDArray:
    """The voxels of an image that nibabel has opened, scaled as its header says; of a type where that is as quick."""
    import nibabel

    proxy = stored.dataobj
    single_file = isinstance(stored, nibabel.Nifti1Image) and isinstance(proxy, nibabel.arrayproxy.ArrayProxy)
    if not single_file or path.suffix.lower() != ".gz" or proxy.dtype.kind not in "iufc" or proxy.ndim < 3:
        return np.asanyarray(proxy)
    slope, inter = np.asanyarray(proxy.slope), np.asanyarray(proxy.inter)
    scaled = partial(nibabel.volumeutils.apply_read_scaling, slope=slope, inter=inter)
    return read_voxels(path, proxy.offset, proxy.shape, proxy.dtype, scaled, None if proxy.dtype.kind == "c" else kind)


def _described(kind: np.dtype) -> str:
    """A type of voxels in words."""
    return f"colours {'/'.join(kind.names)}" if kind.names else f"type {kind}"


def is_complex(path: str | Path) -> bool:
    """Tell whether an image file holds complex numbers.

    Raises
    ------
    DataError
        If the file is missing or unreadable.
    """
    return bool(_opened(Path(path)).get_data_dtype().kind == "c")


def read_shape(path: str | Path) -> tuple[tuple[int, ...], NDArray[np.floating]]:
    """Shape and (4, 4) affine in mm of an image, without reading its voxels.

    Raises
    ------
    DataError
        If the file is missing or unreadable.
    """
    stored = _opened(Path(path))
    return tuple(map(int, stored.shape)), read_geometry(stored, Path(path)).affine


def _opened(path: Path) -> Any:
    """Open an image without reading its voxels."""
    import nibabel

    if absent := why_absent(path):
        raise DataError(f"{path}: {absent}")
    if path.is_dir():
        raise DataError(
            f"{path}: a folder, not a readable NIfTI image; if it holds DICOM files convert them first (dcm2niix -z y "
            f"-o OUT {path}) and give the images that come out"
        )
    try:
        return nibabel.load(path)
    except Exception as error:  # nibabel raises many kinds; the file name is what the user needs
        if _is_dicom(path):
            raise DataError(
                f"{path}: a DICOM file, not a readable NIfTI image; convert the series first (dcm2niix -z y -o OUT "
                f"{path.parent}) and give the images that come out"
            ) from error
        raise DataError(f"{path}: not a readable NIfTI image ({_one_line(error)})") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _is_dicom(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(132)[128:] == b"DICM"


def load_mask(path: str | Path) -> Image:
    """Read a binary mask as booleans.

    Raises
    ------
    DataError
        If it cannot be read, is not binary, or is empty.
    """
    image = load_image(path, dtype=None)
    return replace(image, data=binary_mask(image.data, str(path)))


def require_same_geometry(first: Image, second: Image) -> None:
    """Check that two images share shape (of the first three axes) and affine.

    Raises
    ------
    DataError
        Naming both files, with both shapes or the largest difference of the affines.
    """
    if first.data.shape[:3] != second.data.shape[:3]:
        raise DataError(
            f"{second.path}: shape {second.data.shape[:3]} differs from {first.data.shape[:3]} of {first.path}; "
            "resample one onto the other"
        )
    difference = float(np.abs(first.affine - second.affine).max())
    if difference > affine_tolerance_mm(first.affine):
        raise DataError(
            f"{second.path}: its affine differs from that of {first.path} by up to {difference:.3g} mm; "
            "resample one onto the other, or correct the header that is wrong"
        )


def affine_tolerance_mm(affine: NDArray[np.floating]) -> float:
    """By how much in mm an affine may differ from another one that says the same."""
    voxel = float(np.linalg.norm(affine[:3, :3], axis=0).min())
    return min(AFFINE_TOLERANCE_MM, AFFINE_TOLERANCE_VOXELS * voxel)


def read_json(path: str | Path) -> dict[str, Any]:
    """Read a JSON file that holds one object.

    Raises
    ------
    DataError
        If it is missing, is not JSON, or holds something else than an object.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")  # some tools begin with a byte-order mark
        content = json.loads(text, parse_int=_whole_number)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: not a readable JSON file ({error})") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: expected a JSON object with named fields, found {type(content).__name__}")
    return content


def _whole_number(text: str) -> float:
    """A whole number of a JSON file; infinite beyond what a float can hold, so that nobody fails to convert it."""
    return int(text) if len(text) < 308 else -math.inf if text.startswith("-") else math.inf


def atomic_write(path: str | Path, write: Callable[[Path], None]) -> Path:
    """Let ``write`` fill a temporary file beside ``path``, then move it into place in one step.

    Raises
    ------
    ResourceError
        If the folder cannot be written.
    """
    path = Path(path)
    suffix = "".join(path.suffixes[-2:]) if path.name.endswith(".nii.gz") else path.suffix
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        clear_abandoned(path.parent)
        temporary = path.parent / f"{unfinished_prefix()}{uuid.uuid4().hex}{suffix}"
        temporary.open("xb").close()  # its mode is what this process gives to files
    except OSError as error:
        raise ResourceError(f"{path}: cannot be written ({error.strerror}); choose another folder") from error
    try:
        write(temporary)
        temporary.replace(path)
    except OSError as error:
        raise ResourceError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        temporary.unlink(missing_ok=True)
    return path


def atomic_write_text(path: str | Path, text: str) -> Path:
    """Write a text file in one step; see :func:`atomic_write`."""
    return atomic_write(path, lambda temporary: _write_text(temporary, text))


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def write_json(path: str | Path, content: Any) -> Path:
    """Write JSON in one step; NaN and infinity become null."""
    return atomic_write_text(path, json.dumps(plain(content), indent=2, allow_nan=False) + "\n")


def plain(value: Any) -> Any:
    """Reduce numpy values, paths and tuples to what JSON knows; numbers that are not finite become None."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if isinstance(value, Path):
        return str(value)
    return value


def save_image(
    path: str | Path,
    data: ArrayLike,
    affine: NDArray[np.floating],
    scanner_affine: NDArray[np.floating] | Literal["affine"] | None = "affine",
) -> Path:
    """Write a NIfTI image in one step.

    Parameters
    ----------
    path
        A ``.nii`` or ``.nii.gz`` file; its folder is made where missing.
    data
        Voxel values; booleans are stored as bytes, half precision as single, long whole numbers as those of 32 bits,
        what a masked array hides as NaN or 0.
    affine
        (4, 4) voxel-to-world matrix in mm.
    scanner_affine
        (4, 4) voxel-to-scanner matrix in mm, written as qform where it is another; None where it is not known, which
        is written too, so that nobody takes the world for the scanner.

    Raises
    ------
    DataError
        If it does not hold numbers, or whole numbers of more than 32 bits.
    ResourceError
        If the file cannot be written.
    """
    import nibabel

    image = nibabel.Nifti1Image(storable(path, data), affine)
    image.header.set_xyzt_units("mm", "sec")
    if scanner_affine is None:
        unoriented = np.allclose(affine, image.header.get_base_affine(), atol=1e-4)
        image.set_sform(affine, code=0 if unoriented else TEMPLATE_SPACE)
        image.set_qform(affine, code=0)
    elif isinstance(scanner_affine, str) or np.allclose(scanner_affine, affine, atol=1e-4):
        image.set_sform(affine, code=1)
        image.set_qform(affine, code=1)
    else:
        image.set_sform(affine, code=2)
        image.set_qform(scanner_affine, code=1)
    if str(path).endswith(".gz"):
        return atomic_write(path, lambda temporary: write_gzipped(temporary, image.to_bytes()))
    return atomic_write(path, lambda temporary: nibabel.save(image, temporary))


def axes_to_ras(affine: NDArray[np.floating]) -> tuple[tuple[int, ...], tuple[bool, ...], tuple[float, ...]]:
    """How to turn an image so that its axes point, as nearly as can be, right, anterior and superior.

    Parameters
    ----------
    affine
        (4, 4) voxel-to-world matrix in mm.

    Returns
    -------
    order
        Image axis that runs along each world axis, for ``transpose``.
    flips
        Whether that axis must be reversed.
    voxel_size_mm
        Voxel size along the world axes.
    """
    import nibabel

    orientation = nibabel.orientations.io_orientation(affine)
    sizes = nibabel.affines.voxel_sizes(affine)
    order = [int(np.flatnonzero(orientation[:, 0] == world)[0]) for world in range(3)]
    return (
        tuple(order),
        tuple(bool(orientation[axis, 1] < 0) for axis in order),
        tuple(float(sizes[axis]) for axis in order),
    )
