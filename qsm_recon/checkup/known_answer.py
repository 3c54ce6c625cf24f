"""A scan whose answer is known by the textbook: three balls, reconstructed from files as a user's scan is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SHAPE = (32, 36, 30)
VOXEL_MM = (1.0, 1.0, 1.25)
TILT_DEG = 20.0
B0_TESLA = 3.0
PROTON_MHZ_PER_TESLA = 42.577478518
"""Written out, so that the check does not lean on the conversions that it checks."""
POINTS_PER_AXIS = 3
"""Points along each edge of a voxel, of which its value is the mean."""
RIM_MM = 1.5
"""What of a ball is left out where its value is read: voxels that its surface cuts."""
MOST_ERROR_PER_CENT = 14.0
"""Error of the map, in % of the truth's norm: nearly all of it is at the surfaces of the balls."""
MOST_DEVIATION_PER_CENT = 2.5
"""Deviation of the value inside a ball from the truth."""


@dataclass(frozen=True)
class Ball:
    """A ball of one susceptibility.

    Parameters
    ----------
    centre_mm
        In mm along the image axes, from the middle of the image.
    radius_mm
        In mm.
    susceptibility_ppm
        Over that of the surroundings.
    """

    centre_mm: tuple[float, float, float]
    radius_mm: float
    susceptibility_ppm: float


BALLS = (Ball((-6, -5, 2), 5, 0.10), Ball((6, 6, -6), 4, -0.15), Ball((5, -7, 8), 3, 0.60))


@dataclass(frozen=True)
class KnownScan:
    """The balls as images; all of them (nx, ny, nz).

    Parameters
    ----------
    susceptibility_ppm, field_ppm
        Truth, and its field where the balls are alone in the world.
    mask
        An ellipsoid.
    affine
        (4, 4) voxel-to-scanner matrix in mm, oblique.
    """

    susceptibility_ppm: NDArray[np.float64]
    field_ppm: NDArray[np.float64]
    mask: NDArray[np.bool_]
    affine: NDArray[np.float64]


def known_scan() -> KnownScan:
    """Make the scan: inside a ball the field is zero, outside it is χ/3 (R/r)³ (3 cos²θ - 1)."""
    tilt = np.radians(TILT_DEG)
    cosine, sine = np.cos(tilt), np.sin(tilt)
    turn = np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]])
    affine = np.eye(4)
    affine[:3, :3] = turn * VOXEL_MM
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(SHAPE) - 1) / 2)
    susceptibility, field = np.zeros(SHAPE), np.zeros(SHAPE)
    for ball in BALLS:
        x, y, z = _offsets(ball, POINTS_PER_AXIS)
        squared = x**2 + y**2 + z**2
        along_bore = sine * y + cosine * z  # the scanner's third axis
        outside = squared > ball.radius_mm**2
        r = np.sqrt(np.where(outside, squared, 1))
        dipole = ball.susceptibility_ppm / 3 * (ball.radius_mm / r) ** 3 * (3 * (along_bore / r) ** 2 - 1)
        susceptibility += _voxel_means(np.where(outside, 0, ball.susceptibility_ppm))
        field += _voxel_means(np.where(outside, dipole, 0))
    x, y, z = np.ix_(*[np.linspace(-1, 1, n) for n in SHAPE])
    mask = x**2 + y**2 + z**2 < 1
    return KnownScan(susceptibility, field, mask, affine)


def _offsets(ball: Ball, points: int) -> tuple[NDArray, ...]:
    """Distances in mm from a ball's centre along each image axis, at some points along each voxel's edges."""
    within = (np.arange(points) - (points - 1) / 2) / points
    axes = [
        ((np.arange(n) - (n - 1) / 2)[:, None] + within).ravel() * size - centre
        for n, size, centre in zip(SHAPE, VOXEL_MM, ball.centre_mm, strict=True)
    ]
    return np.ix_(*axes)


