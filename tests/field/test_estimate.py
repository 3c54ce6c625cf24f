import json
import subprocess
import sys

import numpy as np
import pytest

from qsm_recon.errors import ParameterError
from qsm_recon.field import estimate_field, fit_complex_echoes, fit_r2star_arlo

from .signals import TIMES, axes, ball, make_echoes

SHAPE = (14, 15, 16)


def example(times=TIMES, **changes):
    x, y, _ = axes(SHAPE)
    settings = {"initial": 0.3, "r2star": 40 + 20 * y, "m0": 5.0, "noise": 0.02, **changes}
    return make_echoes(30 * x, times, **settings)


@pytest.mark.parametrize("method", ["fit", "difference"])
def test_all_maps_are_there_and_masked(method):
    mask = ball(SHAPE)
    found = estimate_field(example(), mask, method)
    x, y, _ = axes(SHAPE)
    assert np.abs(found.frequency_hz - 30 * x)[mask].max() < 1
    np.testing.assert_allclose(found.field_ppm, found.frequency_hz / (42.576 * 7), rtol=1e-6)
    assert np.abs(found.r2star_per_s - 40 - 20 * y)[mask].max() < 5
    assert np.abs(found.m0 - 5)[mask].max() < 0.2
    assert found.field_ppm.dtype == np.float32
    for image in (
        found.frequency_hz,
        found.initial_phase_rad,
        found.field_noise_ppm,
        found.residual,
        found.r2star_per_s,
        found.m0,
    ):
        assert image.shape == SHAPE
        assert np.all(np.isfinite(image))
        assert np.all(image[~mask] == 0)
    np.testing.assert_array_equal(found.mask, mask)
    report = json.loads(json.dumps(found.report))
    assert report["method"] == method
    assert report["r2star_method"] == "arlo"
    assert report["mask_voxels"] == np.count_nonzero(mask)


def test_noise_in_ppm_is_that_of_the_fit():
    mask = ball(SHAPE)
    found = estimate_field(example(), mask, noise_sigma=0.02)
    fit = fit_complex_echoes(example(), mask, noise_sigma=0.02)
    np.testing.assert_allclose(found.field_noise_ppm, fit.noise_hz / (42.576 * 7), rtol=1e-5)
    np.testing.assert_array_equal(found.r2star_per_s, fit_r2star_arlo(example(), mask).r2star_per_s)


def test_two_echoes_take_the_log_linear_decay_and_one_echo_has_none():
    mask = ball(SHAPE)
    two = estimate_field(example(TIMES[:2]), mask)
    assert two.report["r2star_method"] == "log-linear"
    assert two.r2star_per_s is not None
    one = estimate_field(example(TIMES[2:3], initial=0.0), mask)
    assert one.r2star_per_s is None
    assert one.m0 is None
    assert one.report["r2star_method"] is None
    x = axes(SHAPE)[0]
    assert np.abs(one.frequency_hz - 30 * x)[mask].max() < 1


def test_bipolar_series():
    mask = ball(SHAPE)
    found = estimate_field(example(bipolar=0.5), mask, bipolar=True)
    assert np.abs(found.bipolar_phase_rad - 0.5)[mask].max() < 0.1
    with pytest.raises(ParameterError, match="belongs to the method 'fit'"):
        estimate_field(example(), mask, "difference", bipolar=True)


def test_unknown_methods_are_named():
    with pytest.raises(ParameterError, match="did you mean 'difference'"):
        estimate_field(example(), ball(SHAPE), "diference")
    with pytest.raises(ParameterError, match="did you mean 'arlo'"):
        estimate_field(example(), ball(SHAPE), r2star="arlos")


def test_importing_the_room_loads_no_compiler():
    heavy = ("numba", "pyfftw", "scipy", "matplotlib")
    code = f"import sys, qsm_recon.field; print([m for m in {heavy} if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
