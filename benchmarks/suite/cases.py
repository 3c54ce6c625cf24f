"""Data sets of the suite: those of the package, and simulated heads in ``*.npz`` files."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import lru_cache
from math import prod
from pathlib import Path
from urllib.parse import parse_qsl

from benchmarks.heads import head_case
from qsm_recon.datasets.case import Case
from qsm_recon.datasets.registry import load_case, parse_specification
from qsm_recon.errors import DataError, ParameterError
from qsm_recon.phantom import PhantomParameters

PHANTOM = "phantom:"
HEAD = "head:"
FULL_HEAD_MM = (164, 205, 205)
HEAD_FIELDS = ("echoes", "true")
CASES_KEPT = 4
"""Data sets that stay in memory: those of the challenge's second stage, which every method asks for in turn."""


def load(specification: str, *, magnitude: bool = True) -> Case:
    """Load a data set; the last ones stay in memory.

    Parameters
    ----------
    specification
        As for ``qsm_recon.run --dataset``, or ``head:FILE.npz?field=echoes|true``.
    magnitude
        False leaves nothing but the field and the mask.

    Raises
    ------
    ParameterError
        If the specification is wrong.
    DataError
        If the data are missing or inconsistent.
    """
    case = _loaded(specification)
    if magnitude:
        return case
    names = ("magnitude", "weight", "field_noise_ppm", "reliability", "r2star_per_s", "echoes")
    bare = replace(case.problem, echo_times_s=case.problem.echo_times_s, **dict.fromkeys(names))  # type: ignore[arg-type]
    return replace(case, problem=bare)


@lru_cache(maxsize=CASES_KEPT)
def _loaded(specification: str) -> Case:
    if not specification.startswith(HEAD):
        return load_case(specification)
    path, field = _head(specification)
    return head_case(path, field)


def check(specification: str) -> None:
    """Refuse a data set that cannot be loaded, before any work is done.

    Raises
    ------
    ParameterError
        If the specification is wrong.
    DataError
        If its files are not there.
    """
    if specification.startswith(HEAD):
        _head(specification)
        return
    kind, location, _ = parse_specification(specification)
    if kind.name == "phantom":
        voxels(specification)
    elif not Path(location).exists():
        raise DataError(f"{location}: no such file or folder; expected {kind.location} of {kind.description}")


def full_specification(text: str) -> str:
    """What stands for ``text`` on a command line: a ``*.npz`` file is a head, everything else has its kind."""
    return f"{HEAD}{text}" if text.partition("?")[0].endswith(".npz") and not text.startswith(HEAD) else text


def portable(specification: str) -> str:
    """A specification without the folders of this machine."""
    if specification.startswith(PHANTOM):
        return specification
    kind, _, rest = specification.partition(":")
    location, mark, options = rest.partition("?")
    return f"{kind}:{Path(location).name or location}{mark}{options}"


def name_of(specification: str) -> str:
    """Short name of a data set, for tables."""
    return portable(specification).removeprefix(PHANTOM)


def data_digest(specification: str) -> str:
    """Checksum of the files of a data set; empty where it is generated.

    Raises
    ------
    DataError
        If they are not there.
    """
    if specification.startswith(PHANTOM):
        return ""
    check(specification)
    return _digest_of(str(Path(specification.partition(":")[2].partition("?")[0]).resolve()))


@lru_cache(maxsize=64)
def _digest_of(location: str) -> str:
    root = Path(location)
    digest = hashlib.sha256()
    for path in [root] if root.is_file() else sorted(path for path in root.rglob("*") if path.is_file()):
        digest.update(path.relative_to(root).as_posix().encode())
        with path.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def voxels(specification: str) -> int:
    """Number of voxels of a data set's grid."""
    if not specification.startswith(PHANTOM):
        return prod(load(specification).problem.grid.shape)
    _, location, options = parse_specification(specification)
    given = options.get("voxel_size")
    sizes = tuple(float(part) for part in given.split(",")) if given else None
    parameters = PhantomParameters(location, options.get("size", "full"), voxel_size_mm=sizes)  # type: ignore[arg-type]
    edges = parameters.output_voxel_mm
    return prod(round(extent / edge) for extent, edge in zip(FULL_HEAD_MM, edges, strict=True))


def _head(specification: str) -> tuple[Path, str]:
    location, _, query = specification.removeprefix(HEAD).partition("?")
    options = dict(parse_qsl(query))
    field = options.pop("field", "echoes")
    if options or field not in HEAD_FIELDS:
        raise ParameterError(f"data set '{specification}': expected {HEAD}FILE.npz or {HEAD}FILE.npz?field=true")
    path = Path(location)
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected a simulated head, *.npz")
    return path, field
