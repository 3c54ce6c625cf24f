"""A small study on disk, and ways to run the command on it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from qsm_recon.backend.memory import set_memory_limit
from qsm_recon.cohort import command
from qsm_recon.io import save_image
from qsm_recon.operators.dipole import DipoleOperator
from qsm_recon.operators.grid import Grid
from qsm_recon.units import ppm_to_hz

SHAPE = (20, 24, 18)
TIMES = (0.004, 0.012, 0.020)
B0_TESLA = 3.0
WAIT_SECONDS = 900


@pytest.fixture(scope="session")
def scan() -> SimpleNamespace:
    """A ball with an inclusion and its echoes, nearly free of noise."""
    affine = np.diag([1.5, 1.0, 2.0, 1.0])
    affine[:3, 3] = (-14, -11, -17)
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij")
    mask = x**2 + y**2 + z**2 < 0.8
    chi = np.where((x - 0.2) ** 2 + y**2 + z**2 < 0.06, 0.15, 0).astype(np.float32)
    grid = Grid.from_affine(SHAPE, affine)
    field = np.where(mask, DipoleOperator(grid, padding=12).forward(chi), 0)
    times = np.array(TIMES)
    phase = 2 * np.pi * ppm_to_hz(field, B0_TESLA)[..., None] * times + 0.2
    noise = np.random.default_rng(2).standard_normal((2, *SHAPE, len(TIMES)))
    signal_ = np.where(mask[..., None], 500 * np.exp(-25 * times) * np.exp(1j * phase), 0) + noise[0] + 1j * noise[1]
    return SimpleNamespace(
        affine=affine,
        mask=mask,
        chi=chi,
        magnitude=np.abs(signal_).astype(np.float32),
        phase=np.angle(signal_).astype(np.float32),
    )


@pytest.fixture(scope="session")
def pattern(scan, tmp_path_factory) -> Path:
    """One acquisition as files, which the studies are made of by copying."""
    folder = tmp_path_factory.mktemp("pattern")
    for echo, seconds in enumerate(TIMES, start=1):
        for part, images in (("mag", scan.magnitude), ("phase", scan.phase)):
            name = f"echo-{echo}_part-{part}_MEGRE"
            save_image(folder / f"{name}.nii.gz", images[..., echo - 1], scan.affine)
            sidecar = {"EchoTime": seconds, "MagneticFieldStrength": B0_TESLA}
            (folder / f"{name}.json").write_text(json.dumps(sidecar | ({"Units": "rad"} if part == "phase" else {})))
    save_image(folder / "mask.nii.gz", scan.mask, scan.affine)
    return folder


@pytest.fixture
def study(pattern, tmp_path) -> SimpleNamespace:
    """An empty data set; ``add`` puts an acquisition into it, ``file`` names one of its files."""
    root = tmp_path / "study"
    root.mkdir()
    (root / "dataset_description.json").write_text(json.dumps({"Name": "ball", "BIDSVersion": "1.9.0"}))

    def folder(name: str) -> Path:
        return root.joinpath(*[part for part in name.split("_") if part[:4] in ("sub-", "ses-")], "anat")

    def add(name: str, *, mask: bool = True) -> None:
        folder(name).mkdir(parents=True, exist_ok=True)
        for path in pattern.glob("echo-*"):
            shutil.copy2(path, folder(name) / f"{name}_{path.name}")
        if mask:
            place = root / "derivatives" / "bet" / folder(name).relative_to(root)
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy2(pattern / "mask.nii.gz", place / f"{name}_mask.nii.gz")

    def file(name: str, rest: str) -> Path:
        return folder(name) / f"{name}_{rest}"

    return SimpleNamespace(root=root, out=tmp_path / "out", add=add, file=file)


@pytest.fixture(autouse=True)
def machine(threads):
    """Give back thread count and memory limit, which hold for the whole process."""
    yield
    set_memory_limit(None)


@pytest.fixture
def cohort(study, capsys):
    """Run the command on the study in this process; returns exit code and what it printed."""

    def run(*arguments: str, out: Path | None = None, level: str = "participant") -> SimpleNamespace:
        capsys.readouterr()
        try:
            code = command.main([str(study.root), str(out or study.out), level, *map(str, arguments)])
        except SystemExit as stop:
            code = stop.code
        printed = capsys.readouterr()
        return SimpleNamespace(code=code, out=printed.out, err=printed.err)

    return run


@pytest.fixture
def start(study):
    """Start the command on the study as a user does, in a process group of its own."""
    started = []

    def run(*arguments: str, **settings) -> subprocess.Popen:
        words = [sys.executable, "-m", "qsm_recon.cohort", str(study.root), str(study.out), "participant", *arguments]
        process = subprocess.Popen(
            words,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            **settings,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.fixture
def finish():
    """Wait for a started command; returns exit code and what it printed."""

    def wait(process: subprocess.Popen) -> SimpleNamespace:
        out, err = process.communicate(timeout=WAIT_SECONDS)
        return SimpleNamespace(code=process.returncode, out=out, err=err)

    return wait


@pytest.fixture
def worker_of(study):
    """Wait until a worker has begun with an acquisition, other than those given; returns its process number."""

    def find(process: subprocess.Popen, name: str, others: tuple[int, ...] = ()) -> int:
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            for folder in (study.out / ".unfinished").glob(f"{name}.*"):
                number = int(folder.name.split(".")[1])
                if number not in others:
                    return number
            if process.poll() is not None:
                pytest.fail(f"the command ended: {process.communicate()[1]}")
            time.sleep(0.05)
        pytest.fail(f"no worker has begun with {name}")

    return find