def _voxel_means(values: NDArray) -> NDArray[np.float64]:
    return values.reshape([size for n in SHAPE for size in (n, POINTS_PER_AXIS)]).mean(axis=(1, 3, 5))


@dataclass(frozen=True)
class Answer:
    """How a map compares with the balls.

    Parameters
    ----------
    error_per_cent
        Norm of the error in % of that of the truth, both less their means over the mask.
    balls_ppm
        Value inside each ball over that of the surroundings, in ppm.
    """

    error_per_cent: float
    balls_ppm: tuple[float, ...]

    @property
    def right(self) -> bool:
        """Whether all of it is as near the truth as it has to be; what is not a number never is."""
        close = [
            abs(found / ball.susceptibility_ppm - 1) * 100 <= MOST_DEVIATION_PER_CENT
            for found, ball in zip(self.balls_ppm, BALLS, strict=True)
        ]
        return all(close) and self.error_per_cent <= MOST_ERROR_PER_CENT

    def __str__(self) -> str:
        """The figures beside the truth."""
        values = ", ".join(f"{found:.4f}" for found in self.balls_ppm)
        truths = ", ".join(f"{ball.susceptibility_ppm:.4f}" for ball in BALLS)
        return (
            f"balls of {truths} ppm found as {values} (at most {MOST_DEVIATION_PER_CENT:g} % off), "
            f"error of the map {self.error_per_cent:.1f} % (at most {MOST_ERROR_PER_CENT:g} %)"
        )


def compare(susceptibility_ppm: NDArray, scan: KnownScan) -> Answer:
    """Compare a map (nx, ny, nz), in ppm, with the truth of the scan."""
    found = np.asarray(susceptibility_ppm, float)
    truth, mask = scan.susceptibility_ppm, scan.mask
    difference = (found - truth)[mask]
    spread = truth[mask] - truth[mask].mean()
    error = 100 * np.linalg.norm(difference - difference.mean()) / np.linalg.norm(spread)
    surroundings = found[mask & (truth == 0)].mean()
    values = []
    for ball in BALLS:
        x, y, z = _offsets(ball, 1)
        inner = x**2 + y**2 + z**2 < (ball.radius_mm - RIM_MM) ** 2
        values.append(float(found[inner].mean() - surroundings))
    return Answer(float(error), tuple(values))


@dataclass(frozen=True)
class KnownReconstruction:
    """What came of reconstructing the scan.

    Parameters
    ----------
    answer
        How the map that was written and read again compares with the truth.
    algorithm, converged, iterations
        What the solver said.
    """

    answer: Answer
    algorithm: str
    converged: bool
    iterations: int


def reconstruct_known_scan(folder: Path, algorithm: str = "fansi") -> KnownReconstruction:
    """Write the scan as NIfTI (field in Hz), read it as a user's files are, reconstruct, write the map and read it.

    Raises
    ------
    QSMError
        If any of these is refused.
    """
    from qsm_recon.datasets.files import case_from_files
    from qsm_recon.io import load_image, save_image
    from qsm_recon.result import heed
    from qsm_recon.solvers.registry import make_solver

    scan = known_scan()
    hertz = scan.field_ppm * PROTON_MHZ_PER_TESLA * B0_TESLA
    field = save_image(folder / "field.nii.gz", np.where(scan.mask, hertz, 0).astype(np.float32), scan.affine)
    mask = save_image(folder / "mask.nii.gz", scan.mask, scan.affine)
    case = case_from_files(field=field, field_unit="Hz", mask=mask, b0_tesla=B0_TESLA, echo_times_s=(0.02,))
    result = make_solver(algorithm).solve(case.problem)
    heed(result.stop_reason)
    written = case.save(folder / "chi.nii.gz", result)
    answer = compare(load_image(written).data, scan)
    return KnownReconstruction(answer, result.solver, result.converged, result.iterations)
