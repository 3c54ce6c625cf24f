"""``--device`` of a cohort: with torch on the cores, and refused before anything is written where it cannot be had."""

import json

import nibabel as nib
import numpy as np
import pytest

from qsm_recon.backend.device import device_name


def test_devices_that_cannot_be_had_write_nothing(study, cohort):
    study.add("sub-01")
    for device, message in (
        ("gpu", "expected cpu, cuda, cuda:N or torch:cpu, found 'gpu'"),
        ("cuda:9", "device cuda:9"),
    ):
        done = cohort("--device", device)
        assert (done.code, done.out) == (2, "")
        assert message in done.err
        assert not study.out.exists()
    assert "found 'gpu'" in cohort("--device", "gpu", "--scheduler", "tcp://127.0.0.1:1").err


def test_maps_are_those_of_the_cores(study, cohort, tmp_path):
    pytest.importorskip("torch", reason="torch is not installed (the extra 'torch')")
    pytest.importorskip("distributed", reason="Dask is not installed (the extra 'cohort')")
    for name in ("sub-01", "sub-02"):
        study.add(name)
    found = {}
    for device in ("cpu", "torch:cpu"):
        out = tmp_path / device.replace(":", "-")
        done = cohort("--algo", "tkd", "--device", device, "--workers", 1, "--threads", 1, out=out)
        assert done.code == 0, done.err
        found[device] = sorted(out.rglob("*Chimap.nii*"))
        reports = [json.loads(path.read_text("utf-8")) for path in out.rglob("*Chimap_report.json")]
        expected = None if device == "cpu" else device
        assert [report["result"].get("device") for report in reports] == [expected, expected]
    assert device_name() == "cpu"
    assert len(found["cpu"]) == len(found["torch:cpu"]) == 2
    for one, other in zip(*found.values(), strict=True):
        here, there = (np.asarray(nib.load(path).dataobj) for path in (one, other))
        assert np.linalg.norm(here) > 0
        assert np.linalg.norm(there - here) < 1e-4 * np.linalg.norm(here)
