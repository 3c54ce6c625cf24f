"""What a program on this machine is to the comparison, and the kinds that there are."""

from __future__ import annotations

import os
import shlex
import shutil
import string
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from numpy.typing import NDArray

from benchmarks.peers.exchange import OUTPUT, Exchange
from benchmarks.peers.process import Usage, run_measured
from qsm_recon.errors import ParameterError, did_you_mean
from qsm_recon.io import read_json
from qsm_recon.solvers.registry import find_solver

ROOT = Path(__file__).resolve().parents[2]
EXIT_DONE, EXIT_LOOK = 0, 3
UNITS = ("ppm", "ppb", "hz", "rad")
NUMBERS = {
    "te": "echo time, s", "te_ms": "echo time, ms", "b0": "field strength, T",
    "b0_direction": "direction of the main field in voxel axes, three words", "voxel_size": "mm, three words",
    "threads": "how many to use",
}  # fmt: skip
FILES = {
    **{f"field_{unit}": f"local field in {unit}" for unit in UNITS}, "mask": "mask, 0 and 1",
    "magnitude": "magnitude, its maximum 1", "params": "params.json of the QSM-CI contract",
}  # fmt: skip
OUTPUTS = {f"output_{unit}": f"where the map goes, in {unit}" for unit in UNITS}
PLACEHOLDERS = {
    "field": "local field in ppm", "output": "where the map goes, in ppm", "folder": "an empty folder",
    **FILES, **OUTPUTS, **NUMBERS,
}  # fmt: skip
WIDE = ("b0_direction", "voxel_size")
"""Placeholders that stand for several words."""


@dataclass(frozen=True)
class Limits:
    """What a program may use.

    Parameters
    ----------
    threads
        It is told to use.
    seconds
        By the clock, after which it is stopped.
    """

    threads: int = 1
    seconds: float = 3600


@dataclass(frozen=True)
class Given:
    """What a program gave back: a map in ppm, what it used, and a remark on the file."""

    susceptibility_ppm: NDArray
    usage: Usage
    remark: str = ""


class Peer(ABC):
    """A program that makes a susceptibility map of a local field.

    Parameters
    ----------
    label
        Its name in tables.
    options
        What it was told besides the data, for tables.
    """

    label: str
    options: Mapping[str, str]

    @abstractmethod
    def missing(self) -> str:
        """Why it cannot be run on this machine, in one line; empty where it can."""

    @abstractmethod
    def run(self, files: Exchange, limits: Limits) -> Given:
        """Run it once.

        Raises
        ------
        DataError
            If the case lacks what it needs, or what it gave back is no map of the case.
        ResourceError
            If it fails.
        """


