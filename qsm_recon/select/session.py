"""Tuning sessions: a folder with every reconstruction of a sweep, which outlives the process that writes it.

The folder holds ``session.json``, the index, and ``points``, one file per reconstruction.  A point's file is complete
before the index names it, and both are moved into place in one step; so whenever the process dies, what the index
names is there.  Every file's checksum is in the index, and that of the index as well.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Collection
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path as FilePath
from typing import Any, TypeVar
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from qsm_recon.errors import DataError, ParameterError
from qsm_recon.io import atomic_write, plain, read_json, write_json
from qsm_recon.problem import Problem
from qsm_recon.select.choosers import choose, choose_all
from qsm_recon.select.curve import Curve, curve_of_points
from qsm_recon.select.path import PathPoint
from qsm_recon.select.pick import Pick
from qsm_recon.select.risk import SpectralMisfit
from qsm_recon.select.session_case import SessionCase, fingerprint, require_different
from qsm_recon.solvers.base import Solver
from qsm_recon.unfinished import clear_abandoned
from qsm_recon.version import __version__

logger = logging.getLogger(__name__)

Kind = TypeVar("Kind", bound="Session")

FORMAT = 2
INDEX = "session.json"
POINTS = "points"


@dataclass(frozen=True)
class StoredPoint:
    """A reconstruction in the index; :class:`qsm_recon.select.path.PathPoint` without its images.

    Parameters
    ----------
    case
        Index of the data set.
    file, sha256
        Its file in the folder, and that file's checksum.
    metrics
        Against the truth, where there is one.
    """

    case: int
    value: float
    file: str
    sha256: str
    data_cost: float
    regularisation_cost: float
    noise_cost: float | None
    band_means: list[float]
    influence: float | None
    step_from: float | None
    step: float | None
    iterations: int
    settled: bool
    stop_reason: str
    seconds: float
    metrics: dict[str, float | None] = field(default_factory=dict)
    noise_measured: bool = True
    spectral: SpectralMisfit | None = None

    def __post_init__(self) -> None:
        """Restore what an index holds as plain values."""
        if isinstance(self.spectral, dict):
            object.__setattr__(self, "spectral", SpectralMisfit(**self.spectral))


class Session:
    """A sweep of one parameter of one method over one or several data sets.

    Make one with :meth:`open`.
    """

    def __init__(
        self, folder: FilePath, header: dict[str, Any], cases: list[SessionCase], points: list[StoredPoint]
    ) -> None:
        self.folder = folder
        self.header = header
        self.cases = cases
        self.points = points

    @classmethod
    def open(
        cls: type[Kind],
        folder: str | FilePath,
        solver: Solver | None = None,
        parameter: str | None = None,
        cases: list[SessionCase] | None = None,
    ) -> Kind:
        """Open a session, or begin one where the folder holds none.

        Parameters
        ----------
        folder
            Where it is.
        solver, parameter, cases
            What is swept over which data; only needed to begin or to go on, not to look.  Data sets may be added to
            those that the session has, in any order, but none of these may be missing.

        Raises
        ------
        DataError
            If there is no session and nothing to begin one with, or its index is unreadable.
        ParameterError
            If the folder holds a session of something else, or two data sets have the same name.
        """
        folder = FilePath(folder)
        names = [case.name for case in cases or []]
        if len(set(names)) < len(names):
            raise ParameterError(f"data sets of a session need different names, found {', '.join(names)}")
        require_different(cases or [])
        if not (folder / INDEX).exists():
            if solver is None or not cases:
                raise DataError(f"{folder}: no tuning session there ({INDEX} is missing)")
            session = cls(folder, _header(solver, parameter or solver.main_parameter().name), list(cases), [])
            session._write()
            return session
        session = cls._read(folder)
        if solver is not None:
            session._require_same(_header(solver, parameter or solver.main_parameter().name))
        if cases:
            session._include(cases)
        return session

    @classmethod
    def _read(cls: type[Kind], folder: FilePath) -> Kind:
        path = folder / INDEX
        content = read_json(path)
        if content.get("format") != FORMAT:
            raise DataError(
                f"{path}: written in format {content.get('format')}, expected {FORMAT}; begin anew elsewhere"
            )
        if content.pop("sha256", None) != _checksum_of(content):
            raise DataError(
                f"{path}: damaged, or altered by hand; begin anew elsewhere, or delete it (the maps in "
                f"{folder / 'points'} stay)"
            )
        try:
            cases = [SessionCase(**case) for case in content["cases"]]
            points = [StoredPoint(**point) for point in content["points"]]
            for point in points:
                if FilePath(point.file).parts != (POINTS, FilePath(point.file).name):
                    raise DataError(f"{path}: names a file outside the session ({point.file}); begin anew elsewhere")
            header = {name: content[name] for name in ("format", "algorithm", "parameters", "parameter", "version")}
        except (KeyError, TypeError) as error:
            raise DataError(f"{path}: not an index of a tuning session ({error}); delete it to begin anew") from error
        session = cls(folder, header, cases, points)
        session._drop_damaged()
        return session

    @property
    def parameter(self) -> str:
        """Name of the parameter that is swept."""
        return str(self.header["parameter"])

    @property
    def algorithm(self) -> str:
        """Name of the method."""
        return str(self.header["algorithm"])

    def solver(self, value: float) -> Solver:
        """Return the method with a value of the swept parameter."""
        from qsm_recon.solvers.registry import make_solver

        return make_solver(self.algorithm, **{**self.header["parameters"], self.parameter: value})

    def of_case(self, case: int) -> list[StoredPoint]:
        """Points of a data set, weakest regularisation first."""
        return sorted((point for point in self.points if point.case == case), key=lambda point: point.value)

    def missing(self, case: int, values: list[float]) -> list[float]:
        """Those of some values that a data set has no point for yet."""
        known = [point.value for point in self.of_case(case)]
        return [value for value in values if not any(np.isclose(value, other, rtol=1e-6, atol=0) for other in known)]

    def add(self, case: int, point: PathPoint, metrics: dict[str, float | None] | None = None) -> StoredPoint:
        """Store a point; it is safe on disk when this returns."""
        name = f"{POINTS}/{case}-{point.value:.6e}.npz"
        path = atomic_write(
            self.folder / name,
            lambda temporary: np.savez(
                temporary, susceptibility_ppm=point.susceptibility_ppm[point.mask], mask=np.packbits(point.mask)
            ),
        )
        known = {item.name for item in fields(StoredPoint)}
        facts = {name: value for name, value in vars(point).items() if name in known}
        facts["band_means"] = list(point.band_means)
        stored = StoredPoint(case=case, file=name, sha256=_checksum(path), metrics=metrics or {}, **facts)
        self.points = [p for p in self.points if not (p.case == case and p.value == stored.value)] + [stored]
        self._write()
        return stored

    def susceptibility_ppm(self, point: StoredPoint) -> NDArray[np.float32]:
        """Map of a point, (nx, ny, nz), zero outside its mask.

        Raises
        ------
        DataError
            If its file is damaged.
        """
        path, shape = self.folder / point.file, tuple(self.cases[point.case].shape)
        try:
            with np.load(path, allow_pickle=False) as stored:
                mask = np.unpackbits(stored["mask"], count=int(np.prod(shape))).astype(bool).reshape(shape)
                image = np.zeros(shape, np.float32)
                image[mask] = stored["susceptibility_ppm"]
        except (OSError, ValueError, KeyError, BadZipFile) as error:
            raise DataError(f"{path}: damaged ({error}); run the session again to recompute it") from error
        return image

    def curve(self, case: int | None = None, among: Collection[float] | None = None) -> Curve:
        """Costs along the parameter: of one data set, or of all together, whose costs add up.

        Parameters
        ----------
        case
            Index of the data set; None for all.
        among
            Values to keep to; None for all that there are.

        Raises
        ------
        DataError
            If there are no points, or none that all data sets have.
        """
        chosen = range(len(self.cases)) if case is None else [case]
        by_case = [{point.value: point for point in self.of_case(k)} for k in chosen]
        values = sorted(set.intersection(*(set(points) for points in by_case)))
        if among is not None:
            values = [value for value in values if np.isclose(value, list(among), rtol=1e-6, atol=0).any()]
        if not values:
            raise DataError(f"{self.folder}: no point that all data sets have; run the session to its end")
        return curve_of_points([[points[value] for points in by_case] for value in values])

    def picks(self, case: int | None = None) -> list[Pick]:
        """What every rule picks; see :meth:`curve`."""
        return choose_all(self.curve(case))

    def pick(self, method: str = "auto", case: int | None = None) -> Pick:
        """What one rule picks; see :meth:`curve`."""
        return choose(self.curve(case), method)

    def _require_same(self, header: dict[str, Any]) -> None:
        for name in ("algorithm", "parameter", "parameters"):
            if header[name] != self.header[name]:
                raise ParameterError(
                    f"{self.folder}: holds a session with {name} {_difference(self.header[name], header[name])}; "
                    "choose another folder or the same settings"
                )

    def _include(self, cases: list[SessionCase]) -> None:
        """Check that data sets are those of the session, and add further ones."""
        given = {case.name: case for case in cases}
        # Points of one data set more would share their values, but not their pick, with what is there.
        missing = [known.name for known in self.cases if known.name not in given]
        if missing:
            raise ParameterError(
                f"{self.folder}: holds a session of '{', '.join(known.name for known in self.cases)}' (asked: "
                f"'{', '.join(given)}'); give '{', '.join(missing)}' as well (--also) or choose another folder"
            )
        for known in self.cases:
            if known.fingerprint != given.pop(known.name).fingerprint:
                raise ParameterError(
                    f"{self.folder}: the data of '{known.name}' differ from those it was begun with; "
                    "choose another folder"
                )
        if given:
            self.cases += given.values()
            self._write()

    def index_of(self, problem: Problem) -> int:
        """Index of the data set that a problem is.

        Raises
        ------
        ParameterError
            If the session has no such data set.
        """
        checksum = fingerprint(problem)
        for index, case in enumerate(self.cases):
            if case.fingerprint == checksum:
                return index
        raise ParameterError(
            f"{self.folder}: these data are not among those of the session "
            f"({', '.join(case.name for case in self.cases)}); open it with them"
        )

    def _drop_damaged(self) -> None:
        """Forget points whose file is missing or altered, and clear what a killed process left behind."""
        for folder in (self.folder, self.folder / POINTS):  # which may hold other people's hidden files
            clear_abandoned(folder)
        intact = []
        for point in self.points:
            path = self.folder / point.file
            if path.is_file() and _checksum(path) == point.sha256:
                intact.append(point)
            else:
                logger.warning("%s: %s; it will be recomputed", path, "damaged" if path.exists() else "missing")
        self.points = intact

    def _write(self) -> None:
        content = {**self.header, "cases": [asdict(c) for c in self.cases], "points": [asdict(p) for p in self.points]}
        write_json(self.folder / INDEX, {**content, "sha256": _checksum_of(content)})


def _header(solver: Solver, parameter: str) -> dict[str, Any]:
    others = {name: value for name, value in solver.parameters().items() if name != parameter}
    return {
        "format": FORMAT,
        "version": __version__,
        "algorithm": solver.name,
        "parameter": parameter,
        "parameters": others,
    }


def _difference(known: Any, asked: Any) -> str:
    if isinstance(known, dict) and isinstance(asked, dict):
        names = sorted(name for name in {*known, *asked} if known.get(name) != asked.get(name))
        return ", ".join(f"{name}={known.get(name)} (asked: {asked.get(name)})" for name in names)
    return f"{known} (asked: {asked})"


def _checksum_of(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(plain(content), sort_keys=True).encode()).hexdigest()


def _checksum(path: FilePath) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
