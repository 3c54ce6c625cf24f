"""What a run leaves behind: all of its files, or none."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsm_recon.datasets.case import Case
from qsm_recon.errors import ParameterError, ResourceError
from qsm_recon.io import atomic_write_text, write_json
from qsm_recon.report.document import STAGE_PREFIX
from qsm_recon.report.former_run import former_files, input_files, remove_former
from qsm_recon.report.page_mark import PAGE_NAME
from qsm_recon.report.run_figure import (
    MARGIN_VOXELS,
    OUTLINED_MARGIN_VOXELS,
    Panel,
    grey_window,
    run_figure,
    save_figure,
)
from qsm_recon.result import Reconstruction
from qsm_recon.unfinished import clear_abandoned, unfinished_prefix

MAP_NAME, REPORT_NAME, FIGURE_NAME = OUTPUT_NAMES = ("chi.nii.gz", "report.json", "figure.png")


@contextmanager
def all_or_nothing(folder: Path) -> Iterator[Path]:
    """Give a temporary folder to write to; its files move to ``folder`` when the block ends without an error.

    Raises
    ------
    ResourceError
        If the folder cannot be written.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    staging = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        clear_abandoned(folder)
        staging = Path(tempfile.mkdtemp(prefix=unfinished_prefix(), dir=folder))
        yield staging
        _move(staging, folder)
        made = []
    except ResourceError as error:
        raise ResourceError(str(error).replace(f"{staging}", f"{folder}")) from error
    except OSError as error:
        raise ResourceError(
            f"{folder}: cannot be written ({error.strerror or error}); choose another folder"
        ) from error
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)
        for path in made:  # innermost first; one that something else has been put into stays
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()


def _move(staging: Path, folder: Path) -> None:
    """Move files to their folder, the report last: where there is one, all that it tells of is there."""
    former, kept = folder / REPORT_NAME, staging / ".former"
    if former.is_file() and (staging / REPORT_NAME).exists():
        former.replace(kept)
    try:
        for path in sorted(staging.glob("[!.]*"), key=lambda path: (path.name == REPORT_NAME, path.name)):
            path.replace(folder / path.name)
    except OSError:
        if kept.exists():
            kept.replace(former)
        raise


def write_outputs(
    folder: Path,
    case: Case,
    result: Reconstruction,
    susceptibility: NDArray[np.float32],
    document: dict[str, Any],
    title: str,
    *,
    keep_stages: bool = False,
    page: bool = False,
) -> None:
    """Write the susceptibility map, further maps of the method, the picture and the report.

    Parameters
    ----------
    folder
        Where to; made where missing.
    case
        The data set, with its truth where known.
    result
        What the solver returned.
    susceptibility
        (nx, ny, nz) the map in ppm with its zero reference, 0 outside the mask.
    document
        The report, see :func:`qsm_recon.report.document.run_document`.
    title
        Headline of the picture.
    keep_stages
        Write the maps of all stages as well.
    page
        Write the page ``report.html`` as well.

    Maps and page of an earlier run in the folder that this one does not write are removed: they would tell of another
    result.

    Raises
    ------
    ResourceError
        If something cannot be written; then nothing is.
    ParameterError
        If one of the files is an input; then nothing is written.
    """
    figure = run_figure(
        _panels(case, susceptibility, result.mask), result.mask, case.affine, result.history, title,
        margin_voxels=OUTLINED_MARGIN_VOXELS if case.made_mask else MARGIN_VOXELS,
    )  # fmt: skip
    with all_or_nothing(folder) as staging:
        case.save(staging / MAP_NAME, susceptibility)
        for name, image in result.images.items():
            case.save(staging / f"{name}.nii.gz", np.asarray(image, np.float32))
        for name, image in case.stage_maps().items() if keep_stages else ():
            case.save(staging / f"{STAGE_PREFIX}{name}.nii.gz", image)
        save_figure(figure, staging / FIGURE_NAME)
        write_json(staging / REPORT_NAME, document)
        if page:
            from qsm_recon.report.run_page import run_page

            picture = (staging / FIGURE_NAME).read_bytes()
            atomic_write_text(staging / PAGE_NAME, run_page(document, case, susceptibility, result.mask, picture))
        written = [path.name for path in staging.iterdir()]
        inputs = input_files(case.sources.values())
        for name in written:  # maps of a method, of which nothing is known before
            if (folder / name).resolve() in inputs:
                raise ParameterError(
                    f"{folder}: the result would replace the input {folder / name}; choose another folder; nothing was "
                    "written"
                )
        former = former_files(folder, REPORT_NAME)  # now, since another run may have ended there in the meantime
    remove_former(former, written, case.sources.values())


def _panels(case: Case, susceptibility: NDArray[np.float32], covered: NDArray[np.bool_]) -> list[Panel]:
    field, mask, total = case.problem.field_ppm, case.problem.mask, case.stages.get("total_field_ppm")
    panels, magnitude = [], case.problem.magnitude
    if magnitude is not None:
        bright = float(np.percentile(magnitude[mask], 99)) or 1.0
        panels.append(Panel("magnitude", magnitude, 0.5 * bright, 0.5 * bright, "a.u.", masked=False))
    if total is not None:
        panels.append(_field_panel("total field", total, mask))
    panels.append(_field_panel("field" if total is None else "local field", field, mask))
    window = grey_window(susceptibility[mask])
    panels.append(Panel("susceptibility", susceptibility, window))
    if case.truth is not None:
        region = case.compared(covered)
        maps = (susceptibility, case.truth.susceptibility_ppm)
        estimate, truth = (np.where(region, values - values[region].mean(), 0) for values in maps)
        panels.append(Panel("error", estimate - truth, window))
    return panels


def _field_panel(name: str, field: NDArray, mask: NDArray[np.bool_]) -> Panel:
    """Panel of a field about its median: a constant has no effect on the susceptibility."""
    offset = float(np.median(field[mask]))
    return Panel(name, field, float(np.percentile(np.abs(field[mask] - offset), 98)) or 1.0, offset)
