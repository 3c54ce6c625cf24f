"""The phantom written to disk in the layouts that other software reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsm_recon.errors import ParameterError, did_you_mean
from qsm_recon.field import EchoSeries, estimate_field, field_difference_map
from qsm_recon.io import atomic_write, save_image, write_json
from qsm_recon.phantom.build import Phantom
from qsm_recon.phantom.record import FREQUENCY_SHIFTS, challenge_name, claim, describe, subject_name
from qsm_recon.phantom.signal import FLIP_ANGLE_DEG, REPETITION_TIME_S
from qsm_recon.phantom.tissue import HAEMORRHAGE, TISSUES, Tissue


def export_phantom(phantom: Phantom, folder: str | Path, layout: str = "nifti") -> Path:
    """Write a phantom, its record first; the same head may be written again, and goes on where that was interrupted.

    Parameters
    ----------
    phantom
        What to write.
    folder
        Where; made where missing.
    layout
        ``nifti``: everything as plain images; ``bids``: multi-echo MEGRE images with JSON files, mask and truth as
        derivatives; ``rc2``: the folders of the 2019 challenge, stage 2; ``qsmci``: inputs and ground truth of the
        QSM-CI contract.

    Returns
    -------
    Path
        The folder to give to the data set of that name.

    Raises
    ------
    ParameterError
        If the layout is unknown, or cannot hold the phantom, or another head is there under its name.
    ResourceError
        If a file cannot be written.
    """
    if layout not in LAYOUTS:
        raise ParameterError(f"phantom format: unknown '{layout}'{did_you_mean(layout, LAYOUTS)}")
    record = claim(phantom.parameters, Path(folder), layout, phantom.version)
    return LAYOUTS[layout](phantom, Path(folder), record)


def _write_nifti(phantom: Phantom, folder: Path, record: Path) -> Path:
    images = {
        "magnitude": np.abs(phantom.echoes),
        "phase": np.angle(phantom.echoes),
        "mask": phantom.mask,
        "evaluation_mask": phantom.evaluation_mask,
        "labels": phantom.labels,
        "chi": phantom.susceptibility_ppm,
        "field": phantom.field_ppm,
        "m0": phantom.m0,
        "r1": phantom.r1_per_s,
        "r2star": phantom.r2star_per_s,
    }
    others = [f"{name}_field" for name, asked in FREQUENCY_SHIFTS.items() if getattr(phantom.parameters, asked)]
    images |= {name: getattr(phantom, f"{name}_ppm") for name in others}
    units = {"phase": "rad", "chi": "ppm", "field": "ppm", "background_field": "ppm", "r1": "1/s", "r2star": "1/s"}
    units |= dict.fromkeys(others, "ppm")
    labels = {str(tissue.label): tissue.name for tissue in _tissues(phantom)}
    write_json(record, {**_description(phantom), "units": units, "labels": labels})
    _save(phantom, folder, images)
    return folder


def _write_bids(phantom: Phantom, folder: Path, record: Path) -> Path:
    write_json(record, _description(phantom))
    subject = subject_name(phantom.parameters)
    raw = folder / subject / "anat"
    for number, time in enumerate(phantom.echo_times_s, start=1):
        echo = phantom.echoes[..., number - 1]
        for part, image in (("mag", np.abs(echo)), ("phase", np.angle(echo))):
            stem = f"{subject}_echo-{number}_part-{part}_MEGRE"
            save_image(raw / f"{stem}.nii.gz", image, phantom.affine)
            sidecar = {
                "EchoTime": time,
                "MagneticFieldStrength": phantom.b0_tesla,
                "RepetitionTimeExcitation": REPETITION_TIME_S,
                "FlipAngle": FLIP_ANGLE_DEG,
            }
            write_json(raw / f"{stem}.json", sidecar | ({"Units": "rad"} if part == "phase" else {}))
    derived = folder / "derivatives" / "truth"
    images = {"mask": phantom.mask, "dseg": phantom.labels, "Chimap": phantom.susceptibility_ppm}
    images |= {"desc-evaluation_roi": phantom.evaluation_mask}
    _save(phantom, derived / subject / "anat", {f"{subject}_{name}": image for name, image in images.items()})
    write_json(derived / subject / "anat" / f"{subject}_Chimap.json", {"Units": "ppm"})
    description = {"Name": "phantom", "BIDSVersion": "1.9.0", "DatasetType": "raw"}
    generated = {"GeneratedBy": [{"Name": "qsm_recon", "Description": f"phantom version {phantom.version}"}]}
    for place, content in ((folder, description), (derived, {**description, "DatasetType": "derivative", **generated})):
        if not (place / "dataset_description.json").exists():  # of all the heads there, and perhaps of others
            write_json(place / "dataset_description.json", content)
    return folder


def _write_rc2(phantom: Phantom, folder: Path, record: Path) -> Path:
    from scipy.io import savemat

    if len(phantom.echo_times_s) < 2:
        raise ParameterError("phantom format rc2: the map it provides needs at least two echoes; give more echo times")
    write_json(record, _description(phantom))
    case = folder / challenge_name(phantom.parameters)
    series = EchoSeries(np.abs(phantom.echoes), np.angle(phantom.echoes), phantom.echo_times_s, phantom.b0_tesla)
    images = {
        "Magnitude": series.magnitude,
        "Phase": series.phase_rad,
        "Frequency": field_difference_map(series, phantom.mask).frequency_hz.astype(np.float32),
        "MaskBrainExtracted": phantom.mask,
        "GT/Chi": phantom.susceptibility_ppm,
        "GT/Segmentation": phantom.labels,
        "GT/MaskEvaluation": phantom.evaluation_mask,
    }
    _save(phantom, case, images)
    names = np.empty(max(tissue.label for tissue in _tissues(phantom)), dtype=object)
    names[:] = ""
    for tissue in _tissues(phantom):
        names[tissue.label - 1] = tissue.name
    structures: dict[str, dict[str, Any]] = {
        "SimulationParameters.mat": {
            "SimParams": {
                "B0": phantom.b0_tesla,
                "B0_dir": np.array(phantom.b0_direction),
                "Res": np.array(phantom.voxel_size_mm),
                "PeakSNR": phantom.parameters.snr,
            },
            "SeqParams": {
                "TE": np.array(phantom.echo_times_s),
                "TR": REPETITION_TIME_S,
                "FlipAngle": FLIP_ANGLE_DEG,
            },
        },
        "label.mat": {"label": names},
    }
    for name, content in structures.items():
        atomic_write(case / "GT" / name, _saver(savemat, content))
    return case


def _write_qsmci(phantom: Phantom, folder: Path, record: Path) -> Path:
    write_json(record, _description(phantom))
    series = EchoSeries(np.abs(phantom.echoes), np.angle(phantom.echoes), phantom.echo_times_s, phantom.b0_tesla)
    estimated = estimate_field(series, phantom.mask, "fit").field_ppm.astype(np.float32)
    kind = "total" if phantom.parameters.background else "local"
    inputs = {
        "magnitude": series.magnitude,
        "phase": series.phase_rad,
        "mask": phantom.mask,
        f"{kind}field": estimated,
    }
    truth = {
        "chimap": phantom.susceptibility_ppm,
        "dseg": phantom.labels,
        "localfield": phantom.field_ppm * phantom.mask,
        "totalfield": phantom.frequency_ppm * phantom.mask,
    }
    _save(phantom, folder / "inputs", inputs)
    _save(phantom, folder / "groundtruth", truth)
    parameters = {
        "TE": list(phantom.echo_times_s),
        "B0": phantom.b0_tesla,
        "B0_dir": list(phantom.b0_direction),
        "voxel_size": list(phantom.voxel_size_mm),
    }
    write_json(folder / "inputs" / "params.json", parameters)
    return folder


def _save(phantom: Phantom, folder: Path, images: Mapping[str, NDArray]) -> None:
    for name, image in images.items():
        save_image(folder / f"{name}.nii.gz", image, phantom.affine)


def _saver(savemat: Callable[..., None], content: Mapping[str, Any]) -> Callable[[Path], None]:
    return lambda temporary: savemat(str(temporary), content, appendmat=False)


def _tissues(phantom: Phantom) -> tuple[Tissue, ...]:
    """Tissues that have a label; the challenge's, and a haemorrhage where there is one."""
    return (*TISSUES, HAEMORRHAGE) if phantom.parameters.haemorrhages else TISSUES


def _description(phantom: Phantom) -> dict[str, Any]:
    return describe(phantom.parameters, phantom.version)


LAYOUTS: dict[str, Callable[[Phantom, Path, Path], Path]] = {
    "nifti": _write_nifti,
    "bids": _write_bids,
    "rc2": _write_rc2,
    "qsmci": _write_qsmci,
}
