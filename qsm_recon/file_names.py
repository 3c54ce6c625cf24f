"""Names of image files without their endings, and of the JSON files beside them."""

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
