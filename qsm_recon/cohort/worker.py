"""One acquisition, from its files to its place among the results: what a worker does."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from glob import escape
from pathlib import Path
from typing import Any

from qsm_recon.backend.device import CPU
from qsm_recon.cohort.acquisitions import Acquisition
from qsm_recon.cohort.record import DONE, FAILED, InputFile, Record, all_files, written_before
from qsm_recon.errors import QSMError, ResourceError
from qsm_recon.unfinished import lives, machine

UNFINISHED = ".unfinished"


@dataclass(frozen=True)
class Task:
    """What a worker is given; plain values, and small.

    Parameters
    ----------
    root, out
        Absolute folders of the data set and of the results, the same on every machine.
    acquisition
        What to reconstruct.
    words
        Options of the reconstruction command.
    method
        The same in plain values.
    threads
        Threads to use.
    memory_gib
        What the worker may take in all; None where that is not limited.
    device
        Where the algorithm computes; see :func:`qsm_recon.backend.device.set_device`.
    """

    root: Path
    out: Path
    acquisition: Acquisition
    words: tuple[str, ...]
    method: Mapping[str, Any]
    threads: int = 1
    memory_gib: float | None = None
    device: str = CPU

    @property
    def name(self) -> str:
        """The acquisition's name."""
        return self.acquisition.name

    @property
    def command(self) -> tuple[str, ...]:
        """Words of the command that does the same by itself."""
        return (*self.words, "--dataset", self.acquisition.specification(self.root))

    def record(self, status: str, **members: Any) -> Record:
        """What became of it."""
        one = self.acquisition
        left = written_before(self.out, one.name) if status == FAILED else ()
        return Record(one.name, one.entities, status, self.method, command=self.command, left=left, **members)


@dataclass
class _Progress:
    """What is known by the time something goes wrong."""

    inputs: dict[str, InputFile] = field(default_factory=dict)


def perform(task: Task) -> Record:
    """Reconstruct one acquisition and write all its files, the record last; or write why it cannot be.

    Until everything is computed nothing but a folder in ``.unfinished`` is written.  Where the process is killed that
    folder stays: it counts the attempts, see :func:`deaths`.

    Returns
    -------
    Record
        As written.
    """
    staging = _staging(task.out, task.name)
    progress = _Progress()
    try:
        record = _perform(task, staging, progress)
    except MemoryError:
        record = task.record(
            FAILED, inputs=progress.inputs, reason="out of memory; give fewer --workers or a machine with more memory"
        )
    except QSMError as error:
        record = task.record(FAILED, inputs=progress.inputs, reason=" ".join(str(error).split()))
    except Exception as error:  # a fault in the program must not stop the others
        reason = f"a fault in the program: {type(error).__name__}: {error}"
        record = task.record(FAILED, inputs=progress.inputs, reason=reason, traceback=traceback.format_exc())
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    record.write(task.out)
    return record


def _perform(task: Task, staging: Path, progress: _Progress) -> Record:
    from qsm_recon.backend.device import set_device
    from qsm_recon.backend.memory import set_memory_limit
    from qsm_recon.backend.threads import set_thread_count
    from qsm_recon.cohort.derivatives import arrange, facts_of, publish, remove_outdated
    from qsm_recon.commands.options import build_parser
    from qsm_recon.commands.reconstruct import reconstruct

    cost = _Cost()
    set_memory_limit(task.memory_gib)
    set_thread_count(task.threads)
    set_device(task.device)
    progress.inputs |= all_files(task.root, task.acquisition.inputs(task.root))
    options = build_parser().parse_args([*task.command, "--quiet"])
    outcome = reconstruct(options, list(task.command))
    outcome.write(staging / "written", keep_stages=options.keep_stages)
    tree = staging / "tree"
    files = arrange(outcome, staging / "written", tree, task.acquisition, task.root)
    try:
        outputs = publish(tree, files, task.out)
        remove_outdated(task.out, set(written_before(task.out, task.name)) - set(outputs))
    except OSError as error:
        raise ResourceError(f"{task.out}: cannot be written ({error.strerror or error})") from error
    given = outcome.document["input"]
    unsettled = () if outcome.result.converged else (f"did not converge: {outcome.result.stop_reason}",)
    return task.record(
        DONE,
        inputs=progress.inputs,
        outputs=outputs,
        facts={**facts_of(outcome, task.acquisition), **cost.facts()},
        warnings=(*outcome.warnings, *unsettled),
        notes=tuple(given["notes"]),
    )


class _Cost:
    """Seconds by the clock and of the processors since it was made, and the most memory of this process so far."""

    def __init__(self) -> None:
        self.clock, self.processors = time.perf_counter(), time.process_time()

    def facts(self) -> dict[str, float | None]:
        """The figures, memory in GiB."""
        try:
            import resource
        except ImportError:  # Windows
            peak = None
        else:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)
        seconds, processors = time.perf_counter() - self.clock, time.process_time() - self.processors
        return {"seconds": seconds, "processor_seconds": processors, "memory": peak}


def _staging(out: Path, name: str) -> Path:
    folder = out / UNFINISHED
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f"{name}.{os.getpid()}.{machine()}.", dir=folder))
    except OSError as error:
        raise ResourceError(f"{folder}: cannot be written ({error.strerror or error})") from error


def deaths(out: Path, name: str) -> int:
    """Count the attempts at an acquisition whose process ended before it could tidy up."""
    return sum(1 for _ in (out / UNFINISHED).glob(f"{escape(name)}.*"))


def tidy(out: Path, names: list[str]) -> None:
    """Remove what attempts that died have left of some acquisitions; those of another command that lives here go on."""
    for name in names:
        for folder in (out / UNFINISHED).glob(f"{escape(name)}.*"):
            number, _, rest = folder.name.removeprefix(f"{name}.").partition(".")
            if not lives(rest.partition(".")[0], number):
                shutil.rmtree(folder, ignore_errors=True)
    folder = out / UNFINISHED
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
