"""``--device`` of the commands."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

torch = pytest.importorskip("torch", reason="torch is not installed (the extra 'torch'; make test-torch)")

from qsm_recon import lcurve, run
from qsm_recon.backend.device import set_device

FILES = ("--field", "field.nii.gz", "--field-unit", "ppm", "--mask", "mask.nii.gz")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    rng = np.random.default_rng(3)
    shape = (20, 18, 16)
    mask = np.zeros(shape, np.uint8)
    mask[3:-3, 3:-3, 3:-3] = 1
    field = (0.05 * gaussian_filter(rng.standard_normal(shape), 1.5) * mask).astype(np.float32)
    monkeypatch.chdir(tmp_path)
    for name, image in (("field", field), ("mask", mask)):
        nib.save(nib.Nifti1Image(image, np.eye(4)), f"{name}.nii.gz")
    yield
    set_device("cpu")


def maps_of(command, *options):
    """Maps that a command writes with each of two devices, and what they say of it."""
    found = []
    for device in ("cpu", "torch:cpu"):
        out = device.replace(":", "-")
        assert command.main([*FILES, *options, "--quiet", "--device", device, "--out", out]) in (0, 3)
        found.append(out)
    return found


@pytest.mark.parametrize("name", ["tkd", "tv"])
def test_run_takes_a_device(name):
    outs = maps_of(run, "--algo", name)
    here, there = (np.asarray(nib.load(f"{out}/chi.nii.gz").dataobj) for out in outs)
    assert np.linalg.norm(there - here) < 1e-4 * np.linalg.norm(here)
    reports = [json.loads(Path(out, "report.json").read_text("utf-8")) for out in outs]
    assert [found["result"].get("device") for found in reports] == [None, "torch:cpu"]
    assert [found["run"]["fft_library"].startswith("torch") for found in reports] == [False, True]


def test_lcurve_takes_a_device():
    maps_of(lcurve, "--algo", "tkd", "--points", "4", "--keep-maps")
    here, there = (sorted(Path(out).rglob("*.nii.gz")) for out in ("cpu", "torch-cpu"))
    assert len(here) == len(there) >= 4
    for one, other in zip(here, there, strict=True):
        expected, found = (np.asarray(nib.load(path).dataobj) for path in (one, other))
        assert np.linalg.norm(found - expected) < 1e-3 * np.linalg.norm(expected)
