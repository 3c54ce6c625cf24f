"""What an image's header says of geometry: the unit of length, where voxels lie, and where the scanner's axes are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsm_recon.errors import DataError

MM_PER_UNIT = {"meter": 1000.0, "mm": 1.0, "micron": 1e-3, "unknown": 1.0}
PLURAL = {"meter": "metres", "mm": "mm", "micron": "micrometres", "unknown": "mm (its unit of length is not given)"}
SMALLEST_VOXEL_MM, LARGEST_VOXEL_MM = 2e-3, 100.0
"""Voxels of magnetic resonance images lie between these, from microscopy to localisers."""
LARGEST_TURN_DEG = 1.0
"""Rounding in headers turns axes by less."""
SAME_SIZE = 0.01
"""Voxel sizes that differ by less than this fraction are the same: rounding, and a little shear."""
ALIGNED = 2
"""Code of a NIfTI form; higher ones are template spaces."""


@dataclass(frozen=True, eq=False)
class Geometry:
    """Where the voxels of an image lie.

    Parameters
    ----------
    affine
        (4, 4) voxel-to-world matrix in mm, by which images are compared.
    scanner_affine
        (4, 4) voxel-to-scanner matrix in mm, which tells the direction of the main field; None where the header does
        not say.
    orientation
        Where ``scanner_affine`` comes from, or why there is none, in words.
    contradiction
        What the header says of the size of the voxels besides, in words; empty where it agrees with itself.
    """

    affine: NDArray[np.floating]
    scanner_affine: NDArray[np.floating] | None
    orientation: str
    contradiction: str = ""


def read_geometry(stored: Any, path: Path) -> Geometry:
    """Read the geometry of an image that nibabel has opened.

    Raises
    ------
    DataError
        If the voxels have a size that no image has.
    """
    header = stored.header
    unit = _unit_of_length(header)
    affine = _in_mm(stored.affine, unit)
    _check_voxel_size(affine, unit, path)
    if not _usable(affine):
        return Geometry(affine, affine, "the affine")  # for the grid to refuse
    if hasattr(header, "get_qform"):
        found = _nifti_geometry(header, affine, unit)
        matrix = affine if found.scanner_affine is None else found.scanner_affine
        return replace(found, contradiction=_other_size(header, matrix, unit))
    if hasattr(header, "sizeof_hdr"):  # with a .mat file too: SPM keeps there how a user turned the image
        return Geometry(affine, None, "an Analyze header does not say how the voxel axes are oriented")
    if "goodRASFlag" in (header.keys() if hasattr(header, "keys") else ()) and not header["goodRASFlag"]:
        return Geometry(affine, None, "its header does not say how the voxel axes are oriented (goodRASFlag is 0)")
    return Geometry(affine, affine, "the affine")


def turn_deg(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """Angle in degrees between the directions that two affines give the scanner's third axis in voxel axes."""
    from qsm_recon.operators.grid import b0_direction_from_affine

    cosine = float(b0_direction_from_affine(first) @ b0_direction_from_affine(second))
    return float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))


def _unit_of_length(header: Any) -> str:
    if not hasattr(header, "get_xyzt_units"):
        return "mm"
    try:
        unit = header.get_xyzt_units()[0]
    except KeyError:  # a code that the standard does not define
        return "unknown"
    return unit if unit in MM_PER_UNIT else "unknown"


def _in_mm(affine: Any, unit: str) -> NDArray[np.floating]:
    scaled = np.array(affine, dtype=np.float64)
    scaled[:3] *= MM_PER_UNIT[unit]
    return scaled


def _check_voxel_size(affine: NDArray[np.floating], unit: str, path: Path) -> None:
    """Refuse sizes that show a wrong unit of length; what is degenerate is for the grid to refuse."""
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(sizes).all() or sizes.min() == 0:
        return
    if sizes.min() < SMALLEST_VOXEL_MM or sizes.max() > LARGEST_VOXEL_MM:
        shown = " × ".join(f"{size / MM_PER_UNIT[unit]:.4g}" for size in sizes)
        raise DataError(
            f"{path}: its header gives voxels of {shown} {PLURAL[unit]}, which no image has (from "
            f"{SMALLEST_VOXEL_MM:g} to {LARGEST_VOXEL_MM:g} mm); correct the unit of length (xyzt_units) or the voxel "
            "size in the header"
        )


def _nifti_geometry(header: Any, affine: NDArray[np.floating], unit: str) -> Geometry:
    """Choose the form that is nearest to the scanner's axes: the scanner's own, else one aligned to another scan."""
    forms = {name: form for name in ("sform", "qform") if (form := _form(header, name, unit)) is not None}
    if not forms:
        return Geometry(affine, None, "its header holds no orientation (qform_code and sform_code are 0)")
    best = min(code for _, code in forms.values())
    if best > ALIGNED:
        return Geometry(
            affine, None, f"it lies in a template's space ({_describe(forms)}), which does not say how the head lay"
        )
    chosen = {name: matrix for name, (matrix, code) in forms.items() if code == best}
    name, matrix = next(iter(chosen.items()))
    turn = max(turn_deg(matrix, other) for other in chosen.values())
    if turn > LARGEST_TURN_DEG:
        return Geometry(
            affine,
            None,
            f"its sform and qform both claim the same space, but differ by {turn:.1f}° ({_describe(forms)})",
        )
    others = {other: turn_deg(matrix, form) for other, (form, _) in forms.items() if other not in chosen}
    for other, angle in others.items():
        if angle > LARGEST_TURN_DEG:
            return Geometry(affine, matrix, f"the {name}; the {other}, of another space, is turned by {angle:.1f}°")
    return Geometry(affine, matrix, "the affine")


def _form(header: Any, name: str, unit: str) -> tuple[NDArray[np.floating], int] | None:
    """A form of a NIfTI header with its code; None where it is absent, broken or degenerate."""
    try:
        matrix, code = getattr(header, f"get_{name}")(coded=True)
    except Exception:  # a broken quaternion; nibabel raises several kinds
        return None
    if matrix is None or code == 0:
        return None
    matrix = _in_mm(matrix, unit)
    return (matrix, int(code)) if _usable(matrix) else None


def _usable(matrix: NDArray[np.floating]) -> bool:
    """Whether the voxel axes of an affine span space."""
    columns = matrix[:3, :3]
    sizes = np.linalg.norm(columns, axis=0)
    return bool(np.isfinite(matrix).all() and sizes.min() > 0 and abs(np.linalg.det(columns / sizes)) > 1e-3)


def _other_size(header: Any, matrix: NDArray[np.floating], unit: str) -> str:
    """Say by how much the voxel sizes of an affine differ from those that the header states (pixdim), where they do.

    Sizes that are not positive state nothing.
    """
    columns = np.linalg.norm(matrix[:3, :3], axis=0)
    stated = np.array([float(size) for size in header["pixdim"][1:4]]) * MM_PER_UNIT[unit]
    if not (np.isfinite(stated).all() and stated.min() > 0) or np.allclose(columns, stated, rtol=SAME_SIZE, atol=0):
        return ""
    first, second = (" × ".join(f"{size:.4g}" for size in sizes) for sizes in (columns, stated))
    return f"its header gives voxels of {first} mm by the affine (sform) and of {second} mm by pixdim"


def _describe(forms: dict[str, tuple[NDArray[np.floating], int]]) -> str:
    return ", ".join(f"{name}_code {code}" for name, (_, code) in forms.items())
