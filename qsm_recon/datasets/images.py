"""Reading images that belong together, with errors that name the file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qsm_recon.datasets.echo_order import echo_numbers, in_order, says_order
from qsm_recon.errors import DataError
from qsm_recon.io import Image, affine_tolerance_mm, load_image, read_shape, require_same_geometry

PathLike = str | Path


@dataclass(frozen=True, eq=False)
class EchoImages:
    """The echoes of a magnitude or phase, from one 4D file or one 3D file per echo.

    Parameters
    ----------
    data
        (nx, ny, nz, n_echoes) as stored; of complex files magnitude or phase (rad).
    first
        The first file's image, for its geometry.
    paths
        The files, in the order of the echoes.
    notes
        What was done to bring them into that order.
    """

    data: NDArray[np.float32]
    first: Image
    paths: tuple[Path, ...]
    notes: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """Number of echoes."""
        return self.data.shape[3]

    @property
    def source(self) -> str:
        """The files in words."""
        return ", ".join(map(str, self.paths))

    @property
    def as_image(self) -> Image:
        """The same data as an image under the name of its first file, for comparing geometries."""
        return replace(self.first, data=self.data)

    def file_of(self, echo: int) -> str:
        """Name the file (and volume) of an echo, counted from 0."""
        if len(self.paths) == self.count:
            return str(self.paths[echo])
        return f"{self.paths[0]} (echo {echo + 1})"


def as_paths(given: PathLike | Sequence[PathLike]) -> tuple[Path, ...]:
    """Return one path or several as a tuple."""
    return (Path(given),) if isinstance(given, (str, Path)) else tuple(Path(path) for path in given)


def load_echoes(given: PathLike | Sequence[PathLike], kind: str) -> EchoImages:
    """Read the echoes of a magnitude or phase.

    Parameters
    ----------
    given
        One 3D or 4D file, or one 3D file per echo in the order of the echo times (or in that of a shell, see
        :func:`qsm_recon.datasets.echo_order.in_order`).  Complex files give either part.
    kind
        ``"magnitude"``, ``"phase"``, ``"real"`` or ``"imaginary"``.

    Raises
    ------
    DataError
        If a file cannot be read, the images differ in geometry, a file is given twice, or the file names say another
        order than the one given.
    """
    part = kind if kind in ("magnitude", "phase") else None
    paths = as_paths(given)
    if not paths:
        raise DataError(f"{kind}: no file given; give one 4D file or one file per echo")
    if len(paths) == 1:
        image = load_image(paths[0], ndim=None, part=part)
        if image.data.ndim not in (3, 4):
            raise DataError(
                f"{paths[0]}: expected a 3D image or a 4D one with the echoes last, found {image.data.shape}"
            )
        return EchoImages(image.data if image.data.ndim == 4 else image.data[..., np.newaxis], image, paths)
    if len(set(paths)) < len(paths):
        twice = next(path for path in paths if paths.count(path) > 1)
        raise DataError(f"{twice}: given twice as {kind}; give every echo once")
    paths, note = in_order(paths, kind)
    first = load_image(paths[0], part=part)
    data = np.empty((*first.data.shape, len(paths)), np.float32)
    data[..., 0] = first.data
    for index, path in enumerate(paths[1:], start=1):
        image = load_image(path, part=part)
        require_same_geometry(first, image)
        data[..., index] = image.data
    return EchoImages(data, first, paths, () if note is None else (note,))


def require_same_echoes(magnitude: EchoImages, phase: EchoImages) -> None:
    """Check that magnitude and phase have the same geometry and are of the same echoes.

    Raises
    ------
    DataError
        Naming files of both.
    """
    shared = set(magnitude.paths) & set(phase.paths)
    if shared and not phase.first.complex_valued:
        raise DataError(f"{shared.pop()}: given both as magnitude and as phase; they are different images")
    require_same_geometry(magnitude.as_image, phase.as_image)
    if magnitude.count != phase.count:
        raise DataError(
            f"{magnitude.source}: {magnitude.count} magnitude image(s), but {phase.count} phase image(s) in "
            f"{phase.source}; give both for every echo"
        )
    for moved, other in ((phase, magnitude), (magnitude, phase)):
        if moved.notes and not other.notes and len(other.paths) > 1 and not says_order(other.paths):
            raise DataError(
                f"{other.paths[0]}: neither a JSON file nor its name says which echo it is, and the files that go with "
                f"these were put in order ({moved.notes[0]}); give all files in the order of the echo times"
            )
    first, second = echo_numbers(magnitude.paths), echo_numbers(phase.paths)
    if first and second and first != second:
        index = next(i for i, (a, b) in enumerate(zip(first, second, strict=True)) if a != b)
        raise DataError(
            f"{phase.paths[index]}: phase of echo {second[index]} paired with magnitude of echo {first[index]} "
            f"({magnitude.paths[index]}); give the same echoes of both"
        )


def same_grid(first: Path, second: Path) -> bool:
    """Whether two image files have the same grid by their headers; a file that cannot be read has none."""
    try:
        (shape, affine), (other, moved) = read_shape(first), read_shape(second)
    except DataError:
        return False
    return shape[:3] == other[:3] and float(np.abs(affine - moved).max()) <= affine_tolerance_mm(affine)


def root_sum_of_squares(echoes: NDArray[np.floating]) -> NDArray[np.float32]:
    """Combine the magnitudes of all echoes, (nx, ny, nz, n) to (nx, ny, nz)."""
    total = np.zeros(echoes.shape[:3], np.float32)
    for index in range(echoes.shape[3]):
        total += np.square(echoes[..., index], dtype=np.float32)
    return np.sqrt(total)


def find_image(folder: Path, *stems: str) -> Path | None:
    """Return the first of ``stem.nii.gz`` and ``stem.nii`` that a folder holds, in the order of the stems."""
    for stem in stems:
        for suffix in (".nii.gz", ".nii"):
            path = folder / f"{stem}{suffix}"
            if path.is_file():
                return path
    return None


def require_image(folder: Path, *stems: str, what: str) -> Path:
    """Like :func:`find_image`, but it must be there.

    Raises
    ------
    DataError
        Naming the folder and the files looked for.
    """
    found = find_image(folder, *stems)
    if found is None:
        names = " or ".join(f"{stem}.nii.gz" for stem in stems)
        raise DataError(f"{folder}: no {what}; expected {names} (or .nii) there")
    return found


def require_folder(location: str, kind: str) -> Path:
    """Return a folder that must exist.

    Raises
    ------
    DataError
        If no folder was given, or it is missing.
    """
    if not location:
        raise DataError(f"{kind}: no folder given; write {kind}:DIR")
    folder = Path(location).expanduser()
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; {kind}:DIR needs the folder of the data set")
    return folder
