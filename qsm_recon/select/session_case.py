"""The data sets of a tuning session, and how they are told apart."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qsm_recon.errors import ParameterError
from qsm_recon.problem import Problem


@dataclass(frozen=True)
class SessionCase:
    """A data set of a session.

    Parameters
    ----------
    name
        Short name.
    arguments
        Options of the reconstruction command that give this data set.
    shape, voxel_size_mm, affine
        Geometry.
    fingerprint
        Checksum of the data.
    """

    name: str
    arguments: list[str]
    shape: list[int]
    voxel_size_mm: list[float]
    affine: list[list[float]]
    fingerprint: str

    @classmethod
    def of(cls, name: str, problem: Problem, affine: NDArray, arguments: list[str]) -> SessionCase:
        """Describe a problem."""
        return cls(
            name,
            list(arguments),
            list(problem.grid.shape),
            list(problem.grid.voxel_size_mm),
            np.asarray(affine, dtype=float).tolist(),
            fingerprint(problem),
        )


def require_different(cases: Sequence[SessionCase]) -> None:
    """Refuse data sets of equal content: the session could not tell whose a point is, and it would count twice.

    Raises
    ------
    ParameterError
        Naming both.
    """
    known: dict[str, SessionCase] = {}
    for case in cases:
        first = known.setdefault(case.fingerprint, case)
        if first is not case:
            raise ParameterError(
                f"data sets '{first.name}' ({' '.join(first.arguments)}) and '{case.name}' "
                f"({' '.join(case.arguments)}) hold the same data; give each once"
            )


def fingerprint(problem: Problem) -> str:
    """Checksum of all that a reconstruction depends on."""
    digest = hashlib.sha256()
    for name in (
        "field_ppm",
        "mask",
        "magnitude",
        "weight",
        "field_noise_ppm",
        "echoes",
        "r2star_per_s",
        "reliability",
    ):
        values = getattr(problem, name)
        if values is not None:
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(values).data.cast("B"))
    grid = problem.grid
    digest.update(repr((grid.shape, grid.voxel_size_mm, grid.b0_direction)).encode())
    digest.update(repr((problem.b0_tesla, problem.echo_times_s)).encode())
    digest.update(repr((problem.field_kind, problem.field_offset_ppm)).encode())
    return digest.hexdigest()
