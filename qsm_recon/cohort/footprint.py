"""How much memory a run takes, as far as can be told before its voxels are read; how many run at once follows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from qsm_recon.backend.memory import BESIDE_TENSORS, GIB
from qsm_recon.cohort.acquisitions import Acquisition
from qsm_recon.commands.reconstruct import OUTPUT_VOLUMES, OVERHEAD_BYTES
from qsm_recon.errors import DataError, ParameterError, QSMError, ResourceError

if TYPE_CHECKING:
    from qsm_recon.background.base import BackgroundRemoval
    from qsm_recon.problem import Problem
    from qsm_recon.solvers.base import Solver

VOLUMES_PER_ECHO = 10
"""Volumes (float32) of the image grid that reading one echo and the fit of all take."""
VOLUMES_OF_FIT = 30
"""Those that the fit takes beside, and what it returns."""
SHARE_OF_MEMORY = 0.85
"""Of what the machine has; the rest is for the system and for what the estimate does not know."""
CONTEXT_BYTES = 0.6e9
"""What each process takes of a graphics processor before its first tensor."""
SLACK = 1.2
"""Over the estimate, where a limit is set from it."""


@dataclass(frozen=True)
class Footprint:
    """What one run is expected to take.

    Parameters
    ----------
    bytes
        Memory.
    acquisition
        The one that was looked at.
    shape
        Its image.
    tensor_bytes
        Memory of a graphics processor, where that is where the algorithm computes.
    """

    bytes: float
    acquisition: str
    shape: tuple[int, ...]
    tensor_bytes: float


def footprint(
    root: Path,
    acquisitions: Sequence[Acquisition],
    solver: Solver,
    removal: BackgroundRemoval | None,
    *,
    least: bool = False,
) -> Footprint | None:
    """Estimate the memory of the run that takes most, or least.

    The acquisition with the largest (smallest) files is looked at: the header of an echo, and its mask where one is
    given.

    Parameters
    ----------
    root
        The data set.
    acquisitions
        What is to be reconstructed.
    solver, removal
        Methods.
    least
        Look for the smallest.

    Returns
    -------
    Footprint
        None where no image can be read.
    """
    for acquisition in sorted(acquisitions, key=lambda one: _bytes(root, one), reverse=not least):
        try:
            problem, echoes = _outline(root, acquisition)
            peak, tensors = _peak_bytes(problem, echoes, solver, removal), solver.device_bytes(problem)
            return Footprint(peak, acquisition.name, problem.grid.shape, tensors)
        except (QSMError, OSError):  # that run will say so itself
            continue
    return None


def require_room(least: Footprint, share: Share, available_bytes: float | None) -> None:
    """Refuse a cohort of which not even the smallest run fits.

    Parameters
    ----------
    least
        The smallest run.
    share
        How many runs there are at once, and what each may take.
    available_bytes
        What the machine has; None where runs are done elsewhere.

    Raises
    ------
    ResourceError
        Naming the run, what it takes, and what it may take.
    """
    import psutil

    taken = f"the smallest run, {least.acquisition}, takes about"
    if share.memory_gib is not None:
        needed = (least.bytes + psutil.Process().memory_info().rss) / GIB  # with the program, as in a worker
        if needed > share.memory_gib:
            raise ResourceError(
                f"--memory-limit: {taken} {needed:.3g} GiB with the program, and each of {share.workers} at once may "
                f"take {share.memory_gib:.3g} GiB; give more"
                + (", or fewer --workers" if available_bytes is not None and share.workers > 1 else "")
            )
    if available_bytes is not None and least.bytes > available_bytes:
        raise ResourceError(
            f"{taken} {least.bytes / GIB:.3g} GiB of memory, and {available_bytes / GIB:.3g} GiB are free; close other "
            "programs, or use a machine with more"
        )


def _bytes(root: Path, acquisition: Acquisition) -> int:
    try:
        return sum((root / image).stat().st_size for image in acquisition.images)
    except OSError:
        return 0


def _outline(root: Path, acquisition: Acquisition) -> tuple[Problem, int]:
    """A problem of the right size with nothing in it, and the number of echoes."""
    from qsm_recon.io import load_mask, read_shape
    from qsm_recon.operators.grid import Grid
    from qsm_recon.problem import Problem

    shape, affine = read_shape(root / acquisition.images[0])
    if len(shape) < 3:
        raise DataError(f"{acquisition.images[0]}: no volume")
    size = (shape[0], shape[1], shape[2])
    if acquisition.mask is None:  # an ellipsoid that fills the image, as a head does
        axes = np.ogrid[tuple(slice(-1, 1, n * 1j) for n in size)]
        mask = np.asarray(axes[0] ** 2 + axes[1] ** 2 + axes[2] ** 2 <= 1)
    else:
        mask = load_mask(root / acquisition.mask).data
    parts = 2 if len(acquisition.images) > 1 else 1
    echoes = max(1, len(acquisition.images) // parts) * math.prod(shape[3:])
    x, y, z = np.linalg.norm(affine[:3, :3], axis=0)
    return Problem(np.zeros(size, np.float32), mask, Grid(size, (x, y, z))), echoes


def _peak_bytes(problem: Problem, echoes: int, solver: Solver, removal: BackgroundRemoval | None) -> float:
    volume = 4 * math.prod(problem.grid.shape)
    solving = solver.memory_bytes(problem) + OUTPUT_VOLUMES * volume
    removing = 0.0 if removal is None else removal.memory_bytes(problem)
    reading = (VOLUMES_PER_ECHO * echoes + VOLUMES_OF_FIT) * volume
    held = (2 * echoes + OUTPUT_VOLUMES) * volume  # echoes and maps that stay until the end
    return OVERHEAD_BYTES + max(reading, held + removing, held + solving)


@dataclass(frozen=True)
class Share:
    """How a machine is shared out: so many workers, with so many threads and so much memory each."""

    workers: int
    threads: int
    memory_gib: float | None


def runs_on_device(tensor_bytes: float, free_bytes: float) -> int:
    """Count the runs whose tensors a graphics processor with so much free memory holds at once; one at least."""
    return max(1, int(SHARE_OF_MEMORY * free_bytes // (BESIDE_TENSORS * tensor_bytes + CONTEXT_BYTES)))


def share_out(
    runs: int,
    needed_bytes: float,
    *,
    cores: int,
    available_bytes: float,
    threads: int | None = None,
    workers: int | None = None,
    memory_gib: float | None = None,
    at_most: int | None = None,
) -> Share:
    """Share a machine out: as many workers as cores and memory allow, since one thread each wastes least.

    Parameters
    ----------
    runs
        How many there are to do.
    needed_bytes
        Memory of one.
    cores, available_bytes
        What the machine has.
    threads, workers
        What was asked for; None leaves it open.
    memory_gib
        Memory that all workers together may take; None leaves it to the machine.
    at_most
        Runs at once that the device holds on which they compute; None where that is the machine's cores.

    Raises
    ------
    ParameterError
        If a number is not positive.
    """
    for option, value in (("--threads", threads), ("--workers", workers), ("--memory-limit", memory_gib)):
        if value is not None and not value > 0:
            raise ParameterError(f"{option} {value:g}: expected a positive number")
    memory = available_bytes * SHARE_OF_MEMORY if memory_gib is None else memory_gib * 2**30
    fitting = max(1, int(memory // max(needed_bytes, 1)))
    fitting = fitting if at_most is None else min(fitting, at_most)
    count = workers or max(1, min(runs, cores // (threads or 1), fitting))
    limit = None if memory_gib is None else memory_gib / count
    return Share(count, threads or max(1, cores // count), limit)
