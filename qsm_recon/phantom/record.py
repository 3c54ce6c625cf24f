"""The record that lies with every exported head, by which another head under the same name is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from qsm_recon.errors import ParameterError
from qsm_recon.io import plain, read_json
from qsm_recon.phantom.parameters import PHANTOM_VERSION, PhantomParameters
from qsm_recon.phantom.signal import FLIP_ANGLE_DEG, REPETITION_TIME_S

RECORD = "phantom.json"
SNR_NAMES = {100.0: "Snr1", 1000.0: "Snr2"}
FREQUENCY_SHIFTS = {"background": "background", "remnant": "remnant_ppm", "microstructure": "microstructure_ppm"}
"""Fields that plain images hold where they are asked for, and the parameter that asks."""
PLAIN_IMAGES = (
    "magnitude",
    "phase",
    "mask",
    "evaluation_mask",
    "labels",
    "chi",
    "field",
    "m0",
    "r1",
    "r2star",
    *(f"{name}_field" for name in FREQUENCY_SHIFTS),
)


@dataclass(frozen=True)
class Place:
    """Where a head is.

    Parameters
    ----------
    record
        File of its record.
    taken
        Files and folders that are this head's alone.
    former
        Record of a whole data set, which earlier versions wrote in place of one for each head; None where there was
        none.
    """

    record: Path
    taken: tuple[Path, ...]
    former: Path | None = None


def subject_name(parameters: PhantomParameters) -> str:
    """The head's name in a BIDS data set."""
    return f"sub-{parameters.case}"


def challenge_name(parameters: PhantomParameters) -> str:
    """The head's name in the layout of the 2019 challenge."""
    return parameters.case.capitalize() + SNR_NAMES.get(parameters.snr, "")


def _nifti_place(_parameters: PhantomParameters, folder: Path) -> Place:
    return Place(folder / RECORD, tuple(folder / f"{name}.nii.gz" for name in PLAIN_IMAGES))


def _bids_place(parameters: PhantomParameters, folder: Path) -> Place:
    subject, truth = subject_name(parameters), folder / "derivatives" / "truth"
    return Place(truth / subject / RECORD, (folder / subject, truth / subject), truth / RECORD)


def _rc2_place(parameters: PhantomParameters, folder: Path) -> Place:
    head = folder / challenge_name(parameters)
    return Place(head / "GT" / RECORD, (head,))


def _qsmci_place(_parameters: PhantomParameters, folder: Path) -> Place:
    return Place(folder / "groundtruth" / RECORD, (folder / "inputs", folder / "groundtruth"))


PLACES: dict[str, Callable[[PhantomParameters, Path], Place]] = {
    "nifti": _nifti_place,
    "bids": _bids_place,
    "rc2": _rc2_place,
    "qsmci": _qsmci_place,
}
"""Layout to where it puts a head."""


def describe(parameters: PhantomParameters, version: int = PHANTOM_VERSION) -> dict[str, Any]:
    """What a record holds: everything that makes the head what it is."""
    return {
        "phantom_version": version,
        "parameters": asdict(parameters),
        "repetition_time_s": REPETITION_TIME_S,
        "flip_angle_deg": FLIP_ANGLE_DEG,
    }


def claim(parameters: PhantomParameters, folder: Path, layout: str, version: int = PHANTOM_VERSION) -> Path:
    """Check that a head's place is free, or holds that head already.

    Parameters
    ----------
    parameters
        The head.
    folder
        Where it is to be written.
    layout
        One of :data:`PLACES`.
    version
        Version of the phantom.

    Returns
    -------
    Path
        Where its record goes.

    Raises
    ------
    ParameterError
        If another head, or images that no record describes, are there.
    DataError
        If the record there cannot be read.
    """
    place = PLACES[layout](parameters, folder)
    held = [path for path in place.taken if path.is_file() or (path.is_dir() and any(path.iterdir()))]
    record, stored = place.record, read_json(place.record) if place.record.exists() else None
    if stored is None and held and place.former is not None and place.former.exists():
        former = read_json(place.former)
        if _parameters(former).get("case") == parameters.case:
            record, stored = place.former, former
    if stored is None:
        if held:
            raise ParameterError(
                f"{held[0]}: is there already, without a record ({place.record}) of which head it is; choose another "
                "folder, or remove it first"
            )
        return place.record
    differing = _differing(stored, plain(describe(parameters, version)))
    if differing:
        raise ParameterError(
            f"{record}: another head is there under this name ({differing}); choose another folder, or remove that "
            "head first"
        )
    return place.record


def _parameters(record: dict[str, Any]) -> dict[str, Any]:
    found = record.get("parameters")
    return found if isinstance(found, dict) else {}


def _differing(stored: dict[str, Any], asked: dict[str, Any]) -> str:
    """In what the heads of two records differ; empty where in nothing.

    Options that are newer than a record are as in the published phantom there.
    """
    if not _parameters(stored):
        return "the file is no record of a phantom"
    before = {**stored, **plain(asdict(PhantomParameters())), **_parameters(stored)}
    now = {**asked, **asked["parameters"]}
    names = [name for name in now if name != "parameters" and before.get(name) != now[name]]
    return "; ".join(f"{name}: {before.get(name)} there, {now[name]} asked for" for name in names)
