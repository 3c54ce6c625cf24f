"""The JSON sidecar of a run: everything needed to understand it and to repeat it."""

from __future__ import annotations

import hashlib
import platform
import shlex
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.fft import library_name
from qsm_recon.backend.threads import thread_count
from qsm_recon.datasets.case import Case
from qsm_recon.result import Reconstruction
from qsm_recon.solvers.base import Solver
from qsm_recon.version import __version__

STAGE_PREFIX = "stage_"
LIBRARIES = ("numpy", "scipy", "numba", "pyfftw", "nibabel", "matplotlib")


def run_document(
    case: Case,
    solver: Solver,
    result: Reconstruction,
    susceptibility: NDArray[np.float32],
    *,
    command: list[str],
    reference: str,
    metrics: dict[str, Any],
    timings_s: dict[str, float],
    memory_estimate_gib: float,
    background: dict[str, Any] | None = None,
    keep_stages: bool = False,
    page: str | None = None,
) -> dict[str, Any]:
    """Describe a run.

    Parameters
    ----------
    case
        The data set.
    solver
        The solver with its parameters.
    result
        What it returned.
    susceptibility
        (nx, ny, nz) the map in ppm as it is written.
    command
        Arguments of the command line.
    reference
        How the zero point was chosen.
    metrics
        Error metrics, empty without a truth.
    timings_s
        Seconds by stage.
    memory_estimate_gib
        What the run was expected to need.
    background
        How the background field was removed; None where it was not.
    keep_stages
        Whether the maps of the stages are written.
    page
        Name of the page that is written beside the maps; None without one.

    Returns
    -------
    dict
        Plain values, ready for :func:`qsm_recon.io.write_json`.
    """
    return {
        "software": software_versions(),
        "run": _run_section(command, memory_estimate_gib),
        "input": _input_section(case),
        "geometry": _geometry_section(case, result),
        "background": background,
        "stages": [f"{STAGE_PREFIX}{name}.nii.gz" for name in case.stage_maps()] if keep_stages else [],
        "page": page,
        "algorithm": _algorithm_section(solver, result),
        "result": _result_section(result, susceptibility, reference),
        "metrics": metrics,
        "timings_s": timings_s,
        "history": result.history,
    }


def _run_section(command: list[str], memory_estimate_gib: float) -> dict[str, Any]:
    words = ["python", "-m", "qsm_recon.run", *command]
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": words,
        "command_line": shlex.join(words),
        "threads": thread_count(),
        "fft_library": library_name(),
        "memory_estimate_gib": memory_estimate_gib,
    }


def _input_section(case: Case) -> dict[str, Any]:
    problem = case.problem
    return {
        "name": case.name,
        "files": {role: _describe_source(source) for role, source in case.sources.items()},
        "notes": [*case.notes, *problem.notes],
        "field_kind": problem.field_kind,
        "field_estimate": case.field_estimate,
        "b0_tesla": problem.b0_tesla,
        "echo_times_s": list(problem.echo_times_s),
        "phase_scale_rad_per_ppm": problem.phase_scale,
        "phase_scale_origin": problem.phase_scale_origin,
    }


def _geometry_section(case: Case, result: Reconstruction) -> dict[str, Any]:
    grid = case.problem.grid
    return {
        "shape": list(grid.shape),
        "voxel_size_mm": list(grid.voxel_size_mm),
        "b0_direction_voxel_axes": list(grid.b0_direction),
        "b0_angle_to_nearest_axis_deg": grid.b0_angle_deg,
        "affine": np.asarray(case.affine).tolist(),
        "mask_voxels": int(case.problem.mask.sum()),
        "result_mask_voxels": int(result.mask.sum()),
    }


def _algorithm_section(solver: Solver, result: Reconstruction) -> dict[str, Any]:
    declared = solver.declared()
    return {
        "name": solver.name,
        "title": solver.title,
        "citation": solver.cited(),
        "parameters": {
            name: {"value": value, "unit": declared[name].unit} for name, value in result.parameters.items()
        },
    }


def _result_section(result: Reconstruction, susceptibility: NDArray[np.float32], reference: str) -> dict[str, Any]:
    return {
        **result.details,  # first, so that no method's facts take the place of what was done afterwards
        "unit": "ppm",
        "zero_reference": reference,
        "further_maps": [f"{name}.nii.gz" for name in result.images],
        "converged": result.converged,
        "stop_reason": str(result.stop_reason),
        "iterations": result.iterations,
        "statistics_in_mask": _statistics(susceptibility[result.mask]),
        "voxels_sha256": hashlib.sha256(np.ascontiguousarray(susceptibility, "<f4").tobytes()).hexdigest(),
    }


def software_versions() -> dict[str, str]:
    """Versions of this package, Python, the machine's system and the libraries that do arithmetic."""
    found = {"qsm_recon": __version__, "python": platform.python_version(), "system": platform.platform()}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            found[library] = "not installed"
    return found


def _statistics(values: NDArray[np.floating]) -> dict[str, float]:
    """Numbers by which a repeated run can be compared."""
    low, high = np.percentile(values, (1, 99))
    return {
        "mean": float(values.mean(dtype=np.float64)),
        "standard_deviation": float(values.std(dtype=np.float64)),
        "percentile_1": float(low),
        "percentile_99": float(high),
    }


def _describe_source(source: str) -> dict[str, Any]:
    """Source of an input; with the checksum of the file, or of each of several files named one after another."""
    if _is_file(source):
        return {"source": source, "sha256": _checksum(Path(source))}
    parts = source.split(", ")
    if len(parts) > 1 and all(map(_is_file, parts)):
        return {"source": source, "sha256": [_checksum(Path(part)) for part in parts]}
    return {"source": source}


def _is_file(source: str) -> bool:
    """Whether a source is one file: descriptions and lists of files may be longer than any file's name."""
    try:
        return Path(source).is_file()
    except OSError:
        return False


def _checksum(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()
