"""A small scan on disk, and ways to run the command on it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from qsm_recon import run as run_module
from qsm_recon.backend.memory import set_memory_limit
from qsm_recon.io import save_image
from qsm_recon.operators.dipole import DipoleOperator
from qsm_recon.operators.grid import Grid
from qsm_recon.units import ppm_to_hz, rad_per_ppm

B0_TESLA = 7.0
TIMES = (0.004, 0.012, 0.020, 0.028)


def oblique_affine() -> np.ndarray:
    """1.5 × 1 × 2 mm voxels, 20 degrees off the bore."""
    c, s = np.cos(np.radians(20)), np.sin(np.radians(20))
    affine = np.eye(4)
    affine[:3, :3] = np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) * (1.5, 1.0, 2.0)
    affine[:3, 3] = (-16, -14, -17)
    return affine


def background_field(grid: Grid) -> np.ndarray:
    """Field of an air bubble of 9 mm radius, 29 mm from the middle of the grid, in ppm."""
    axes = [(np.arange(n) - (n - 1) / 2) * d for n, d in zip(grid.shape, grid.voxel_size_mm, strict=True)]
    offsets = [r - c for r, c in zip(np.ix_(*axes), (0, 5, 28), strict=True)]
    distance = np.sqrt(sum(r * r for r in offsets))
    cosine = sum(b * r for b, r in zip(grid.b0_direction, offsets, strict=True)) / distance
    return 9.4 / 3 * (9 / distance) ** 3 * (3 * cosine**2 - 1)


@pytest.fixture(scope="session")
def scan() -> SimpleNamespace:
    """A ball with two inclusions: its exact field, and its echoes with a little noise."""
    rng = np.random.default_rng(5)
    shape = (21, 24, 18)
    affine = oblique_affine()
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    mask = x**2 + y**2 + z**2 < 0.85
    labels = np.where(mask, 8, 0).astype(np.int16)
    labels[mask & (x > 0)] = 9
    labels[(x - 0.3) ** 2 + y**2 + z**2 < 0.05] = 2
    labels[(x + 0.4) ** 2 + (y - 0.1) ** 2 + z**2 < 0.03] = 11
    chi = np.choose(np.searchsorted((0, 2, 8, 9, 11), labels), (0, 0.13, -0.03, 0.02, 0.19)).astype(np.float32)
    grid = Grid.from_affine(shape, affine)
    field = np.where(mask, DipoleOperator(grid, padding=16).forward(chi), 0).astype(np.float32)
    background = background_field(grid)
    times = np.array(TIMES)
    signal = (800 * np.exp(-30 * times)) * np.exp(2j * np.pi * ppm_to_hz(field, B0_TESLA)[..., None] * times + 0.2j)
    signal = np.where(mask[..., None], signal, 0)
    signal = signal + 2 * (rng.standard_normal(signal.shape) + 1j * rng.standard_normal(signal.shape))
    return SimpleNamespace(
        affine=affine,
        grid=grid,
        mask=mask,
        chi=chi,
        labels=labels,
        field=field,
        total=np.where(mask, field + background, 0).astype(np.float32),
        magnitude=np.abs(signal).astype(np.float32),
        phase=np.angle(signal).astype(np.float32),
    )


@pytest.fixture(scope="session")
def scan_folder(scan, tmp_path_factory) -> Path:
    """The scan as files, to be copied."""
    folder = tmp_path_factory.mktemp("scan")
    images = {
        "field": scan.field,
        "total": scan.total,
        "hz": ppm_to_hz(scan.field, B0_TESLA).astype(np.float32),
        "rad": (rad_per_ppm(B0_TESLA, 0.02) * scan.field).astype(np.float32),
        "mask": scan.mask,
        "magnitude": scan.magnitude[..., 1],
        "magnitudes": scan.magnitude,
        "phases": scan.phase,
        "truth": scan.chi,
        "labels": scan.labels,
    }
    for name, image in images.items():
        save_image(folder / f"{name}.nii.gz", image, scan.affine)
    return folder


@pytest.fixture
def files(scan, scan_folder, tmp_path, monkeypatch) -> SimpleNamespace:
    """The scan as files in the current folder; ``write`` adds further ones."""
    shutil.copytree(scan_folder, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)

    def write(name: str, data: np.ndarray, affine: np.ndarray | None = None) -> str:
        save_image(f"{name}.nii.gz", data, scan.affine if affine is None else affine)
        return f"{name}.nii.gz"

    return SimpleNamespace(folder=tmp_path, write=write)


@pytest.fixture(autouse=True)
def machine(threads):
    """Give back thread count and memory limit, which hold for the whole process."""
    yield
    set_memory_limit(None)


FIELD = ("--field", "field.nii.gz", "--field-unit", "ppm", "--mask", "mask.nii.gz")
TOTAL = ("--field", "total.nii.gz", *FIELD[2:])
ECHOES = ("--phase", "phases.nii.gz", "--magnitude", "magnitudes.nii.gz", "--mask", "mask.nii.gz", "--b0", "7")
TE = ("--te", *map(str, TIMES))


@pytest.fixture
def inputs() -> SimpleNamespace:
    """Options that name the files."""
    return SimpleNamespace(field=FIELD, total=TOTAL, echoes=(*ECHOES, *TE), echoes_without_times=ECHOES)


@pytest.fixture
def run(capsys):
    """Run the command in this process; returns exit code and what it printed."""

    def execute(*arguments: str | Path) -> SimpleNamespace:
        capsys.readouterr()
        try:
            code = run_module.main([str(a) for a in arguments])
        except SystemExit as stop:  # the option parser's way to end
            code = stop.code
        printed = capsys.readouterr()
        return SimpleNamespace(code=code, out=printed.out, err=printed.err)

    return execute


@pytest.fixture
def start():
    """Start the command as a user does, in a process of its own."""
    started = []
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in what a shell starts in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def execute(*arguments: str, **settings) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-m", "qsm_recon.run", *arguments],
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **settings},
        )
        started.append(process)
        return process

    yield execute
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def cache(monkeypatch, tmp_path_factory) -> Path:
    """An empty cache folder for processes started by the test."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setitem(os.environ, "QSM_RECON_CACHE", str(folder))
    return folder
