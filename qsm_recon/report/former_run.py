"""What an earlier run left in a folder that a later one does not write: a folder holds one run."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from qsm_recon.errors import DataError, ResourceError
from qsm_recon.io import read_json
from qsm_recon.report.page_mark import PAGE_NAME, is_run_page

PAGE_START_BYTES = 2000
"""Within these a page says that it is ours."""
MAP_SUFFIX = ".nii.gz"


def former_files(folder: Path, report_name: str) -> list[Path]:
    """Maps and page that an earlier run wrote to a folder, by its report; none where there is no such report.

    Only names of maps that lie in the folder itself count, whatever a report says.
    """
    found = [folder / PAGE_NAME] if _is_our_page(folder / PAGE_NAME) else []
    try:
        document = read_json(folder / report_name)
    except (DataError, OSError):
        return found
    result = document.get("result")
    named = [document.get("stages"), result.get("further_maps") if isinstance(result, dict) else None]
    names = [name for group in named if isinstance(group, list) for name in group]
    return found + [folder / name for name in names if _is_map(name) and (folder / name).is_file()]


def describe_former(folder: Path, report_name: str) -> str | None:
    """Say which run a folder holds, such as ``the run of tkd of 2026-11-29 13:21 UTC``; None where it holds none."""
    try:
        document = read_json(folder / report_name)
        name, date = document["algorithm"]["name"], datetime.fromisoformat(document["run"]["date"])
    except (DataError, OSError, LookupError, TypeError, ValueError):
        return None
    return f"the run of {name} of {date.astimezone(timezone.utc):%Y-%m-%d %H:%M} UTC"


def input_files(sources: Iterable[str]) -> set[Path]:
    """Files that the sources of a case name, with links followed; each names one, or several separated by commas."""
    return {Path(part).resolve() for source in sources for part in source.split(", ")}


def remove_former(paths: Iterable[Path], kept: Iterable[str], inputs: Iterable[str]) -> None:
    """Remove files of an earlier run, but those just written and those that are inputs of this run.

    Raises
    ------
    ResourceError
        If one cannot be removed; the results beside it are new.
    """
    names, sources = set(kept), input_files(inputs)
    for path in paths:
        if path.name in names or path.resolve() in sources:
            continue
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise ResourceError(
                f"{path}: what an earlier run left cannot be removed ({error.strerror or error}); the results beside "
                "it are new"
            ) from error


def _is_map(name: Any) -> bool:
    return isinstance(name, str) and name.endswith(MAP_SUFFIX) and Path(name).name == name


def _is_our_page(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return is_run_page(stream.read(PAGE_START_BYTES).decode("utf-8", "replace"))
    except OSError:
        return False
