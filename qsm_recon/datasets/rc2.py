"""The data of the 2019 reconstruction challenge: simulated echoes at 7 T, with the truth of its second stage.

References
----------
Bilgic B, Langkammer C, Marques JP, et al. QSM reconstruction challenge 2.0: design and report of results.
Magn Reson Med 2021;86:1241-1255. doi:10.1002/mrm.28754
Marques JP, Meineke J, Milovic C, et al. QSM reconstruction challenge 2.0: a realistic in silico head phantom for MRI
data simulation and evaluation of susceptibility mapping procedures. Magn Reson Med 2021;86:526-542.
doi:10.1002/mrm.28716
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from qsm_recon.datasets.case import Case
from qsm_recon.datasets.files import case_from_files
from qsm_recon.datasets.images import find_image, require_folder, require_image
from qsm_recon.datasets.options import ECHO_OPTIONS, LoadSettings, choose_field, number, path_inside
from qsm_recon.errors import DataError, ParameterError, did_you_mean
from qsm_recon.io import load_image
from qsm_recon.units import hz_to_ppm

logger = logging.getLogger(__name__)

OPTIONS = {
    "case": "which simulation of a folder with several: Sim1, Sim2, Sim1Snr1, Sim1Snr2, Sim2Snr1, Sim2Snr2",
    "field": "fit (default) or difference of the echoes, or frequency, the map that the challenge provided",
    "evaluation_mask": "where to compare, relative to the folder of the case; by default the whole brain mask",
    **ECHO_OPTIONS,
    "moment": "true moment of the calcification in ppm × voxels; by default from the truth",
}
CASE_NAME = re.compile(r"sim[12](snr[12])?", re.IGNORECASE)
MASK_NAMES = ("MaskBrainExtracted", "Brain")
FREQUENCY = "Frequency"
PARAMETERS_FILE = "SimulationParameters.mat"
B0_TESLA = 7.0
ECHO_TIMES_S = (0.004, 0.012, 0.020, 0.028)
B0_DIRECTION = (0.0, 0.0, 1.0)


@dataclass(frozen=True)
class Simulation:
    """How the echoes were simulated; the defaults are those of the challenge.

    Parameters
    ----------
    b0_tesla, b0_direction
        Field strength in T and direction in voxel axes.
    echo_times_s
        Echo times in s.
    source
        Where the values come from.
    """

    b0_tesla: float = B0_TESLA
    b0_direction: tuple[float, ...] = B0_DIRECTION
    echo_times_s: tuple[float, ...] = ECHO_TIMES_S
    source: str = "the challenge's publication"


def load(location: str, options: Mapping[str, str], settings: LoadSettings) -> Case:
    """Read one simulation of the challenge.

    A case is a folder with ``Magnitude`` and ``Phase`` (four echoes, rad), ``Frequency`` (Hz) and the mask
    ``MaskBrainExtracted`` or ``Brain``; in the second stage also ``GT`` with ``Chi`` (ppm), ``Segmentation``,
    ``label.mat`` and ``SimulationParameters.mat``.

    Parameters
    ----------
    location
        The folder of a case, or one that holds cases, directly or one level deeper.
    options
        See ``OPTIONS``.
    settings
        General settings.

    Raises
    ------
    DataError
        If a file is missing or inconsistent.
    ParameterError
        If an option is wrong, or the case is not determined.
    """
    folder = find_case(require_folder(location, "rc2"), options.get("case"))
    origin = choose_field(options, settings, ("fit", "difference", "frequency"), _default_field(folder))
    simulation = read_simulation(folder)
    if settings.b0_direction is not None:
        simulation = replace(simulation, b0_direction=tuple(np.asarray(settings.b0_direction, float).tolist()))
    truth = find_image(folder / "GT", "Chi")
    if truth is None and ("evaluation_mask" in options or "moment" in options):
        raise DataError(f"{folder}: no GT/Chi.nii.gz there; evaluation_mask and moment serve the comparison with it")
    frequency = find_image(folder, FREQUENCY)
    inputs: dict[str, Any] = {
        "mask": require_image(folder, *MASK_NAMES, what="mask"),
        "magnitude": require_image(folder, "Magnitude", what="magnitude"),
    }
    if origin == "frequency":
        settings.require_no_echo_options("rc2 with field=frequency")
        inputs |= {"field": require_image(folder, FREQUENCY, what="frequency map"), "field_unit": "Hz"}
    else:
        inputs |= {"phase": require_image(folder, "Phase", what="phase"), "field_estimate": origin}
        inputs |= settings.echo_options(options)
    case = case_from_files(
        **inputs,
        b0_tesla=simulation.b0_tesla,
        echo_times_s=simulation.echo_times_s,
        b0_direction=simulation.b0_direction,
        phase_unit=settings.phase_unit,
        truth=truth,
        labels=None if truth is None else find_image(folder / "GT", "Segmentation"),
        evaluation_mask=path_inside(folder, options, "evaluation_mask"),
        calcification_moment=number(options, "moment"),
        accept_range=settings.accept_range,
        name=folder.resolve().name,
    )
    if origin != "frequency" and frequency is not None:
        _compare_with_provided(case, frequency, simulation.b0_tesla)
    note = f"field strength, echo times and direction from {simulation.source}"
    return replace(case, notes=(note, *case.notes), sources={**case.sources, "simulation": simulation.source})


def find_case(folder: Path, name: str | None) -> Path:
    """Return the folder of one case.

    Parameters
    ----------
    folder
        The case itself, or a folder that holds cases, directly or one level deeper.
    name
        Which case; needed where there are several.

    Raises
    ------
    DataError
        If there is none.
    ParameterError
        If the name is unknown, or missing where there are several.
    """
    if find_image(folder, "Phase", FREQUENCY) is not None:
        if name is not None and name.lower() != folder.resolve().name.lower():
            raise ParameterError(f"data set option case={name}: {folder} is itself a case; leave the option out")
        return folder
    candidates = [path for path in (*folder.glob("*"), *folder.glob("*/*")) if CASE_NAME.fullmatch(path.name)]
    cases = {path.name: path for path in sorted(candidates) if find_image(path, "Phase", FREQUENCY) is not None}
    if not cases:
        raise DataError(
            f"{folder}: no data of the challenge; expected Phase.nii.gz or Frequency.nii.gz there, or folders Sim1, "
            "Sim2, Sim1Snr1 ... that hold them"
        )
    if name is None:
        if len(cases) > 1:
            raise ParameterError(f"{folder}: holds {', '.join(cases)}; choose one with ?case={next(iter(cases))}")
        return next(iter(cases.values()))
    match = {key.lower(): path for key, path in cases.items()}.get(name.lower())
    if match is None:
        raise ParameterError(f"data set option case: no '{name}' in {folder}{did_you_mean(name, cases)}")
    return match


def read_simulation(folder: Path) -> Simulation:
    """Read ``SimulationParameters.mat`` of a case, from its ``GT`` or its own folder.

    The file holds the structures ``SimParams`` (``B0`` in T, ``B0_dir``) and ``SeqParams`` (``TE`` in s).  Without
    the file, as in the first stage, the published values hold.

    Raises
    ------
    DataError
        If the file is there but cannot be read or lacks a value.
    """
    path = next((p for p in (folder / "GT" / PARAMETERS_FILE, folder / PARAMETERS_FILE) if p.is_file()), None)
    if path is None:
        return Simulation()
    from scipy.io import loadmat

    try:
        content = loadmat(path, simplify_cells=True)
    except Exception as error:  # scipy raises many kinds; the file name is what the user needs
        raise DataError(f"{path}: not a readable MATLAB file ({error})") from error
    return Simulation(
        float(_member(content, "SimParams", "B0", path)[0]),
        _member(content, "SimParams", "B0_dir", path),
        _member(content, "SeqParams", "TE", path),
        str(path),
    )


def _member(content: Mapping[str, Any], structure: str, name: str, path: Path) -> tuple[float, ...]:
    """Numbers of a member of a MATLAB structure."""
    members = content.get(structure)
    if not isinstance(members, Mapping) or name not in members:
        raise DataError(f"{path}: no {structure}.{name} in it; remove the file to use the published values")
    try:
        values = np.atleast_1d(np.asarray(members[name], dtype=float)).ravel()
    except (TypeError, ValueError):
        values = np.array([])
    if values.size == 0:
        raise DataError(f"{path}: {structure}.{name} is no number; remove the file to use the published values")
    return tuple(values.tolist())


def _default_field(folder: Path) -> str:
    return "fit" if find_image(folder, "Phase") is not None else "frequency"


def _compare_with_provided(case: Case, path: Path, b0_tesla: float) -> None:
    """Check that the field from the echoes runs with the provided map, so that the sign of the phase is right."""
    provided = hz_to_ppm(load_image(path).data, b0_tesla)
    mask = case.problem.mask
    if provided.shape != mask.shape:
        raise DataError(f"{path}: shape {provided.shape} differs from {mask.shape} of the phase")
    pair = np.stack([provided[mask], case.problem.field_ppm[mask]]).astype(float)
    pair = pair[:, np.isfinite(pair).all(axis=0)]
    if pair.shape[1] < 2 or np.any(np.ptp(pair, axis=1) == 0):
        return
    correlation = float(np.corrcoef(pair)[0, 1])
    logger.info("%s: correlation %.3f with the field from the echoes", path, correlation)
    if correlation < 0:
        raise DataError(
            f"{path}: runs against the field from the phase (correlation {correlation:.2f}); one of the two has the "
            "wrong sign"
        )
