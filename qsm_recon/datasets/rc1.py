"""The data of the 2016 reconstruction challenge: one orientation at 3 T, with COSMOS as the reference.

References
----------
Langkammer C, Schweser F, Shmueli K, et al. Quantitative susceptibility mapping: report from the 2016 reconstruction
challenge. Magn Reson Med 2018;79:1661-1673. doi:10.1002/mrm.26830
"""

from __future__ import annotations

from collections.abc import Mapping

from qsm_recon.datasets.case import Case
from qsm_recon.datasets.files import case_from_files
from qsm_recon.datasets.images import find_image, require_folder, require_image
from qsm_recon.datasets.options import LoadSettings, choose
from qsm_recon.errors import DataError, ParameterError

B0_TESLA = 2.8936
ECHO_TIME_S = 0.025
B0_DIRECTION = (0.0, 0.0, 1.0)

OPTIONS = {
    "truth": "reference to compare with: cosmos (default), sti (the χ33 component of the tensor), or none",
}
FIELD_NAMES = ("localfield", "phs_tissue")
MASK_NAMES = ("mask", "msk")
MAGNITUDE_NAMES = ("magnitude", "magn")
TRUTH_NAMES = {"cosmos": "chi_cosmos", "sti": "chi_33"}


def load(location: str, options: Mapping[str, str], settings: LoadSettings) -> Case:
    """Read the folder of the 2016 challenge.

    Its images are the local field in ppm (``localfield``, officially ``phs_tissue``), the mask (``mask``, ``msk``),
    the magnitude (``magnitude``, ``magn``) and the references ``chi_cosmos`` and ``chi_33``; the official archive
    keeps them in a folder ``data``.

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
        If an image is missing or inconsistent.
    """
    if settings.field_estimate is not None:
        raise ParameterError("rc1: the data set has a field map only, no echoes to estimate a field from")
    settings.require_no_echo_options("rc1")
    folder = require_folder(location, "rc1")
    if find_image(folder, *FIELD_NAMES) is None and find_image(folder / "data", *FIELD_NAMES) is not None:
        folder = folder / "data"
    reference = choose(options, "truth", (*TRUTH_NAMES, "none"), "cosmos")
    truth = None if reference == "none" else find_image(folder, TRUTH_NAMES[reference])
    if truth is None and "truth" in options and reference != "none":
        raise DataError(f"{folder}: no {TRUTH_NAMES[reference]}.nii.gz there to compare with; choose another truth")
    return case_from_files(
        field=require_image(folder, *FIELD_NAMES, what="local field"),
        mask=require_image(folder, *MASK_NAMES, what="mask"),
        magnitude=find_image(folder, *MAGNITUDE_NAMES),
        truth=truth,
        b0_tesla=B0_TESLA,
        echo_times_s=(ECHO_TIME_S,),
        # the images lie along the scanner's axes, whatever a converted header says
        b0_direction=B0_DIRECTION if settings.b0_direction is None else settings.b0_direction,
        accept_range=settings.accept_range,
        field_kind="local",
        name="rc1",
    )
