"""The files that a program is given and gives back."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qsm_recon.datasets.case import Case
from qsm_recon.errors import DataError
from qsm_recon.io import Image, load_image, require_same_geometry, save_image, write_json
from qsm_recon.problem import Problem
from qsm_recon.units import hz_per_ppm, rad_per_ppm

OUTPUT = "chimap.nii.gz"


@dataclass(frozen=True)
class Exchange:
    """A case as files, written when they are asked for.

    Parameters
    ----------
    case
        What is reconstructed.
    folder
        Where files go; there are to be no others in it.

    Raises
    ------
    DataError
        Where something is asked for that the case has not got.
    """

    case: Case
    folder: Path
    _written: dict[str, Path] = field(default_factory=dict)

    @property
    def problem(self) -> Problem:
        """What is to be solved."""
        return self.case.problem

    @property
    def b0_tesla(self) -> float:
        """Field strength in T."""
        if self.problem.b0_tesla is None:
            raise DataError(f"{self.case.name}: no field strength is known, which this program needs")
        return self.problem.b0_tesla

    @cached_property
    def echo_time_s(self) -> float:
        """Echo time in s that phase in rad belongs to: the mean of the echoes."""
        if not self.problem.echo_times_s:
            raise DataError(f"{self.case.name}: no echo time is known, which this program needs")
        return float(np.mean(self.problem.echo_times_s))

    @property
    def b0_direction(self) -> tuple[float, ...]:
        """Direction of the main field in voxel axes, a unit vector."""
        return tuple(float(part) for part in self.problem.grid.b0_direction)

    def per_ppm(self, unit: str) -> float:
        """What one ppm is in ``ppm``, ``ppb``, ``hz`` or ``rad``."""
        if unit == "hz":
            return hz_per_ppm(self.b0_tesla)
        if unit == "rad":
            return rad_per_ppm(self.b0_tesla, self.echo_time_s)
        return {"ppm": 1.0, "ppb": 1e3}[unit]

    def field(self, unit: str) -> Path:
        """File of the local field, zero outside the mask."""
        values = np.where(self.problem.mask, self.problem.field_ppm, 0) * self.per_ppm(unit)
        return self._image(f"localfield_{unit}.nii.gz" if unit != "ppm" else "localfield.nii.gz", values)

    def mask(self) -> Path:
        """File of the mask."""
        return self._image("mask.nii.gz", self.problem.mask)

    def magnitude_image(self) -> NDArray[np.float32]:
        """Magnitude, its maximum 1."""
        if self.problem.magnitude is None:
            raise DataError(f"{self.case.name}: there is no magnitude, which this program needs")
        values = np.asarray(self.problem.magnitude, np.float32)
        return values / np.float32(values.max())

    def magnitude(self) -> Path:
        """File of the magnitude."""
        return self._image("magnitude.nii.gz", self.magnitude_image())

    def parameters(self) -> Path:
        """File ``params.json`` of the QSM-CI contract."""
        path = self.folder / "params.json"
        content = {
            "TE": [float(time) for time in self.problem.echo_times_s] or [1.0],
            "B0": self.b0_tesla,
            "B0_dir": list(self.b0_direction),
            "voxel_size": [float(size) for size in self.problem.grid.voxel_size_mm],
        }
        return write_json(path, content)

    def clean(self) -> Path:
        """Remove what an earlier run gave back, and return the folder for the next one's."""
        given_back = self.folder / "out"
        shutil.rmtree(given_back, ignore_errors=True)
        given_back.mkdir(parents=True)
        return given_back

    def read(self, path: Path, unit: str = "ppm") -> tuple[NDArray[np.float32], str]:
        """Read the map that a program gave back.

        Parameters
        ----------
        path
            NIfTI file; of the same voxels as the field.
        unit
            What its values are in.

        Returns
        -------
        map
            (nx, ny, nz) susceptibility in ppm, zero outside the mask.
        str
            A remark on the file; empty where there is none.

        Raises
        ------
        DataError
            If it is not there or unreadable, has another shape, is not finite in the mask, or zero everywhere.
        """
        if not path.is_file():
            raise DataError(f"it ended without an error, but wrote no {path.name}")
        image = load_image(path)
        mask = self.problem.mask
        if image.data.shape != mask.shape:
            raise DataError(f"its map has shape {image.data.shape}; expected {mask.shape}, that of the field")
        remark = ""
        try:
            require_same_geometry(Image(np.empty(mask.shape, bool), self.case.affine, path), image)
        except DataError:
            remark = "the header of its map places it elsewhere than the field; voxels were compared as they lie"
        bad = int(np.count_nonzero(~np.isfinite(image.data[mask])))
        if bad:
            raise DataError(f"its map is not finite in {bad} of {int(mask.sum())} voxels of the mask")
        if not image.data[mask].any():
            raise DataError("its map is zero everywhere in the mask")
        return np.where(mask, image.data / np.float32(self.per_ppm(unit)), 0).astype(np.float32), remark

    def _image(self, name: str, values: NDArray) -> Path:
        if name not in self._written:
            stored = values if values.dtype == bool else values.astype(np.float32)
            self._written[name] = save_image(self.folder / name, stored, self.case.affine, self.case.scanner_affine)
        return self._written[name]
