"""Heads to train on: the embedded phantom with other seeds, anatomies, noise and directions of the field."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qsm_recon.datasets.phantom_case import phantom_case
from qsm_recon.errors import DataError, ParameterError
from qsm_recon.io import atomic_write
from qsm_recon.operators.grid import Grid
from qsm_recon.phantom import PhantomParameters, build_phantom
from qsm_recon.phantom.lesions import Lesion
from qsm_recon.region import Region

logger = logging.getLogger(__name__)

HEAD_VERSION = 1
"""Raised whenever the same seed gives another head: stored ones are then made anew."""
EVALUATION_SEED = 2
"""The phantom's default head, which figures are reported on: never drawn."""
MARGIN_MM = 2.0
TILT_DEG = 25.0
"""Largest angle between the main field and the third axis."""


@dataclass(frozen=True)
class TrainingHead:
    """A head with its truth, in the box around its mask.

    Parameters
    ----------
    susceptibility_ppm, field_ppm, noise_ppm
        (nx, ny, nz) truth, the field that was fitted to its noisy echoes and the standard deviation of its noise.
    mask
        (nx, ny, nz) boolean, the brain.
    grid
        Geometry.
    """

    susceptibility_ppm: NDArray[np.float32]
    field_ppm: NDArray[np.float32]
    noise_ppm: NDArray[np.float32]
    mask: NDArray[np.bool_]
    grid: Grid


def drawn_head(seed: int, size: str = "full") -> PhantomParameters:
    """Parameters of a head, drawn by a seed.

    Every second head has SIM1's contrast.  Texture and veins are drawn about those of ``anatomy=textured``
    (docs/phantom.md), a third of the heads has strong sources, a third what is left of a background field, and half a
    tilted main field.

    Parameters
    ----------
    seed
        Of the head and of everything that is drawn for it.
    size
        ``full`` or ``reduced``.

    Raises
    ------
    ParameterError
        If the seed is that of the head which figures are reported on.
    """
    if seed == EVALUATION_SEED:
        raise ParameterError(f"seed: {seed} is the head that figures are reported on; train on others")
    draw = np.random.default_rng([seed, HEAD_VERSION])
    strong, remnant, tilted = draw.random(3)
    case = "sim1" if seed % 2 else "sim2"
    return PhantomParameters(
        case=case,
        size=size,
        seed=seed,
        noise_seed=seed,
        detail_seed=seed,
        snr=float(np.exp(draw.uniform(np.log(50), np.log(400)))),
        b0_direction=_direction(draw, TILT_DEG if tilted < 0.5 else 0.0),
        texture_ppm=float(draw.choice([0.0, 1.0]) * draw.uniform(0.004, 0.014)),
        texture_slope=float(draw.uniform(2.3, 3.5)),
        vessel_density=float(draw.uniform(0.7, 2.5)),
        vessel_ppm=float(draw.uniform(0.12, 0.3)),
        calcifications=(_lesion(draw, -1, 1.0),) if strong < 1 / 3 else None,
        haemorrhages=(_lesion(draw, 1, -1.0),) if strong < 1 / 3 else (),
        remnant_ppm=float(draw.uniform(0.001, 0.004)) if remnant < 1 / 3 else 0.0,
    )


def _direction(draw: np.random.Generator, largest_deg: float) -> tuple[float, float, float]:
    """A direction within an angle of the third axis."""
    angle, around = math.radians(draw.uniform(0, largest_deg)), draw.uniform(0, 2 * math.pi)
    return (math.sin(angle) * math.cos(around), math.sin(angle) * math.sin(around), math.cos(angle))


def _lesion(draw: np.random.Generator, sign: int, side: float) -> Lesion:
    """A calcification (sign -1) or haemorrhage (1) of some mm, deep in the half of the brain of that side."""
    centre = (side * draw.uniform(12, 32), draw.uniform(-22, 18), draw.uniform(0, 22))
    x, y, z = draw.uniform(1.5, 4.0, size=3)
    return Lesion(sign * float(draw.uniform(0.5, 2.8)), centre, (float(x), float(y), float(z)))


def head(folder: Path, seed: int, size: str = "full") -> TrainingHead:
    """Read a head from a folder, or make and keep it: about a minute and 3 GB of memory at full size.

    Parameters
    ----------
    folder
        Where heads are kept.
    seed, size
        See :func:`drawn_head`.
    """
    path = folder / f"head-{HEAD_VERSION}-{size}-{seed}.npz"
    if not path.exists():
        logger.info("making head %d", seed)
        made = _made(drawn_head(seed, size))
        folder.mkdir(parents=True, exist_ok=True)
        atomic_write(path, lambda place: _write(place, made))
    return _read(path)


def _made(parameters: PhantomParameters) -> TrainingHead:
    case = phantom_case(build_phantom(parameters, cache=False))
    region = Region.around(case.problem, MARGIN_MM)
    problem = region.cut_problem(case.problem)
    if case.truth is None or problem.field_noise_ppm is None:
        raise DataError("phantom: it came without its truth or the noise of its field")
    truth = np.where(problem.mask, region.cut(case.truth.susceptibility_ppm), 0)
    truth, field, noise = (
        np.where(problem.mask, image, 0).astype(np.float32)
        for image in (truth, problem.field_ppm, problem.field_noise_ppm)
    )
    return TrainingHead(truth, field, noise, problem.mask, problem.grid)


def _write(path: Path, made: TrainingHead) -> None:
    with path.open("wb") as stream:
        np.savez(
            stream,
            susceptibility_ppm=made.susceptibility_ppm,
            field_ppm=made.field_ppm,
            noise_ppm=made.noise_ppm,
            mask=made.mask,
            voxel_size_mm=np.array(made.grid.voxel_size_mm),
            b0_direction=np.array(made.grid.b0_direction),
        )


def _read(path: Path) -> TrainingHead:
    with np.load(path, allow_pickle=False) as stored:
        grid = Grid(stored["mask"].shape, tuple(stored["voxel_size_mm"]), tuple(stored["b0_direction"]))
        return TrainingHead(
            stored["susceptibility_ppm"], stored["field_ppm"], stored["noise_ppm"], stored["mask"], grid
        )
