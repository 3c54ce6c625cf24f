"""The tree of results: names, JSON files and what describes the data set, by the BIDS standard for derivatives.

References
----------
BIDS specification 1.11, derivatives of imaging data: https://bids-specification.readthedocs.io
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from qsm_recon.cohort.acquisitions import Acquisition
from qsm_recon.commands.reconstruct import Outcome
from qsm_recon.datasets.bids import OWN_MASK
from qsm_recon.errors import DataError, ParameterError
from qsm_recon.io import atomic_write_text, read_json, write_json
from qsm_recon.report.document import software_versions
from qsm_recon.report.outputs import FIGURE_NAME, MAP_NAME, REPORT_NAME
from qsm_recon.version import __version__

BIDS_VERSION = "1.11.1"
SUFFIX = "Chimap"
PROGRAM = "qsm_recon"
RAW = "raw"
"""Name of the data set that was read, in BIDS URIs."""
FIGURES = "figures"
FURTHER = "qsm_recon"
"""Folder, in that of the subject or session, of maps that BIDS has no suffix for."""
THUMBNAIL = "thumbnail.jpg"
GROUP = "group_Chimap"
DESCRIPTION = "dataset_description.json"
IGNORED = ("logs", "group_*", "sub-*/figures", f"sub-*/{FURTHER}", f"sub-*/ses-*/{FURTHER}", ".unfinished")
"""What the standard has no names for; without a slash at the end, which the validator does not match folders by."""
README = """# Susceptibility maps

Written by qsm_recon {version} (`python -m qsm_recon.cohort`).

- `sub-*/**/anat/*_Chimap.nii.gz`: magnetic susceptibility in ppm, zero outside the mask; the JSON file beside it says
  what it was made of and how.
