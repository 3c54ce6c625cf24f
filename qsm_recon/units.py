"""Physical constants and unit conversions.

Public arrays are in ppm, Hz or rad, and say so by name.  ``B0`` is in tesla, echo times are in seconds.
"""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Value = TypeVar("Value", float, NDArray[np.floating])

GYROMAGNETIC_RATIO_MHZ_PER_T = 42.576
"""Proton gyromagnetic ratio over 2π, in MHz/T (equivalently Hz per ppm per tesla)."""


def hz_per_ppm(b0_tesla: float) -> float:
    """Frequency shift in Hz caused by a field of 1 ppm of ``b0_tesla`` (T)."""
    return GYROMAGNETIC_RATIO_MHZ_PER_T * b0_tesla


def rad_per_ppm(b0_tesla: float, echo_time_s: float) -> float:
    """Phase in rad gathered during ``echo_time_s`` (s) in a field of 1 ppm of ``b0_tesla`` (T)."""
    return 2.0 * math.pi * hz_per_ppm(b0_tesla) * echo_time_s


def hz_to_ppm(frequency_hz: Value, b0_tesla: float) -> Value:
    """Convert a frequency map (Hz) to a relative field map (ppm)."""
    return frequency_hz / hz_per_ppm(b0_tesla)


def ppm_to_hz(field_ppm: Value, b0_tesla: float) -> Value:
    """Convert a relative field map (ppm) to a frequency map (Hz)."""
    return field_ppm * hz_per_ppm(b0_tesla)


def rad_to_ppm(phase_rad: Value, b0_tesla: float, echo_time_s: float) -> Value:
    """Convert an unwrapped phase map (rad) at one echo time to a relative field map (ppm)."""
    return phase_rad / rad_per_ppm(b0_tesla, echo_time_s)


def ppm_to_rad(field_ppm: Value, b0_tesla: float, echo_time_s: float) -> Value:
    """Convert a relative field map (ppm) to the phase (rad) it causes at one echo time."""
    return field_ppm * rad_per_ppm(b0_tesla, echo_time_s)
