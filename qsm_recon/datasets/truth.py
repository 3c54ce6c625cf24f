"""What reconstructions are compared with, and how it is read from files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qsm_recon.errors import DataError
from qsm_recon.io import Image, load_image, load_mask, require_same_geometry
from qsm_recon.problem import finite_in_mask

PathLike = str | Path


@dataclass(frozen=True, eq=False)
class Truth:
    """What a reconstruction is compared with.

    Parameters
    ----------
    susceptibility_ppm
        (nx, ny, nz) true susceptibility in ppm.
    labels
        (nx, ny, nz) whole numbers, the tissue labels of the 2019 challenge; None where unknown.
    evaluation_mask
        (nx, ny, nz) where to compare; None means the whole mask of the problem.
    calcification_moment
        Susceptibility summed over the calcification, ppm × voxels, where it is known better than from the truth.
    """

    susceptibility_ppm: NDArray[np.floating]
    labels: NDArray[np.integer] | None = None
    evaluation_mask: NDArray[np.bool_] | None = None
    calcification_moment: float | None = None


def load_truth(
    truth: PathLike,
    labels: PathLike | None,
    evaluation_mask: PathLike | None,
    reference: Image,
    mask: NDArray[np.bool_],
    sources: dict[str, str],
    notes: list[str],
    calcification_moment: float | None = None,
) -> Truth:
    """Read the truth of a case and check that it lies on the same grid.

    Parameters
    ----------
    truth, labels, evaluation_mask
        Files of the susceptibility in ppm, the label map and the mask of the comparison.
    reference
        The image whose geometry they must share.
    mask
        The mask of the problem.
    sources, notes
        Extended.
    calcification_moment
        Passed on.

    Raises
    ------
    DataError
        Naming the file.
    """
    image = load_image(truth)
    require_same_geometry(reference, image)
    region = None
    if evaluation_mask is not None:
        region_image = load_mask(evaluation_mask)
        require_same_geometry(reference, region_image)
        region = region_image.data
        sources["evaluation_mask"] = str(evaluation_mask)
    susceptibility = finite_in_mask(str(truth), image.data, mask if region is None else region, notes)
    sources["truth"] = str(truth)
    numbers = None
    if labels is not None:
        numbers = load_labels(labels, reference)
        sources["labels"] = str(labels)
    return Truth(susceptibility, numbers, region, calcification_moment)


def load_labels(path: PathLike, reference: Image) -> NDArray[np.int16]:
    """Read a label map of whole numbers.

    Raises
    ------
    DataError
        If it cannot be read, lies on another grid, or holds fractions or numbers beyond 16 bits.
    """
    image = load_image(path, dtype=np.float64)
    require_same_geometry(reference, image)
    rounded = np.rint(image.data)
    if not np.isfinite(image.data).all() or np.abs(image.data - rounded).max() > 1e-3 or np.abs(rounded).max() > 32767:
        raise DataError(f"{path}: a label map holds whole numbers; resample it with nearest-neighbour interpolation")
    return rounded.astype(np.int16)