@dataclass(frozen=True)
class Executable(Peer):
    """Any program that reads and writes NIfTI files.

    Parameters
    ----------
    label
        Its name in tables.
    template
        Its command, with placeholders of ``PLACEHOLDERS`` in braces.
    options
        For tables.

    Raises
    ------
    ParameterError
        If a placeholder is unknown, the command has no place for the map, or two.
    """

    label: str
    template: str
    options: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the template."""
        names = self._names()
        for name in names:
            if name not in PLACEHOLDERS:
                raise ParameterError(
                    f"'{self.template}': placeholder {{{name}}} is unknown{did_you_mean(name, PLACEHOLDERS)}"
                )
        if len({name for name in names if name.startswith("output")}) != 1:
            raise ParameterError(f"'{self.template}': expected one place for the map, {{output}} or {{output_UNIT}}")

    def program_name(self) -> str:
        """Name of the program, without its folder."""
        return Path(self._words()[0]).name

    def missing(self) -> str:
        """Whether the program is there."""
        program = self._words()[0]
        return "" if shutil.which(program) else f"'{program}' is not there, or not to be run"

    def run(self, files: Exchange, limits: Limits) -> Given:
        """Run the command in an empty folder."""
        out = files.clean()
        words = [_found(word) for word in self._words()]  # it is started elsewhere
        command = [part for word in words for part in self._filled(word, files, out, limits)]
        usage = run_measured(command, out, threads=limits.threads, limit_s=limits.seconds)
        unit = next(name for name in self._names() if name.startswith("output")).partition("_")[2] or "ppm"
        chi, remark = files.read(out / OUTPUT, unit)
        return Given(chi, usage, remark)

    def _words(self) -> list[str]:
        try:
            words = shlex.split(self.template)
        except ValueError as error:
            raise ParameterError(f"'{self.template}': {error}") from error
        if not words:
            raise ParameterError(
                "the command of a program is empty; expected e.g. 'exec:my-qsm {field} {mask} {output}'"
            )
        return words

    def _names(self) -> list[str]:
        try:
            return [
                name for word in self._words() for _, name, _, _ in string.Formatter().parse(word) if name is not None
            ]
        except ValueError as error:
            raise ParameterError(f"'{self.template}': {error}; write {{{{ and }}}} for braces themselves") from error

    def _filled(self, word: str, files: Exchange, out: Path, limits: Limits) -> list[str]:
        """A word of the template with its values; one that is nothing but a wide placeholder becomes several."""
        if word.strip("{}") in WIDE:
            return self._value(word.strip("{}"), files, out, limits).split()
        asked = {name for _, name, _, _ in string.Formatter().parse(word) if name is not None}
        return [word.format(**{name: self._value(name, files, out, limits) for name in asked})]

    def _value(self, name: str, files: Exchange, out: Path, limits: Limits) -> str:
        if name.startswith("field"):
            return str(files.field(name.partition("_")[2] or "ppm"))
        if name.startswith("output"):
            return str(out / OUTPUT)
        if name in ("te", "te_ms"):
            return f"{files.echo_time_s * (1e3 if name == 'te_ms' else 1):.9g}"
        simple = {
            "mask": files.mask, "magnitude": files.magnitude, "params": files.parameters,
            "folder": lambda: out, "threads": lambda: limits.threads, "b0": lambda: f"{files.b0_tesla:.9g}",
            "b0_direction": lambda: _listed(files.b0_direction),
            "voxel_size": lambda: _listed(files.problem.grid.voxel_size_mm),
        }  # fmt: skip
        return str(simple[name]())


@dataclass(frozen=True)
class Ours(Peer):
    """Our own command, as a program like any other, with everything that takes time.

    Parameters
    ----------
    label
        For tables.
    method
        Name of the solver.
    options
        Its parameters, and ``select``, the rule that chooses the weight.
    """

    label: str
    method: str
    options: Mapping[str, str] = field(default_factory=dict)

    def missing(self) -> str:
        """Whether the libraries that the method needs are there."""
        solver = find_solver(self.method)
        if missing := solver.missing():
            return f"it needs {' and '.join(missing)}; pip install 'qsm_recon[{solver.extra}]'"
        return ""

    def run(self, files: Exchange, limits: Limits) -> Given:
        """Run ``python -m qsm_recon.run``; a map that did not converge is scored, and says so."""
        out = files.clean()
        problem = files.problem
        words = ["--field", str(files.field("ppm")), "--field-unit", "ppm", "--mask", str(files.mask())]
        words += [] if problem.magnitude is None else ["--magnitude", str(files.magnitude())]
        words += [] if problem.b0_tesla is None else ["--b0", f"{problem.b0_tesla:.9g}"]
        words += ["--te", f"{files.echo_time_s:.9g}"] if problem.echo_times_s else []
        words += ["--b0-direction", *_listed(files.b0_direction).split(), "--threads", str(limits.threads)]
        for name, value in self.options.items():
            words += ["--select", value] if name == "select" else ["--set", f"{name}={value}"]
        command = [sys.executable, "-m", "qsm_recon.run", "--algo", self.method, *words, "--out", str(out), "--quiet"]
        where = {"PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))}
        usage = run_measured(
            command, out, threads=limits.threads, limit_s=limits.seconds, environment=where,
            accepted=(EXIT_DONE, EXIT_LOOK),
        )  # fmt: skip
        chi, remark = files.read(out / "chi.nii.gz")
        converged = read_json(out / "report.json")["result"]["converged"]
        return Given(chi, usage, "; ".join(filter(None, [remark, "" if converged else "it did not converge"])))


def _found(word: str) -> str:
    """A word of a command; where it names a file that is there, with its whole path."""
    path = Path(word).expanduser()
    return str(path.resolve()) if path.is_file() else word


def _listed(values: Sequence[float]) -> str:
    return " ".join(f"{value:.9g}" for value in values)
