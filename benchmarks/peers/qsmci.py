"""A submission to QSM-CI, run by QSM-CI's own command: in its container, or its ``run.sh`` on this machine."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.peers.exchange import OUTPUT, Exchange
from benchmarks.peers.peer import Given, Limits, Peer
from benchmarks.peers.process import Usage, run_measured
from qsm_recon.backend.memory import GIB
from qsm_recon.errors import ParameterError, did_you_mean

RUNNERS = ("docker", "podman", "apptainer", "local")
ENGINES = ("docker", "podman")
"""Runners whose containers are no children of the command: their use is sampled by QSM-CI."""


@dataclass(frozen=True)
class QsmCi(Peer):
    """A submission of the dipole stage.

    Parameters
    ----------
    label
        Its name in tables.
    submission
        A folder with ``algorithm.yml``, or the name of a published method, which QSM-CI downloads.
    runner
        ``docker``, ``podman``, ``apptainer`` or ``local``.
    options
        Its parameters.

    Raises
    ------
    ParameterError
        If the runner is unknown.
    """

    label: str
    submission: str
    runner: str = "docker"
    options: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the runner."""
        if self.runner not in RUNNERS:
            raise ParameterError(f"runner '{self.runner}' is unknown{did_you_mean(self.runner, RUNNERS)}")

    def missing(self) -> str:
        """Whether QSM-CI, what runs the submission, and the submission itself are there."""
        if _program() is None:
            return "'qsm-ci' is not installed (pip install qsm-ci)"
        if self.runner != "local" and shutil.which(self.runner) is None:
            return f"'{self.runner}' is not installed; runner=local runs the submission without a container"
        if self.runner in ENGINES:
            asked = subprocess.run([self.runner, "info"], capture_output=True, check=False)
            if asked.returncode != 0:
                return f"'{self.runner} info' fails: it is installed, but does not run containers here"
        return self._missing_submission()

    def _missing_submission(self) -> str:
        """Why there is no such submission; one that is no folder here QSM-CI is asked for, which downloads it."""
        place = self._place()
        if place.is_dir():
            return "" if (place / "algorithm.yml").is_file() else f"no algorithm.yml in {place}"
        if place.is_absolute() or self.submission.startswith("."):
            return f"there is no folder {place}"
        asked = subprocess.run(
            [str(_program()), "run", self.submission],
            capture_output=True,
            check=False,
            encoding="utf-8",
            errors="replace",
        )
        if asked.returncode == 0:
            return ""
        said = (asked.stdout + asked.stderr).strip().partition("\n\n")[0].splitlines()
        return "; ".join(line.strip(" ✗!↓.") for line in said) or f"QSM-CI knows no '{self.submission}'"

    def _place(self) -> Path:
        """Where the submission is, if it is a folder."""
        return Path(self.submission).expanduser()

    def run(self, files: Exchange, limits: Limits) -> Given:
        """Run the submission on the local field."""
        out = files.clean()
        place = self._place()
        submission = str(place.resolve()) if place.is_dir() else self.submission
        command = [
            str(_program()), "run", submission, "--runner", self.runner, "--localfield", str(files.field("ppm")),
            "--mask", str(files.mask()), "--params", str(files.parameters()), "-o", str(out / OUTPUT),
        ]  # fmt: skip
        if _reads_magnitude(place):
            command += ["--magnitude", str(files.magnitude())]
        for name, value in self.options.items():
            command += ["--set", f"{name}={value}"]
        trace = out / "resources.json"
        usage = run_measured(
            command, out, threads=limits.threads, limit_s=limits.seconds,
            environment={"QSMCI_RESOURCES_OUT": str(trace)},
        )  # fmt: skip
        if self.runner in ENGINES:
            usage = _sampled(trace, usage)
        chi, remark = files.read(out / OUTPUT)
        return Given(chi, usage, remark)


def _program() -> str | None:
    """QSM-CI's command: beside this Python, or on the path."""
    beside = Path(sys.executable).with_name("qsm-ci")
    return str(beside) if beside.is_file() else shutil.which("qsm-ci")


def _reads_magnitude(folder: Path) -> bool:
    """Whether a submission declares that it reads the magnitude; one that does not refuses it."""
    manifest = folder / "algorithm.yml"
    if not manifest.is_file():
        return False
    declared = [line.split("#")[0] for line in manifest.read_text("utf-8").splitlines()]
    listed = "\n".join(declared).partition("inputs:")[2]
    return "magnitude" in listed.split("parameters:")[0]


def _sampled(trace: Path, whole: Usage) -> Usage:
    """Use of a container, from the samples that QSM-CI took of it once a second."""
    try:
        found = json.loads(trace.read_text("utf-8"))
        seconds = float(found["cpu_cores_avg"]) * whole.wall_s
        return Usage(seconds, whole.wall_s, float(found["mem_peak_bytes"]) / GIB, sampled=True)
    except (OSError, ValueError, KeyError, TypeError):
        return Usage(float("nan"), whole.wall_s, float("nan"), sampled=True)
