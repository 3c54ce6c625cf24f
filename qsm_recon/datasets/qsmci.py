"""Inputs and outputs of the QSM-CI contract: NIfTI images with fixed names, all fields and maps in ppm."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsm_recon.datasets.case import Case
from qsm_recon.datasets.files import case_from_files
from qsm_recon.datasets.images import find_image, require_folder, require_image
from qsm_recon.datasets.options import ECHO_OPTIONS, LoadSettings, choose_field
from qsm_recon.errors import DataError
from qsm_recon.io import load_image, read_json, save_image

OPTIONS = {
    "field": "local (default where there is a localfield), total, or fit or difference of the echoes",
    **ECHO_OPTIONS,
}
CHI_MAP = "chimap.nii.gz"
PARAMETERS_FILE = "params.json"
NOMINAL_ECHO_TIMES_S = (1.0,)
"""What the contract's tools write where no echo time is known."""


def load(location: str, options: Mapping[str, str], settings: LoadSettings) -> Case:
    """Read a folder of the contract.

    ``mask`` and ``params.json`` (``TE`` in s, ``B0`` in T, ``B0_dir`` in image axes, ``voxel_size`` in mm) with
    ``localfield`` or ``totalfield`` in ppm, or ``magnitude`` and ``phase``.  Data sets keep these in ``inputs`` and
    the truth (``chimap``, ``dseg``, fields) in ``groundtruth``; both layouts are read.

    Parameters
    ----------
    location
        The folder.
    options
        See ``OPTIONS``.
    settings
        General settings.

    Raises
    ------
    DataError
        If a file is missing or inconsistent.
    """
    folder = require_folder(location, "qsmci")
    inputs = folder / "inputs" if (folder / "inputs").is_dir() else folder
    truths = folder / "groundtruth"
    fields = {
        name: find_image(inputs, f"{name}field") or find_image(truths, f"{name}field") for name in ("local", "total")
    }
    default = next((name for name, path in fields.items() if path is not None), "fit")
    origin = choose_field(options, settings, ("local", "total", "fit", "difference"), default)
    parameters = read_parameters(inputs / PARAMETERS_FILE)
    arguments: dict[str, Any] = {"magnitude": find_image(inputs, "magnitude")}
    if origin in fields:
        path = fields[origin] or require_image(inputs, f"{origin}field", what=f"{origin} field")
        nominal = parameters["TE"] == NOMINAL_ECHO_TIMES_S
        settings.require_no_echo_options(f"qsmci with field={origin}")
        arguments |= {"field": path, "echo_times_s": () if nominal else parameters["TE"], "field_kind": origin}
    else:
        path = require_image(inputs, "phase", what="local field and no phase" if default == "fit" else "phase")
        arguments |= {"phase": path, "field_estimate": origin, "echo_times_s": parameters["TE"]}
        arguments |= settings.echo_options(options)
        require_image(inputs, "magnitude", what="magnitude")
    _check_voxel_size(path, inputs / PARAMETERS_FILE, parameters["voxel_size"])
    truth = find_image(truths, "chimap")
    direction = parameters["B0_dir"] if settings.b0_direction is None else settings.b0_direction
    case = case_from_files(
        mask=require_image(inputs, "mask", what="mask"),
        b0_tesla=parameters["B0"][0],
        b0_direction=direction,
        phase_unit=settings.phase_unit,
        truth=truth,
        labels=None if truth is None else find_image(truths, "dseg"),
        accept_range=settings.accept_range,
        name=folder.resolve().name,
        **arguments,
    )
    case.sources["acquisition"] = str(inputs / PARAMETERS_FILE)
    return case


def read_parameters(path: Path) -> dict[str, tuple[float, ...]]:
    """Read ``params.json``: ``TE``, ``B0``, ``B0_dir`` and ``voxel_size`` as tuples of numbers.

    Raises
    ------
    DataError
        If it cannot be read, or a value is missing or no number.
    """
    content = read_json(path)
    expected = {"TE": None, "B0": 1, "B0_dir": 3, "voxel_size": 3}
    parameters = {}
    for name, count in expected.items():
        if name not in content:
            raise DataError(f"{path}: no '{name}' in it; the contract names {', '.join(expected)}")
        try:
            values = np.atleast_1d(np.asarray(content[name], dtype=float))
        except (TypeError, ValueError):
            values = np.array([])
        if (
            values.ndim != 1
            or not np.isfinite(values).all()
            or values.size == 0
            or values.size != (count or values.size)
        ):
            wanted = "numbers" if count is None else f"{count} number(s)"
            raise DataError(f"{path}: '{name}' is {content[name]!r}; expected {wanted}")
        parameters[name] = tuple(values.tolist())
    return parameters


def write_chi_map(folder: str | Path, susceptibility_ppm: NDArray[np.floating], affine: NDArray[np.floating]) -> Path:
    """Write the output of the contract, ``chimap.nii.gz`` in ppm, and return its path.

    Parameters
    ----------
    folder
        Output folder; made where missing.
    susceptibility_ppm
        (nx, ny, nz) susceptibility in ppm.
    affine
        (4, 4) voxel-to-world matrix in mm.

    Raises
    ------
    ResourceError
        If it cannot be written.
    """
    return save_image(Path(folder) / CHI_MAP, susceptibility_ppm.astype(np.float32), affine)


def _check_voxel_size(image: Path, parameters: Path, voxel_size_mm: tuple[float, ...]) -> None:
    affine = load_image(image, ndim=None).affine
    stored = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.allclose(stored, voxel_size_mm, rtol=0.01):
        raise DataError(
            f"{parameters}: voxel_size {list(voxel_size_mm)} mm differs from {np.round(stored, 4).tolist()} mm in the "
            f"header of {image}; correct the one that is wrong"
        )
