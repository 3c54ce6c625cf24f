"""Conversions between ppm, Hz and rad."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsm_recon import units

fields = st.floats(0.1, 20)
times = st.floats(1e-4, 0.1)
values = st.floats(-1e3, 1e3)


def test_known_values():
    assert units.GYROMAGNETIC_RATIO_MHZ_PER_T == 42.576
    assert units.hz_per_ppm(3.0) == pytest.approx(127.728)
    assert units.hz_per_ppm(7.0) == pytest.approx(298.032)
    assert units.rad_per_ppm(3.0, 0.025) == pytest.approx(20.0635, abs=1e-3)
    assert units.rad_per_ppm(7.0, 0.004) == pytest.approx(2 * math.pi * 298.032 * 0.004)


@given(values, fields, times)
def test_there_and_back(value, b0, time):
    assert units.hz_to_ppm(units.ppm_to_hz(value, b0), b0) == pytest.approx(value)
    assert units.rad_to_ppm(units.ppm_to_rad(value, b0, time), b0, time) == pytest.approx(value)


@given(values, fields, times)
def test_phase_is_frequency_times_time(value, b0, time):
    assert units.ppm_to_rad(value, b0, time) == pytest.approx(2 * math.pi * units.ppm_to_hz(value, b0) * time)


def test_arrays_keep_their_precision():
    array = np.linspace(-1, 1, 5, dtype=np.float32)
    for converted in (units.ppm_to_hz(array, 3.0), units.ppm_to_rad(array, 3.0, 0.02), units.hz_to_ppm(array, 3.0)):
        assert converted.dtype == np.float32
        assert converted.shape == array.shape
