"""What can be asked of the phantom."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from qsm_recon.errors import DataError, ParameterError, did_you_mean
from qsm_recon.operators.grid import unit_vector

PHANTOM_VERSION = 1
"""Raised whenever the same parameters give other images; the cache and the tests are keyed by it."""

CASES = ("sim1", "sim2")
SIZES = {"full": (1.0, 0.65), "reduced": (2.0, 4.0 / 3.0)}
"""Size to (output voxel, fine voxel) in mm."""


@dataclass(frozen=True)
class PhantomParameters:
    """Parameters of the phantom; the defaults are those of the 2019 reconstruction challenge.

    Parameters
    ----------
    case
        ``"sim1"``, or ``"sim2"`` with the stronger grey-white contrast and the calcification.
    size
        ``"full"``: 1 mm images from a 0.65 mm grid; ``"reduced"``: 2 mm images from a 1.33 mm grid, for quick runs.
    snr
        Largest first-echo signal over the standard deviation of the noise in the real (and the imaginary) part;
        infinite for none.
    seed
        Selects the head; the published checks are asserted for the default one.
    noise_seed
        Selects the noise.
    b0_tesla
        Main field strength, T.
    echo_times_s
        Echo times, s, increasing.
    b0_direction
        Main field direction in voxel axes; stored with unit length.
    voxel_size_mm
        Image voxel, mm; by default that of ``size``.
    background
        Add the field of the air around the head and in the sinuses, for total-field problems.
    rf_phase_offset_rad
        Amplitude of a smooth phase present at echo time zero, rad.

    Raises
    ------
    ParameterError
        If a value is unknown or out of range.
    """

    case: str = "sim2"
    size: str = "full"
    snr: float = 100.0
    seed: int = 2
    noise_seed: int = 0
    b0_tesla: float = 7.0
    echo_times_s: tuple[float, ...] = (0.004, 0.012, 0.020, 0.028)
    b0_direction: tuple[float, float, float] = (0.0, 0.0, 1.0)
    voxel_size_mm: tuple[float, float, float] | None = None
    background: bool = False
    rf_phase_offset_rad: float = 0.0

    def __post_init__(self) -> None:
        """Validate and normalise."""
        if self.case not in CASES:
            raise ParameterError(f"phantom case: unknown {self.case!r}{did_you_mean(str(self.case), CASES)}")
        if self.size not in SIZES:
            raise ParameterError(f"phantom size: unknown {self.size!r}{did_you_mean(str(self.size), SIZES)}")
        self._check_number("snr", self.snr, 1.0, math.inf, "a number of at least 1, or inf for no noise")
        self._check_number("b0_tesla", self.b0_tesla, 0.1, 30.0, "a field strength from 0.1 to 30 T")
        self._check_number("rf_phase_offset_rad", self.rf_phase_offset_rad, -100, 100, "a phase from -100 to 100 rad")
        for name in ("seed", "noise_seed"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                raise ParameterError(f"phantom {name}: expected a whole number of at least 0, found {value!r}")
        object.__setattr__(self, "echo_times_s", self._echo_times())
        object.__setattr__(self, "voxel_size_mm", self._voxel_size())
        try:
            object.__setattr__(self, "b0_direction", unit_vector(self.b0_direction))
        except DataError as error:
            raise ParameterError(f"phantom {error}") from error

    @property
    def output_voxel_mm(self) -> tuple[float, float, float]:
        """Voxel size of the images, mm."""
        return self._voxel_size()

    @property
    def fine_voxel_mm(self) -> float:
        """Approximate voxel size of the grid the head is built on, mm; never coarser than the image's."""
        return min(SIZES[self.size][1], *self.output_voxel_mm)

    @staticmethod
    def _check_number(name: str, value: float, low: float, high: float, expected: str) -> None:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            raise ParameterError(f"phantom {name}: expected {expected}, found {value!r}")

    def _echo_times(self) -> tuple[float, ...]:
        try:
            times = tuple(float(t) for t in self.echo_times_s)
        except (TypeError, ValueError):
            times = ()
        increasing = all(first < second for first, second in pairwise(times))
        if not times or not increasing or not (times[0] > 0 and times[-1] < 0.5):
            raise ParameterError(
                f"phantom echo_times_s: expected increasing times in seconds between 0 and 0.5, found "
                f"{self.echo_times_s!r}; times in milliseconds must be divided by 1000"
            )
        return times

    def _voxel_size(self) -> tuple[float, float, float]:
        if self.voxel_size_mm is None:
            return (SIZES[self.size][0],) * 3
        try:
            x, y, z = (float(d) for d in self.voxel_size_mm)
        except (TypeError, ValueError):
            x = y = z = math.nan
        if not all(0.6 <= d <= 8.0 for d in (x, y, z)):
            raise ParameterError(
                f"phantom voxel_size_mm: expected three lengths from 0.6 to 8 mm, found {self.voxel_size_mm!r}"
            )
        return (x, y, z)
