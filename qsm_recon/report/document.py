"""The JSON sidecar of a run: everything needed to understand it and to repeat it."""

from __future__ import annotations

import hashlib
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from qsm_recon.datasets.case import Case
from qsm_recon.result import Reconstruction
from qsm_recon.solvers.base import Solver
from qsm_recon.version import __version__

LIBRARIES = ("numpy", "scipy", "numba", "pyfftw", "nibabel", "matplotlib")


def run_document(
    case: Case, solver: Solver, result: Reconstruction, *, command: list[str], reference: str, metrics: dict[str, Any]
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
    command
        Arguments of the command line.
    reference
        How the zero point was chosen.
    metrics
        Error metrics, empty without a truth.

    Returns
    -------
    dict
        Plain values, ready for :func:`qsm_recon.io.write_json`.
    """
    problem = case.problem
    declared = solver.declared()
    return {
        "software": software_versions(),
        "command": command,
        "input": {
            "name": case.name,
            "files": {role: _describe_file(path) for role, path in case.sources.items()},
            "notes": [*case.notes, *problem.notes],
            "b0_tesla": problem.b0_tesla,
            "echo_times_s": list(problem.echo_times_s),
            "phase_scale_rad_per_ppm": problem.phase_scale,
            "phase_scale_origin": problem.phase_scale_origin,
        },
        "geometry": {
            "shape": list(problem.grid.shape),
            "voxel_size_mm": list(problem.grid.voxel_size_mm),
            "b0_direction_voxel_axes": list(problem.grid.b0_direction),
            "b0_angle_to_nearest_axis_deg": problem.grid.b0_angle_deg,
            "affine": np.asarray(case.affine).tolist(),
            "mask_voxels": int(problem.mask.sum()),
            "result_mask_voxels": int(result.mask.sum()),
        },
        "algorithm": {
            "name": solver.name,
            "title": solver.title,
            "citation": solver.citation,
            "parameters": {
                name: {"value": value, "unit": declared[name].unit} for name, value in result.parameters.items()
            },
        },
        "result": {
            "unit": "ppm",
            "zero_reference": reference,
            "converged": result.converged,
            "stop_reason": result.stop_reason,
            "iterations": result.iterations,
            **result.details,
        },
        "metrics": metrics,
        "timings_s": result.timings_s,
        "history": result.history,
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


def _describe_file(source: str) -> dict[str, Any]:
    path = Path(source)
    if not path.is_file():
        return {"source": source}
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return {"source": source, "sha256": digest.hexdigest()}
