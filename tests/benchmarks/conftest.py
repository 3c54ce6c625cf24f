"""A small head for the benchmark suite: spheres in an ellipsoid, written as the simulated heads are."""

from __future__ import annotations

import stat
import sys

import numpy as np
import pytest

from benchmarks.peers.exchange import Exchange
from benchmarks.suite.execute import load
from qsm_recon.operators.dipole import DipoleOperator
from qsm_recon.operators.grid import Grid
from qsm_recon.units import hz_per_ppm

SHAPE = (24, 28, 24)
B0 = 3.0
TIMES = (0.005, 0.012, 0.02)


@pytest.fixture(scope="session")
def small_head(tmp_path_factory):
    """File of a head with its true field."""
    axes = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in SHAPE), indexing="ij")
    mask = sum((a / (0.42 * n)) ** 2 for a, n in zip(axes, SHAPE, strict=True)) < 1
    chi = 0.02 * np.cos(axes[0] / 2) * np.cos(axes[1] / 3)
    for centre, radius, ppm in (((-4, 0, 2), 3.0, 0.1), ((4, 3, -2), 2.5, -0.08)):
        distance = np.sqrt(sum((a - c) ** 2 for a, c in zip(axes, centre, strict=True)))
        chi = np.where(distance < radius, ppm, chi)
    chi = np.where(mask, chi - chi[mask].mean(), 0).astype(np.float32)
    grid = Grid(SHAPE, (2.0, 2.0, 2.0))
    field_hz = DipoleOperator(grid, padding=(12, 12, 12)).forward(chi) * hz_per_ppm(B0)
    noise = np.random.default_rng(1).standard_normal((*SHAPE, len(TIMES), 2)) * 0.01
    decay = np.exp(-30 * np.array(TIMES))
    signal = mask[..., None] * decay * np.exp(2j * np.pi * field_hz[..., None] * np.array(TIMES))
    signal = signal + noise[..., 0] + 1j * noise[..., 1]
    path = tmp_path_factory.mktemp("heads") / "small.npz"
    np.savez(
        path, magnitude=np.abs(signal).astype(np.float32), magnitude_scale=1.0,
        phase=np.angle(signal).astype(np.float32), echo_times_s=np.array(TIMES), b0_tesla=B0,
        voxel_size_mm=np.array([2.0, 2.0, 2.0]), mask=mask, chi_ppm=chi, field_hz=field_hz.astype(np.float32),
        strong_source=np.zeros(SHAPE, bool),
    )  # fmt: skip
    return path


@pytest.fixture
def head(small_head):
    """Its specification, with the true field, which needs no fit."""
    return f"head:{small_head}?field=true"


TRUNCATED = """#!{python}
import sys
import nibabel, numpy as np
field, mask, threshold, bx, by, bz, out = sys.argv[1:]
image = nibabel.load(field)
inside = nibabel.load(mask).get_fdata() > 0
k = np.meshgrid(*(np.fft.fftfreq(n, d) for n, d in zip(image.shape, image.header.get_zooms())), indexing="ij")
squared = sum(a * a for a in k)
squared[0, 0, 0] = 1
dipole = 1 / 3 - sum(a * float(b) for a, b in zip(k, (bx, by, bz))) ** 2 / squared
dipole[0, 0, 0] = 0
limit = float(threshold)
inverse = np.where(abs(dipole) > limit, 1 / np.where(dipole == 0, 1, dipole), np.sign(dipole) / limit)
chi = np.fft.ifftn(np.fft.fftn(image.get_fdata()) * inverse).real * inside
nibabel.save(nibabel.Nifti1Image(chi.astype(np.float32), image.affine), out)
"""


@pytest.fixture
def case(head):
    return load(head)


@pytest.fixture
def files(case, tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    return Exchange(case, folder)


@pytest.fixture
def program(tmp_path):
    """Make an executable of a Python text."""

    def made(text, name="mine"):
        path = tmp_path / name
        path.write_text(text.replace("{python}", sys.executable))
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    return made


@pytest.fixture
def truncated(program):
    return f"exec:{program(TRUNCATED, 'my-tkd')} {{field}} {{mask}} 0.2 {{b0_direction}} {{output}}"
