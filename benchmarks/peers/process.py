"""Run a program and measure it: processor seconds of all its processes, seconds by the clock, peak memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from qsm_recon.backend.memory import GIB
from qsm_recon.errors import ResourceError
from qsm_recon.io import read_json

LAUNCHER = Path(__file__).with_name("launch.py")
THREAD_VARIABLES = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "RAYON_NUM_THREADS",
    "JULIA_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)  # fmt: skip
SAID = 200
"""Characters of a failing program's words that are shown."""


@dataclass(frozen=True)
class Usage:
    """What a program used.

    Parameters
    ----------
    cpu_s
        Processor seconds of it and all processes it started and waited for.
    wall_s
        Seconds by the clock.
    peak_gib
        Resident memory, at its peak, of the largest of these processes.
    sampled
        Whether seconds and memory were sampled by a container's runtime, which is coarser.
    """

    cpu_s: float
    wall_s: float
    peak_gib: float
    sampled: bool = False


def run_measured(
    command: Sequence[str], folder: Path, *, threads: int = 1, limit_s: float = 3600,
    environment: Mapping[str, str] | None = None, accepted: Collection[int] = (0,),
) -> Usage:  # fmt: skip
    """Run a program to its end.

    Parameters
    ----------
    command
        Program and arguments.
    folder
        It is started in; what it prints goes into ``log.txt`` there.
    threads
        It is told to use, by the usual environment variables.
    limit_s
        Seconds after which it is stopped.
    environment
        Further variables.
    accepted
        Exit codes that are no failure.

    Raises
    ------
    ResourceError
        If it cannot be started, fails, or takes too long; with what it said of it.
    KeyboardInterrupt
        After Ctrl-C; the program and what it started is stopped before.
    """
    variables = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(threads)), **(environment or {})}
    log = folder / "log.txt"
    with tempfile.TemporaryDirectory() as place, log.open("wb") as stream:
        usage = Path(place) / "usage.json"
        launched = [sys.executable, "-I", "-S", str(LAUNCHER), str(usage), *command]
        child = subprocess.Popen(
            launched, cwd=folder, env=variables, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
        try:
            code = child.wait(limit_s)
        except subprocess.TimeoutExpired:
            raise ResourceError(f"it was stopped after {limit_s:g} s") from None
        finally:
            _stop(child)
        if code not in accepted:
            raise ResourceError(f"it ended with exit code {code}: {_said(log)}")
        facts = read_json(usage)
    return Usage(facts["cpu_s"], facts["wall_s"], facts["peak_bytes"] / GIB)


def _stop(child: subprocess.Popen[bytes]) -> None:
    """End what is left of the program's processes."""
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def _said(log: Path) -> str:
    """What a program said of its failure: its first line with ``error:`` in it, else its last one."""
    lines = [line.strip() for line in log.read_text("utf-8", errors="replace").splitlines() if line.strip()]
    told = [line for line in lines if "error:" in line.lower()] or lines[-1:]
    return told[0][:SAID] if told else "it printed nothing"
