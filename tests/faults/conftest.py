"""A small scan on disk for whatever can go wrong with the machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from qsm_recon.io import load_image, save_image
from qsm_recon.operators.dipole import DipoleOperator
from qsm_recon.operators.grid import Grid

SHAPE = (32, 30, 28)
ROOT = Path(__file__).resolve().parents[2]
WAIT_SECONDS = 300


@pytest.fixture(scope="session")
def ball(tmp_path_factory) -> Path:
    """Folder with the field of a ball, its mask and its magnitude."""
    folder = tmp_path_factory.mktemp("ball")
    x, y, z = np.ix_(*[np.linspace(-1, 1, n) for n in SHAPE])
    mask = x**2 + y**2 + z**2 < 0.8
    chi = np.where((x - 0.2) ** 2 + y**2 + z**2 < 0.06, 0.15, 0).astype(np.float32)
    field = np.where(mask, DipoleOperator(Grid(SHAPE), padding=16).forward(chi), 0)
    field = field + np.where(mask, 0.002 * np.random.default_rng(1).standard_normal(SHAPE), 0)
    save_image(folder / "field.nii.gz", field.astype(np.float32), np.eye(4))
    save_image(folder / "mask.nii.gz", mask, np.eye(4))
    save_image(folder / "magnitude.nii.gz", np.where(mask, 1 + 0.2 * x, 0).astype(np.float32), np.eye(4))
    return folder


@pytest.fixture(scope="session")
def field_options(ball) -> list[str]:
    """Options that name it."""
    return ["--field", str(ball / "field.nii.gz"), "--field-unit", "ppm", "--mask", str(ball / "mask.nii.gz")]


def start(*words: str, **settings) -> subprocess.Popen:
    """Start a module of this package in a process group of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **settings.pop("env", {})}
    return subprocess.Popen(
        [sys.executable, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True, env=environment, **settings,
    )  # fmt: skip


def finish(process: subprocess.Popen) -> tuple[int, str, str]:
    """Wait for it; no command ever ends in a traceback."""
    out, err = process.communicate(timeout=WAIT_SECONDS)
    assert "Traceback" not in err, err
    return process.returncode, out, err


def require_whole(folder: Path) -> int:
    """Check that every file that has its name is whole; returns how many there are."""
    found = 0
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or any(part.startswith(".") for part in path.relative_to(folder).parts):
            continue  # what is being written has a hidden name
        found += 1
        if path.name.endswith((".nii", ".nii.gz")):
            load_image(path, ndim=None)
        elif path.suffix == ".json":
            json.loads(path.read_text("utf-8"))
        elif path.suffix in (".npz", ".npy"):
            stored = np.load(path)
            if path.suffix == ".npz":
                for name in stored.files:
                    assert stored[name] is not None
        elif path.suffix == ".html":
            assert path.read_text("utf-8").rstrip().endswith("</html>"), path
        elif path.suffix == ".png":
            assert path.read_bytes().endswith(b"IEND\xaeB`\x82"), path
        elif path.suffix == ".tsv":
            assert path.read_text("utf-8").endswith("\n"), path
    return found
