"""Which acquisitions a BIDS data set holds, and how each is named to the reconstruction."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlencode

from qsm_recon.datasets.bids import (
    DEFAULT_SUFFIX,
    NONE,
    SELECTORS,
    BidsFile,
    find_images,
    find_mask,
    find_masks,
    find_sidecars,
)
from qsm_recon.errors import DataError, ParameterError, did_you_mean

PLACEHOLDERS = ("subject", "session", "acquisition", "run", "name")


@dataclass(frozen=True)
class Acquisition:
    """One multi-echo acquisition: all echoes and parts of it.

    Parameters
    ----------
    name
        What its files' names share, such as ``sub-01_ses-1_run-2``.
    entities
        Entity to value.
    images
        Paths relative to the data set, with forward slashes.
    mask
        Path of its mask relative to the data set (or absolute); None where one is to be made.
    options
        What selects it among the acquisitions of the data set, see ``qsm_recon.datasets.bids``.
    refusal
        Why it cannot be reconstructed, where that is known already.
    """

    name: str
    entities: Mapping[str, str]
    images: tuple[str, ...]
    mask: str | None
    options: Mapping[str, str]
    refusal: str | None = None

    @property
    def folder(self) -> Path:
        """Its folder in a data set: of the subject, and of the session where there are several."""
        folder = Path(f"sub-{self.entities['sub']}")
        return folder / f"ses-{self.entities['ses']}" if "ses" in self.entities else folder

    def specification(self, root: Path) -> str:
        """The acquisition as ``--dataset`` takes it."""
        options = {**self.options, "mask": NONE if self.mask is None else self.mask}
        return f"bids:{root}?{urlencode(options, quote_via=quote, safe='/')}"

    def inputs(self, root: Path) -> list[str]:
        """All files that the result depends on, relative to the data set: images, their JSON files, the mask."""
        images = [root / image for image in self.images]
        sidecars = {path for image in images for path in find_sidecars(root, BidsFile.parse(image))}
        masks = [] if self.mask is None else [root / self.mask]
        return sorted(_relative(root, path) for path in (*images, *sidecars, *masks))


def find_acquisitions(
    root: Path,
    *,
    suffix: str = DEFAULT_SUFFIX,
    participants: Sequence[str] = (),
    sessions: Sequence[str] = (),
    mask: str | None = None,
    without: Path | None = None,
) -> list[Acquisition]:
    """Find the acquisitions of a data set.

    Parameters
    ----------
    root
        The data set.
    suffix
        Suffix of the images.
    participants, sessions
        Labels to keep, with or without ``sub-`` and ``ses-``; all where empty.
    mask
        Where the masks are: a path relative to the data set, in which ``{subject}``, ``{session}``, ``{acquisition}``,
        ``{run}`` and ``{name}`` stand for those of the acquisition, and ``*`` for anything; ``none`` to have them
        made; None takes the ``*_mask`` under ``derivatives``.
    without
        A folder whose masks do not count.

    Returns
    -------
    list
        In the order of subjects, sessions and names.

    Raises
    ------
    DataError
        If there is none.
    ParameterError
        If a label is not there, or the pattern is malformed.
    """
    files = [file for file in find_images(root, suffix) if "sub" in file.entities]
    if not files:
        raise DataError(
            f"{root}: no images sub-*/**/*_part-mag_{suffix}.nii.gz and *_part-phase_{suffix}.nii.gz; give the folder "
            "that holds the subjects, and --suffix if the images have another suffix"
        )
    files = _keep(files, "sub", participants, "--participant-label", root)
    files = _keep(files, "ses", sessions, "--session-label", root)
    _check_pattern(mask)
    masks = find_masks(root, without) if mask is None else []
    groups: dict[tuple[tuple[str, str], ...], list[BidsFile]] = defaultdict(list)
    for file in files:
        groups[file.acquisition].append(file)
    subjects: dict[str, list[BidsFile]] = defaultdict(list)
    for group in groups.values():
        subjects[group[0].entities["sub"]].append(group[0])
    masks_of: dict[str, list[BidsFile]] = defaultdict(list)
    for found in masks:
        masks_of[found.entities["sub"]].append(found)
    acquisitions = []
    for group in groups.values():
        first = group[0]
        subject = first.entities["sub"]
        place, refusal = _mask_of(root, first, mask, masks_of[subject])
        options = _options(first, subjects[subject]) | ({} if suffix == DEFAULT_SUFFIX else {"suffix": suffix})
        images = tuple(_relative(root, file.path) for file in group)
        acquisitions.append(Acquisition(first.name, dict(first.entities), images, place, options, refusal))
    return sorted(acquisitions, key=lambda one: (one.entities["sub"], one.entities.get("ses", ""), one.name))


def subjects_without(root: Path, suffix: str, participants: Sequence[str] = ()) -> list[str]:
    """Return the subjects of a data set that have no images of a suffix, as their folders are named, in order.

    Parameters
    ----------
    root
        The data set.
    suffix
        Suffix of the images.
    participants
        Labels that were asked for; where there are any, no other subject is missed.
    """
    asked = {label.removeprefix("sub-") for label in participants}
    having = {file.entities.get("sub") for file in find_images(root, suffix)}
    folders = sorted(path.name for path in root.glob("sub-*") if path.is_dir())
    labels = [name.removeprefix("sub-") for name in folders]
    return [f"sub-{label}" for label in labels if label not in having and (not asked or label in asked)]


def _keep(files: list[BidsFile], entity: str, labels: Sequence[str], option: str, root: Path) -> list[BidsFile]:
    """Files with one of several labels."""
    if not labels:
        return files
    wanted = {label.removeprefix(f"{entity}-") for label in labels}
    known = {file.entities[entity] for file in files if entity in file.entities}
    for label in sorted(wanted - known):
        there = did_you_mean(label, known) if known else f"; none of those chosen has {entity}- in its name"
        raise ParameterError(f"{option}: no images of {entity}-{label} in {root}{there}")
    return [file for file in files if file.entities.get(entity) in wanted]


def _options(file: BidsFile, others: Iterable[BidsFile]) -> dict[str, str]:
    """What selects an acquisition: its subject, and every entity that it or another of the subject has."""
    there = {entity for other in others for entity in other.entities}
    return {
        option: file.entities.get(entity, NONE) for option, entity in SELECTORS.items() if entity in there
    }  # the subject is always there


def _check_pattern(pattern: str | None) -> None:
    try:
        (pattern or "").format(**dict.fromkeys(PLACEHOLDERS, "x"))
    except (KeyError, IndexError, ValueError) as error:
        names = ", ".join(f"{{{name}}}" for name in PLACEHOLDERS)
        raise ParameterError(f"--mask {pattern}: what stands in braces must be one of {names}") from error


def _mask_of(
    root: Path, file: BidsFile, pattern: str | None, masks: Iterable[BidsFile]
) -> tuple[str | None, str | None]:
    """The mask of an acquisition, and why there is none where that is a fault."""
    if pattern == NONE:
        return None, None
    if pattern is None:
        try:
            found = find_mask(root, file, masks)
        except DataError as error:
            return None, str(error).replace("?mask=PATH", "--mask PATTERN")
        return None if found is None else _relative(root, found), None
    written = dict(pair.split("-", 1) for pair in file.name.split("_") if "-" in pair)  # run-01, which equals run-1
    values = {name: written.get(SELECTORS.get(name, ""), "") for name in PLACEHOLDERS} | {"name": file.name}
    place = Path(pattern.format(**values))
    base, parts = (Path(place.anchor), place.parts[1:]) if place.is_absolute() else (root, place.parts)
    paths = sorted(base.glob(str(Path(*parts)))) if parts else []
    if len(paths) == 1:
        return _relative(root, paths[0]), None
    what = f"found {', '.join(map(str, paths))}" if paths else "there is no such file"
    return None, f"{base / place}: one mask is needed (--mask {pattern}), {what}"


def _relative(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix() if root in path.parents else path.as_posix()