- `sub-*/**/anat/*_desc-{mask}_mask.nii.gz`: the voxels that have a result.
- `sub-*/figures/`: a picture and the full report of each map.
- `group_Chimap.html`, `group_Chimap.tsv`: overview and table of all maps.
- `logs/`: what became of each acquisition; a finished one is recognised by it.
"""


def map_path(acquisition: Acquisition) -> Path:
    """Where a susceptibility map goes, relative to the folder of results."""
    return acquisition.folder / "anat" / f"{acquisition.name}_{SUFFIX}.nii.gz"


def figures_folder(acquisition: Acquisition) -> Path:
    """Where picture, thumbnail and report of an acquisition go."""
    return Path(f"sub-{acquisition.entities['sub']}") / FIGURES


def arrange(outcome: Outcome, written: Path, staging: Path, acquisition: Acquisition, root: Path) -> list[Path]:
    """Give what a run wrote the standard's names, with the files that go with it.

    Parameters
    ----------
    outcome
        Of the run.
    written
        Folder that :meth:`Outcome.write` has filled; it is emptied.
    staging
        Folder that takes the place of the folder of results.
    acquisition
        What was reconstructed.
    root
        The data set it is from.

    Returns
    -------
    list
        Files in ``staging``, the map itself last.
    """
    from qsm_recon.report.thumbnail import save_thumbnail

    chi = staging / map_path(acquisition)
    figures, anat = staging / figures_folder(acquisition), chi.parent
    further = staging / acquisition.folder / FURTHER
    for folder in (anat, figures):
        folder.mkdir(parents=True)
    stem = f"{acquisition.name}_{SUFFIX}"
    places = {
        MAP_NAME: chi,
        FIGURE_NAME: figures / f"{stem}{Path(FIGURE_NAME).suffix}",
        REPORT_NAME: figures / f"{stem}_{REPORT_NAME}",
    }
    for path in sorted(written.iterdir()):
        place = places.get(path.name, further / f"{acquisition.name}_{path.name}")
        place.parent.mkdir(parents=True, exist_ok=True)
        path.replace(place)
    save_thumbnail(figures / f"{stem}_{THUMBNAIL}", outcome.susceptibility_ppm, outcome.result.mask, outcome.case)
    mask = anat / f"{acquisition.name}_desc-{OWN_MASK}_mask.nii.gz"
    outcome.case.save(mask, outcome.result.mask)
    write_json(_sidecar(mask), mask_metadata(acquisition, root))
    write_json(_sidecar(chi), map_metadata(outcome.document, acquisition, root))
    files = sorted(path for path in staging.rglob("*") if path.is_file() and path != chi)
    return [*files, chi]


def _sidecar(image: Path) -> Path:
    return image.with_name(image.name.removesuffix(".nii.gz") + ".json")


def sources(acquisition: Acquisition, root: Path) -> list[str]:
    """Images and mask as BIDS URIs; a mask outside the data set by its path."""
    paths = [*acquisition.images, *([] if acquisition.mask is None else [acquisition.mask])]
    return [(root / path).as_uri() if Path(path).is_absolute() else f"bids:{RAW}:{path}" for path in paths]


def map_metadata(document: Mapping[str, Any], acquisition: Acquisition, root: Path) -> dict[str, Any]:
    """The JSON file of a susceptibility map, from the report of its run."""
    algorithm, result, given = document["algorithm"], document["result"], document["input"]
    background = document["background"]
    return {
        "Description": "Magnetic susceptibility, zero reference: " + result["zero_reference"],
        "Units": "ppm",
        "Sources": sources(acquisition, root),
        "SpatialReference": "orig",
        "SkullStripped": acquisition.mask is not None,
        "EstimationAlgorithm": f"{algorithm['title']} ({algorithm['name']})"
        + ("" if background is None else f" after background removal by {background['title']}"),
        "EstimationReference": algorithm["citation"]
        + ("" if background is None else f"; background: {background['citation']}"),
        "MagneticFieldStrength": given["b0_tesla"],
        "EchoTimes": given["echo_times_s"],
        "GeneratedWith": document["software"],
        "Algorithm": {"Name": algorithm["name"], "Parameters": algorithm["parameters"]},
        "BackgroundRemoval": None
        if background is None
        else {"Name": background["name"], "Parameters": background["parameters"]},
        "Converged": result["converged"],
        "StopReason": result["stop_reason"],
        "Iterations": result["iterations"],
        "Mask": given["files"]["mask"]["source"] if acquisition.mask is None else sources(acquisition, root)[-1],
        "MaskVoxels": document["geometry"]["result_mask_voxels"],
        "Notes": given["notes"],
        "CommandLine": document["run"]["command_line"],
    }


def mask_metadata(acquisition: Acquisition, root: Path) -> dict[str, Any]:
    """The JSON file of the mask of a result."""
    return {
        "Description": "Voxels that have a susceptibility",
        "Sources": sources(acquisition, root),
        "SpatialReference": "orig",
        "Type": "ROI",
    }


def publish(staging: Path, files: list[Path], out: Path) -> dict[str, int]:
    """Move files to the folder of results, each in one step.

    Returns
    -------
    dict
        Size in bytes by path relative to the folder of results.
    """
    sizes = {}
    for path in files:
        relative = path.relative_to(staging)
        (out / relative).parent.mkdir(parents=True, exist_ok=True)
        sizes[relative.as_posix()] = path.stat().st_size
        path.replace(out / relative)
    return sizes


def remove_outdated(out: Path, paths: Iterable[str]) -> None:
    """Remove files of an earlier call that no longer go with the map, such as its stages, and folders left empty.

    Parameters
    ----------
    out
        The folder of results.
    paths
        Relative to it; what lies elsewhere is left alone.
    """
    for relative in map(Path, paths):
        if relative.is_absolute() or ".." in relative.parts:
            continue
        path = out / relative
        path.unlink(missing_ok=True)
        if path.parent.is_dir() and not any(path.parent.iterdir()):
            path.parent.rmdir()


def check_folder(out: Path, root: Path) -> None:
    """Check, before anything is done, that a folder may hold the results and both data sets can be described.

    Raises
    ------
    DataError
        If a description cannot be read, or is not of the standard's form.
    ParameterError
        If the folder holds the results of another program.
    """
    for folder in (root, out):
        there = read_json(folder / DESCRIPTION) if (folder / DESCRIPTION).is_file() else {}
    for name, kind, what in (("GeneratedBy", list, "a list"), ("DatasetLinks", dict, "an object")):
        if not isinstance(there.get(name, kind()), kind):
            raise DataError(f"{out / DESCRIPTION}: '{name}' is {there[name]!r}; expected {what}")
    makers = [maker.get("Name") for maker in there.get("GeneratedBy", []) if isinstance(maker, dict)]
    if there and PROGRAM not in makers:
        found = ", ".join(map(str, makers)) or "raw data"
        raise ParameterError(f"{out}: its {DESCRIPTION} says that it is from {found}; choose another OUT_DIR")


def describe_dataset(out: Path, root: Path) -> None:
    """Write what describes the folder of results as a data set; what a person has changed of it stays.

    Parameters
    ----------
    out
        The folder of results.
    root
        The data set that was read.
    """
    description = out / DESCRIPTION
    there = read_json(description) if description.is_file() else {}
    described = read_json(root / DESCRIPTION) if (root / DESCRIPTION).is_file() else {}
    versions = ", ".join(f"{name} {text}" for name, text in software_versions().items() if name != PROGRAM)
    content = {
        "Name": f"Susceptibility maps of {described.get('Name', root.name)}",
        "BIDSVersion": BIDS_VERSION,
        **there,
        "DatasetType": "derivative",
        "GeneratedBy": [
            {"Name": PROGRAM, "Version": __version__, "Description": f"Susceptibility maps; computed with {versions}"}
        ],
        "SourceDatasets": [_source(described, root, out)],
        "DatasetLinks": {**there.get("DatasetLinks", {}), RAW: root.as_uri()},
    }
    if there != content:
        write_json(description, content)
    for name, text in {".bidsignore": "\n".join(IGNORED), "README.md": README}.items():
        if not (out / name).exists():
            atomic_write_text(out / name, text.format(version=__version__, mask=OWN_MASK).rstrip() + "\n")


def _source(described: Mapping[str, Any], root: Path, out: Path) -> dict[str, str]:
    """The data set that was read: its DOI where it has one, and where it lies, seen from the results."""
    source = {"URL": Path(os.path.relpath(root, out)).as_posix()}
    return source | ({"DOI": described["DatasetDOI"]} if isinstance(described.get("DatasetDOI"), str) else {})


def facts_of(outcome: Outcome, acquisition: Acquisition) -> dict[str, Any]:
    """The numbers of a run that the group table holds."""
    document, problem = outcome.document, outcome.case.problem
    statistics, geometry = document["result"]["statistics_in_mask"], document["geometry"]
    main = outcome.solver.main_parameter()
    estimate = document["input"]["field_estimate"] or {}
    times = problem.echo_times_s
    voxel_ml = float(np.prod(geometry["voxel_size_mm"])) / 1000
    return {
        "algorithm": document["algorithm"]["name"],
        "main_parameter": main.name,
        "main_parameter_value": getattr(outcome.solver, main.name),
        "background_removal": (document["background"] or {}).get("name"),
        "converged": document["result"]["converged"],
        "stop_reason": document["result"]["stop_reason"],
        "iterations": document["result"]["iterations"],
        "chi_sd": statistics["standard_deviation"],
        "chi_p01": statistics["percentile_1"],
        "chi_p99": statistics["percentile_99"],
        "volume": geometry["result_mask_voxels"] * voxel_ml,
        "mask_origin": "made" if acquisition.mask is None else "given",
        "voxel_size": "x".join(f"{size:g}" for size in geometry["voxel_size_mm"]),
        "field_strength": problem.b0_tesla,
        "b0_angle": geometry["b0_angle_to_nearest_axis_deg"],
        "echoes": len(times),
        "first_echo": times[0],
        "last_echo": times[-1],
        "residual": estimate.get("median_residual"),
        "chimap": map_path(acquisition).as_posix(),
    }
