"""Multi-echo gradient echoes in a BIDS data set (suffix MEGRE, ``echo-N``, magnitude and phase or real and imaginary).

References
----------
Gorgolewski KJ, Auer T, Calhoun VD, et al. The brain imaging data structure, a format for organizing and describing
outputs of neuroimaging experiments. Sci Data 2016;3:160044. doi:10.1038/sdata.2016.44
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import Any

from qsm_recon.datasets.case import Case
from qsm_recon.datasets.echo_order import as_number, same_strength
from qsm_recon.datasets.files import case_from_files
from qsm_recon.datasets.images import require_folder, same_grid
from qsm_recon.datasets.options import ECHO_OPTIONS, LoadSettings, choose_field, path_inside
from qsm_recon.errors import DataError, ParameterError, did_you_mean
from qsm_recon.file_names import sidecar_of
from qsm_recon.io import read_json
from qsm_recon.problem import check_echo_times

SELECTORS = {
    "subject": "sub",
    "session": "ses",
    "acquisition": "acq",
    "reconstruction": "rec",
    "direction": "dir",
    "run": "run",
    "task": "task",
    "contrast": "ce",
    "chunk": "chunk",
    "inversion": "inv",
    "flip": "flip",
    "mtransfer": "mt",
}
"""Option to entity; the entities that tell one acquisition from another."""
OPTIONS = {
    **{
        name: f"value of the entity {entity}-, needed where there are several; none: names without it"
        for name, entity in SELECTORS.items()
    },
    "suffix": "suffix of the images, by default MEGRE",
    "field": "fit (default) or difference of the echoes",
    **ECHO_OPTIONS,
    "mask": "mask image, relative to DIR; none to have one made; by default the one *_mask of the acquisition in "
    "DIR/derivatives, else made",
    "truth": "true susceptibility in ppm, relative to DIR",
    "labels": "label map for the comparison with the truth, relative to DIR",
}
DEFAULT_SUFFIX = "MEGRE"
IMAGE = re.compile(r"\.nii(\.gz)?$")
NONE = "none"
OWN_MASK = "qsmrecon"
"""Value of ``desc-`` of the masks that this program writes: results, which are no input of another run."""
WHOLE = ("brain", "head")
"""Values of ``label-`` of masks that are not those of a part."""
PARTS_OF_IT = re.compile(r"lesion|tumou?r|wmh|ventric|vessel|vein|^(wm|gm|csf)$", re.IGNORECASE)
"""Values of ``desc-`` of masks that are."""
COUNTED = ("run", "echo", "chunk", "inv", "flip")
"""Entities whose values are numbers: ``run-01`` is ``run-1``."""
ARGUMENTS = {"mag": "magnitude", "phase": "phase", "real": "real", "imag": "imaginary"}
PARTS = tuple(ARGUMENTS)
STRENGTH = "MagneticFieldStrength"
FROM_MAGNITUDE = ("EchoTime", STRENGTH)
"""Fields that a phase without its own takes from the JSON files of its magnitude."""


@dataclass(frozen=True)
class BidsFile:
    """A file with its entities."""

    path: Path
    entities: Mapping[str, str]
    suffix: str

    @classmethod
    def parse(cls, path: Path) -> BidsFile:
        """Take a name such as ``sub-01_echo-1_part-mag_MEGRE.nii.gz`` apart."""
        *pairs, suffix = path.name.split(".")[0].split("_")
        entities = dict(pair.split("-", 1) for pair in pairs if "-" in pair)
        for key in COUNTED:
            if entities.get(key, "").isdigit():
                entities[key] = str(int(entities[key]))
        return cls(path, entities, suffix)

    @property
    def part(self) -> str:
        """``mag``, ``phase``, ``real`` or ``imag``; an image without the entity is a magnitude."""
        return self.entities.get("part", "mag")

    @property
    def name(self) -> str:
        """What the file name says of the acquisition, as it is written."""
        *pairs, _ = self.path.name.split(".")[0].split("_")
        return "_".join(pair for pair in pairs if pair.split("-", 1)[0] not in ("echo", "part"))

    @property
    def echo(self) -> int:
        """Echo number, 1 where the name has none.

        Raises
        ------
        DataError
            If it is no number.
        """
        text = self.entities.get("echo", "1")
        if not text.isdigit():
            raise DataError(f"{self.path}: echo-{text} is no echo number; BIDS counts echoes from 1")
        return int(text)

    @property
    def acquisition(self) -> tuple[tuple[str, str], ...]:
        """What tells the acquisition from others: the entities other than echo and part."""
        return tuple(sorted((key, value) for key, value in self.entities.items() if key not in ("echo", "part")))


def load(location: str, options: Mapping[str, str], settings: LoadSettings) -> Case:
    """Read one acquisition of a BIDS data set.

    ``EchoTime`` (s) and ``MagneticFieldStrength`` (T) come from the JSON files, which higher folders may share by
    BIDS's inheritance.

    Parameters
    ----------
    location
        Root of the data set, the folder with the subjects.
    options
        See ``OPTIONS``.
    settings
        General settings.

    Raises
    ------
    DataError
        If images, mask or JSON fields are missing or inconsistent.
    ParameterError
        If the options do not determine one acquisition.
    """
    root = require_folder(location, "bids")
    method = choose_field(options, settings, ("fit", "difference"), "fit")
    parts = find_acquisition(root, options)
    first, second = parts.values()
    sidecars = [(file, _phase_metadata(root, file, other)) for other, file in zip(first, second, strict=True)]
    fields = {_number(file, metadata, STRENGTH) for file, metadata in sidecars}
    if len(fields) > 1:
        raise DataError(f"{second[0].path}: {STRENGTH} differs between its echoes: {sorted(fields)}")
    times = tuple(_number(file, metadata, "EchoTime") for file, metadata in sidecars)
    _require_same_times(root, first, second, times)
    _require_same_strength(root, first, second[0], *fields)
    try:
        check_echo_times(times)
    except DataError as error:
        raise DataError(f"{second[0].path}: EchoTime of its JSON files: {error}") from error
    in_rad = "phase" in parts and all(metadata.get("Units") == "rad" for _, metadata in sidecars)
    arguments: dict[str, Any] = {ARGUMENTS[part]: [file.path for file in files] for part, files in parts.items()}
    case = case_from_files(
        **(arguments | settings.echo_options(options)),
        mask=_mask(root, options, second[0]),
        truth=path_inside(root, options, "truth"),
        labels=path_inside(root, options, "labels"),
        b0_tesla=fields.pop(),
        echo_times_s=times,
        b0_direction=settings.b0_direction,
        phase_unit="rad" if in_rad and settings.phase_unit == "auto" else settings.phase_unit,
        field_estimate=method,
        accept_range=settings.accept_range,
        name=second[0].name,
    )
    case.sources["acquisition"] = f"JSON files of {second[0].path.parent}"
    return case


def find_acquisition(root: Path, options: Mapping[str, str]) -> dict[str, list[BidsFile]]:
    """Return magnitude and phase, or else real and imaginary part, of the selected acquisition in the order of echoes.

    Raises
    ------
    DataError
        If there is none, or echoes of one part are missing.
    ParameterError
        If a selector matches nothing, or several acquisitions remain.
    """
    for option in (*SELECTORS, "suffix"):
        if re.search(r"[/\\]|\.\.", options.get(option, "")):
            raise ParameterError(f"data set option {option}: '{options[option]}' is a path; give a value of file names")
    suffix = options.get("suffix", DEFAULT_SUFFIX)
    subject = options.get("subject", "").removeprefix("sub-")
    files = (find_images(root, suffix, subject) if subject else []) or find_images(root, suffix)
    if not files:
        raise DataError(
            f"{root}: no images sub-*/**/*_part-mag_{suffix}.nii.gz and *_part-phase_{suffix}.nii.gz (or part-real and "
            "part-imag); give the folder that holds the subjects, and ?suffix= if the images have another suffix"
        )
    for option, entity in SELECTORS.items():
        if option in options:
            wanted = options[option].removeprefix(f"{entity}-")
            wanted = str(int(wanted)) if entity in COUNTED and wanted.isdigit() else wanted
            known = sorted({file.entities.get(entity, "") for file in files} - {""})
            without = wanted == NONE and NONE not in known
            files = [file for file in files if file.entities.get(entity) == (None if without else wanted)]
            if not files:
                raise ParameterError(
                    f"data set option {option}: no {entity}-{wanted} with images *_{suffix} in {root}"
                    f"{did_you_mean(wanted, known)}{_other_suffixes(root, suffix, entity, wanted)}"
                )
    acquisitions = {file.acquisition for file in files}
    if len(acquisitions) > 1:
        raise ParameterError(f"{root}: holds {len(acquisitions)} acquisitions; choose one with {_choices(files)}")
    parts = {part: sorted((file for file in files if file.part == part), key=lambda file: file.echo) for part in PARTS}
    kinds = ("mag", "phase") if parts["phase"] or not parts["real"] else ("real", "imag")
    echoes = [[file.echo for file in parts[part]] for part in kinds]
    if echoes[0] != echoes[1] or len(set(echoes[0])) < len(echoes[0]):
        words = ("magnitude", "phase") if kinds[0] == "mag" else ("real part", "imaginary part")
        raise DataError(
            f"{files[0].path.parent}: {words[0]} of echoes {echoes[0]} but {words[1]} of echoes {echoes[1]}; both are "
            f"needed once for every echo (names with part-{kinds[0]} and part-{kinds[1]})"
        )
    return {part: parts[part] for part in kinds}


def _other_suffixes(root: Path, suffix: str, entity: str, wanted: str) -> str:
    """Say which suffixes phase images with an entity have, where they have others than the one looked for."""
    phases = (BidsFile.parse(path) for path in root.glob("sub-*/**/*_part-phase_*.nii*"))
    found = sorted({file.suffix for file in phases if file.entities.get(entity) == wanted} - {suffix})
    return f"; there are *_{', *_'.join(found)} of it (?suffix=)" if found else ""


def find_images(root: Path, suffix: str, subject: str | None = None) -> list[BidsFile]:
    """Return all magnitude, phase, real and imaginary images of a suffix, of one subject or of all."""
    folders = "*" if subject is None else escape(subject)
    paths = sorted(root.glob(f"sub-{folders}/**/*_{escape(suffix)}.nii*"))
    # Hidden ones are no images: macOS keeps ._NAME beside NAME on disks of other systems.
    files = [BidsFile.parse(path) for path in paths if IMAGE.search(path.name) and not path.name.startswith(".")]
    return [file for file in files if file.part in PARTS]


def _choices(files: Iterable[BidsFile]) -> str:
    """The options that tell acquisitions apart, with their values."""
    texts = []
    for option, entity in SELECTORS.items():
        values = sorted({file.entities.get(entity, "") for file in files})
        if len(values) > 1:
            texts.append(f"?{option}= ({', '.join(value or NONE for value in values)})")
    return " and ".join(texts) or "another folder: no option tells their names apart"


def read_metadata(root: Path, file: BidsFile) -> dict[str, Any]:
    """Collect the JSON fields that apply to an image; those of files nearer to it and more specific win.

    Raises
    ------
    DataError
        If a JSON file cannot be read.
    """
    metadata: dict[str, Any] = {}
    for path in find_sidecars(root, file):
        metadata |= read_json(path)
    return metadata


def find_sidecars(root: Path, file: BidsFile) -> list[Path]:
    """Return the JSON files that apply to an image, from the furthest and most general to the nearest."""
    folders = [folder for folder in (root, *reversed(file.path.parents)) if folder == root or root in folder.parents]
    found = []
    for folder in dict.fromkeys(folders):
        applicable = []
        for path in folder.glob(f"*_{file.suffix}.json"):
            candidate = BidsFile.parse(path)
            if candidate.suffix == file.suffix and candidate.entities.items() <= file.entities.items():
                applicable.append(candidate)
        alone = folder / f"{file.suffix}.json"  # which has no entities at all
        found += [alone] if alone.is_file() else []
        found += [candidate.path for candidate in sorted(applicable, key=lambda c: len(c.entities))]
    return found


def _phase_metadata(root: Path, phase: BidsFile, magnitude: BidsFile) -> dict[str, Any]:
    """Fields of a phase image; what it lacks of echo time and field strength its magnitude gives."""
    other = read_metadata(root, magnitude)
    return {name: other[name] for name in FROM_MAGNITUDE if name in other} | read_metadata(root, phase)


def _require_same_times(
    root: Path, magnitude: Iterable[BidsFile], phase: Iterable[BidsFile], times: Iterable[float]
) -> None:
    """Check that the magnitude was not taken at other echo times, as far as its JSON files say."""
    for first, second, time in zip(magnitude, phase, times, strict=True):
        metadata = read_metadata(root, first)
        if "EchoTime" in metadata and abs(_number(first, metadata, "EchoTime") - time) > 1e-6:
            raise DataError(
                f"{first.path}: EchoTime {metadata['EchoTime']} s differs from {time:g} s of {second.path}; magnitude "
                "and phase must be of the same echo"
            )


def _require_same_strength(root: Path, magnitude: Iterable[BidsFile], phase: BidsFile, b0_tesla: float) -> None:
    """Check that the magnitude was not taken at another field strength, as far as its JSON files say."""
    for file in magnitude:
        metadata = read_metadata(root, file)
        stored = _number(file, metadata, STRENGTH) if STRENGTH in metadata else b0_tesla
        if not same_strength(stored, b0_tesla):
            raise DataError(
                f"{file.path}: {STRENGTH} {stored:g} T differs from {b0_tesla:g} T of {phase.path}; both must be of "
                "the same scan"
            )


def _number(file: BidsFile, metadata: Mapping[str, Any], name: str) -> float:
    sidecar = sidecar_of(file.path)
    if name not in metadata:
        problem = f"has no {name}" if sidecar.exists() else f"no such file, and none higher up gives {name}"
        raise DataError(f"{sidecar}: {problem}; add it in {'seconds' if name == 'EchoTime' else 'tesla'}")
    return as_number(file.path, name, metadata[name])


def _mask(root: Path, options: Mapping[str, str], file: BidsFile) -> Path | None:
    if options.get("mask") == NONE:
        return None
    return path_inside(root, options, "mask") or find_mask(root, file, find_masks(root))


def find_masks(root: Path, without: Path | None = None) -> list[BidsFile]:
    """Return all masks of subjects under ``derivatives`` that this program did not write, and that are of no part.

    A mask with the entity ``label`` is that of a structure or a lesion; only ``label-brain`` and ``label-head`` count.
    So is one whose ``desc`` names a part, as ``desc-lesion``.

    Parameters
    ----------
    root
        The data set.
    without
        A folder whose masks do not count.
    """
    paths = [path for path in sorted(root.glob("derivatives/**/*_mask.nii*")) if IMAGE.search(path.name)]
    masks = [BidsFile.parse(path) for path in paths if without is None or without not in path.parents]
    return [
        mask
        for mask in masks
        if "sub" in mask.entities
        and mask.entities.get("desc") != OWN_MASK
        and mask.entities.get("label", WHOLE[0]).lower() in WHOLE
        and not PARTS_OF_IT.search(mask.entities.get("desc", ""))
    ]


def find_mask(root: Path, file: BidsFile, masks: Iterable[BidsFile]) -> Path | None:
    """Find the one of several masks that belongs to an image: on its grid, by most entities; None where none does.

    Only where all are on other grids one of these is returned, for the reader to refuse.

    Raises
    ------
    DataError
        If several do.
    """
    fitting = []
    for mask in masks:
        shared = {key: value for key, value in mask.entities.items() if key in SELECTORS.values()}
        same_session = mask.entities.get("ses") == file.entities.get("ses")
        if same_session and shared.items() <= file.entities.items():
            fitting.append((len(shared), mask.path))
    if len(fitting) > 1:  # of several spaces, or of another image of the session
        fitting = [one for one in fitting if same_grid(file.path, one[1])] or fitting
    found = [path for count, path in fitting if count == max(fitting)[0]]
    if len(found) > 1:
        raise DataError(
            f"{file.path}: one mask is needed, found {', '.join(map(str, found))}; give it with ?mask=PATH (relative "
            f"to {root})"
        )
    return found[0] if found else None
