"""The group table: one row for each acquisition, and the dictionary of its columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from qsm_recon.cohort.derivatives import GROUP
from qsm_recon.cohort.record import Record
from qsm_recon.io import atomic_write_text, write_json

MISSING = "n/a"
COLUMNS: dict[str, dict[str, Any]] = {
    "participant_id": {"Description": "Subject"},
    "session_id": {"Description": "Session"},
    "acquisition": {"Description": "What the names of the acquisition's files share"},
    "status": {
        "Description": "What became of it",
        "Levels": {"done": "The map is there", "failed": "There is none from this call; see reason"},
    },
    "reason": {"Description": "Why it failed"},
    "algorithm": {"Description": "Method of dipole inversion"},
    "main_parameter": {"Description": "Name of its regularisation parameter"},
    "main_parameter_value": {"Description": "Value that it had, in the unit that the report gives"},
    "background_removal": {"Description": "Method that removed the background field"},
    "converged": {"Description": "Whether the iteration reached its tolerance"},
    "stop_reason": {"Description": "Why the iteration stopped"},
    "iterations": {"Description": "Number of iterations"},
    "chi_sd": {"Description": "Standard deviation of the susceptibility in the mask", "Units": "ppm"},
    "chi_p01": {"Description": "First percentile of the susceptibility in the mask", "Units": "ppm"},
    "chi_p99": {"Description": "99th percentile of the susceptibility in the mask", "Units": "ppm"},
    "volume": {"Description": "Volume that has a result", "Units": "mL"},
    "mask_origin": {
        "Description": "Where the mask is from",
        "Levels": {"given": "A file of the data set", "made": "Made from phase quality and magnitude"},
    },
    "voxel_size": {"Description": "Size of a voxel along the image axes", "Units": "mm"},
    "field_strength": {"Description": "Main field", "Units": "T"},
    "b0_angle": {"Description": "Angle of the main field to the nearest image axis", "Units": "degree"},
    "echoes": {"Description": "Number of echoes"},
    "first_echo": {"Description": "First echo time", "Units": "s"},
    "last_echo": {"Description": "Last echo time", "Units": "s"},
    "residual": {"Description": "Median of what the fit of the echoes leaves, relative to the signal"},
    "warnings": {"Description": "Warnings, separated by ' | '"},
    "seconds": {"Description": "Duration of the run", "Units": "s"},
    "processor_seconds": {"Description": "Time of all processor cores together", "Units": "s"},
    "memory": {"Description": "Most memory of the worker until the run's end", "Units": "GiB"},
    "version": {"Description": "Version of qsm_recon"},
    "date": {"Description": "When it ended, UTC"},
    "key": {"Description": "SHA-256 of the inputs' contents, the method with its parameters and the version"},
    "chimap": {"Description": "The susceptibility map, relative to this table"},
}
"""Columns in their order, as BIDS describes them."""


def row(record: Record) -> dict[str, Any]:
    """The row of one record, by column; what is not known is None."""
    session = record.entities.get("ses")
    values = {
        "participant_id": f"sub-{record.entities['sub']}",
        "session_id": None if session is None else f"ses-{session}",
        "acquisition": record.name,
        "status": record.status,
        "reason": record.reason or None,
        **record.facts,
        "warnings": " | ".join(record.warnings) or None,
        "version": record.version,
        "date": record.date,
        "key": record.key,
    }
    return {column: values.get(column) for column in COLUMNS}


def write_table(out: Path, records: Sequence[Record]) -> Path:
    """Write the table and its dictionary.

    Raises
    ------
    ResourceError
        If they cannot be written.
    """
    lines = ["\t".join(COLUMNS), *("\t".join(_cells(row(record))) for record in records)]
    write_json(out / f"{GROUP}.json", COLUMNS)
    return atomic_write_text(out / f"{GROUP}.tsv", "\n".join(lines) + "\n")


def _cells(values: Mapping[str, Any]) -> list[str]:
    return [cell(value) for value in values.values()]


def cell(value: Any) -> str:
    """A value as one cell: no tabs or line breaks, ``n/a`` where there is none."""
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.6g}"
    return " ".join(str(value).split()) or MISSING
