"""Field, signal and k-space cropping against the independent simulator qsm-forward, on a simple object."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from qsm_recon.phantom.resampling import crop_k_space
from qsm_recon.phantom.signal import dipole_field, noise_free_echoes
from qsm_recon.phantom.tissue import TissueMaps
from qsm_recon.units import GYROMAGNETIC_RATIO_MHZ_PER_T

N = 40
THEIR_GYROMAGNETIC_RATIO = 42.58


@pytest.fixture(scope="module")
def qsm_forward():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("qsm_forward.qsm_forward")


@pytest.fixture(scope="module")
def body():
    axis = np.arange(N) - (N - 1) / 2
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    chi = np.zeros((N, N, N))
    chi[x**2 + (y - 3) ** 2 + 1.5 * z**2 < 11**2] = 0.05
    chi[(x - 4) ** 2 + y**2 + (z - 2) ** 2 < 4**2] = -0.4
    return chi


@pytest.mark.parametrize("direction", [(0.0, 0.0, 1.0), (0.0, 0.6, 0.8)])
def test_field(qsm_forward, body, direction):
    theirs = qsm_forward.generate_field(body, voxel_size=[1.0, 1.0, 1.0], B0_dir=list(direction))
    ours = dipole_field(body.astype(np.float32), (1.0, 1.0, 1.0), direction, padding=2.0)
    # They keep 1/3 at zero frequency where we keep 0: a constant.
    difference = (theirs - ours) - (theirs - ours).mean()
    assert np.abs(difference).max() < 0.01 * np.abs(ours).max()


def test_signal(qsm_forward, body):
    field = dipole_field(body.astype(np.float32), (1.0, 1.0, 1.0), (0.0, 0.0, 1.0), padding=2.0)
    rng = np.random.default_rng(0)
    m0, r1, r2star = (rng.uniform(low, high, body.shape) for low, high in ((0.5, 1), (0.3, 1.2), (5, 90)))
    theirs = qsm_forward.generate_signal(
        field.astype(float),
        B0=7.0 * GYROMAGNETIC_RATIO_MHZ_PER_T / THEIR_GYROMAGNETIC_RATIO,
        TR=0.05,
        TE=0.02,
        flip_angle=15.0,
        R1=r1,
        R2star=r2star,
        M0=m0,
    )
    maps = TissueMaps(*(values.astype(np.float32) for values in (body, m0, r1, r2star)))
    ours = next(noise_free_echoes(maps, field, (0.02,), 7.0, body.shape))
    assert np.abs(ours - theirs).max() < 2e-4 * np.abs(theirs).max()


@pytest.mark.parametrize("coarse", [(26, 26, 26), (25, 24, 27)])
def test_k_space_cropping(qsm_forward, coarse):
    rng = np.random.default_rng(2)
    signal = rng.normal(size=(N, N, N)) + 1j * rng.normal(size=(N, N, N))
    theirs = qsm_forward.crop_kspace(signal, coarse, scaling=True)
    # They keep the centres of the first voxels together, we the outer edges: shift theirs by the difference.
    spectrum = np.fft.fftn(theirs)
    for axis, n in enumerate(coarse):
        ramp = np.exp(2j * np.pi * np.fft.fftfreq(n) * n * (0.5 / n - 0.5 / N))
        spectrum *= ramp.reshape([n if a == axis else 1 for a in range(3)])
    expected = np.fft.ifftn(spectrum)
    assert np.abs(crop_k_space(signal.astype(np.complex64), coarse) - expected).max() < 1e-5 * np.abs(expected).max()
