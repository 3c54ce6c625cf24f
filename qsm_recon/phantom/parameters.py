"""What can be asked of the phantom."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any

from qsm_recon.errors import DataError, ParameterError, did_you_mean
from qsm_recon.operators.grid import unit_vector
from qsm_recon.phantom.lesions import Lesion, check_lesions
from qsm_recon.phantom.tissue import BLOOD

PHANTOM_VERSION = 1
"""Raised whenever the same parameters give other images; the cache and the tests are keyed by it."""

CASES = ("sim1", "sim2")
SIZES = {"full": (1.0, 0.65), "reduced": (2.0, 4.0 / 3.0)}
"""Size to (output voxel, fine voxel) in mm."""
DETAIL_RANGES = {
    "texture_ppm": (0.0, 0.05, "a standard deviation from 0 to 0.05 ppm"),
    "texture_slope": (1.0, 6.0, "a slope from 1 to 6"),
    "vessel_density": (0.0, 5.0, "a number from 0 to 5 times the veins of the published phantom"),
    "vessel_ppm": (0.0, 1.0, "a susceptibility from 0 to 1 ppm"),
    "remnant_ppm": (0.0, 0.5, "a root mean square from 0 to 0.5 ppm"),
    "microstructure_ppm": (-0.1, 0.1, "an amplitude from -0.1 to 0.1 ppm"),
}
"""Lowest and highest value of what the published phantom does not have, and what to tell of them."""
DETAILS = (*DETAIL_RANGES, "calcifications", "haemorrhages", "detail_seed")


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
    texture_ppm
        Standard deviation of texture added to the susceptibility of tissue, ppm.
    texture_slope
        The texture's power spectral density falls as spatial frequency to the power of minus this.
    calcifications
        Calcifications in place of SIM2's own; None keeps that, an empty tuple takes it away.
    haemorrhages
        Haemorrhages; they have label 17.
    vessel_density
        Number of medullary and pial veins over that of the published phantom.
    vessel_ppm
        Susceptibility of the blood in the veins, ppm.
    remnant_ppm
        Root mean square over the brain of a field that the removal of the background left there, ppm.
    microstructure_ppm
        Amplitude A of the frequency shift A (sin²θ - 2/3) of white matter, ppm; below 0 in life.
    detail_seed
        Selects texture and remnant, apart from the head.

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
    texture_ppm: float = 0.0
    texture_slope: float = 3.0
    calcifications: tuple[Lesion, ...] | None = None
    haemorrhages: tuple[Lesion, ...] = ()
    vessel_density: float = 1.0
    vessel_ppm: float = BLOOD.susceptibility_ppm
    remnant_ppm: float = 0.0
    microstructure_ppm: float = 0.0
    detail_seed: int = 0

    def __post_init__(self) -> None:
        """Validate and normalise."""
        if self.case not in CASES:
            raise ParameterError(f"phantom case: unknown {self.case!r}{did_you_mean(str(self.case), CASES)}")
        if self.size not in SIZES:
            raise ParameterError(f"phantom size: unknown {self.size!r}{did_you_mean(str(self.size), SIZES)}")
        self._check_number("snr", self.snr, 1.0, math.inf, "a number of at least 1, or inf for no noise")
        self._check_number("b0_tesla", self.b0_tesla, 0.1, 30.0, "a field strength from 0.1 to 30 T")
        self._check_number("rf_phase_offset_rad", self.rf_phase_offset_rad, -100, 100, "a phase from -100 to 100 rad")
        for name, (low, high, expected) in DETAIL_RANGES.items():
            self._check_number(name, getattr(self, name), low, high, expected)
        self._check_lesions()
        if self.background and self.remnant_ppm:
            raise ParameterError(
                "phantom remnant_ppm: a remnant is what the removal of a background leaves, and background adds the "
                "whole of it; ask for one of them"
            )
        for name in ("seed", "noise_seed", "detail_seed"):
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

    @property
    def own_calcification(self) -> bool:
        """Whether the head has the calcification of SIM2."""
        return self.case == "sim2" and self.calcifications is None

    def changed(self) -> dict[str, Any]:
        """Parameters by name, without the options that are as in the published phantom.

        What the cache and the records of the published phantom are called does not depend on options it does not use.
        """
        return {
            item.name: getattr(self, item.name)
            for item in fields(self)
            if item.name not in DETAILS or getattr(self, item.name) != item.default
        }

    def _check_lesions(self) -> None:
        if self.calcifications is not None:
            object.__setattr__(self, "calcifications", check_lesions(self.calcifications, "calcifications", -1))
        object.__setattr__(self, "haemorrhages", check_lesions(self.haemorrhages, "haemorrhages", 1))

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
