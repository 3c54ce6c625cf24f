"""Names of image files without their endings, of the JSON files beside them, and of files that are not there."""

from __future__ import annotations

import re
from pathlib import Path

IMAGE_ENDING = re.compile(r"(\.(nii|img|hdr|mgh)(\.gz)?|\.mgz)$", re.IGNORECASE)
"""What names of images that can be read end in: NIfTI, one file or a pair, Analyze and FreeSurfer's."""


def plain_name(path: Path) -> str:
    """Name of an image file without its ending, whatever its format."""
    return IMAGE_ENDING.sub("", path.name)


def sidecar_of(path: Path) -> Path:
    """The JSON file of an image's name beside it, which need not be there."""
    return path.with_name(f"{plain_name(path)}.json")


def why_absent(path: Path) -> str:
    """Why a file that is named cannot be opened, in words; empty where there is one."""
    try:
        there = path.exists()
    except OSError as error:  # in a folder of another user, or a name that is too long
        return f"cannot be read ({error.strerror})"
    if there:
        return ""
    link = ", but a link to one; in a data set of git-annex get it first (datalad get)" if path.is_symlink() else ""
    return f"no such file{link}"
