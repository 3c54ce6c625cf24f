"""kill -9 at random moments of runs, sweeps, studies and benchmarks: nothing is corrupt, the same command goes on."""

import json
import os
import random
import shutil
import signal
import time

import numpy as np
import pytest

from qsm_recon.io import load_image, save_image
from qsm_recon.units import ppm_to_hz

from .conftest import ROOT, SHAPE, finish, require_whole, start

pytestmark = pytest.mark.skipif(not hasattr(os, "killpg"), reason="no signals")

BENCHMARK = """
import sys
from pathlib import Path
from benchmarks.suite.job import Job
from benchmarks.suite.runner import Planned, RunSettings, run_plan
if __name__ == "__main__":
    folder, head = Path(sys.argv[1]), sys.argv[2]
    jobs = [Planned(Job.of("tv", head, 1e-4 * 2**n), {"n": str(n)}, True) for n in range(6)]
    settings = RunSettings(workers=0, store=folder / "store", results=folder / "results", quiet=True)
    rows = run_plan("killed", lambda _known: jobs, settings)
    print(len(rows), *[row.record.metrics["nrmse"] for row in rows])
"""


@pytest.fixture(scope="session")
def study(ball, tmp_path_factory):
    """Two acquisitions of two echoes."""
    root = tmp_path_factory.mktemp("study")
    (root / "dataset_description.json").write_text(json.dumps({"Name": "ball", "BIDSVersion": "1.9.0"}))
    field, mask = load_image(ball / "field.nii.gz").data, load_image(ball / "mask.nii.gz").data
    for subject in ("sub-01", "sub-02"):
        for echo, seconds in enumerate((0.005, 0.015), start=1):
            phase = np.angle(np.exp(2j * np.pi * ppm_to_hz(field, 3.0) * seconds)).astype(np.float32)
            for part, image in (("mag", 500 * mask * np.exp(-20 * seconds)), ("phase", phase)):
                path = root / subject / "anat" / f"{subject}_echo-{echo}_part-{part}_MEGRE.nii.gz"
                save_image(path, image.astype(np.float32), np.eye(4))
                sidecar = {"EchoTime": seconds, "MagneticFieldStrength": 3.0}
                sidecar |= {"Units": "rad"} if part == "phase" else {}
                (path.parent / path.name.replace(".nii.gz", ".json")).write_text(json.dumps(sidecar))
        save_image(root / "derivatives" / "bet" / subject / "anat" / f"{subject}_mask.nii.gz", mask > 0, np.eye(4))
    return root


@pytest.fixture(scope="session")
def head(ball, tmp_path_factory):
    """The ball as a head of the benchmark suite."""
    field, mask = load_image(ball / "field.nii.gz").data, load_image(ball / "mask.nii.gz").data > 0
    times = np.array([0.005, 0.015])
    phase = 2 * np.pi * ppm_to_hz(field, 3.0)[..., None] * times
    path = tmp_path_factory.mktemp("heads") / "ball.npz"
    np.savez(
        path, magnitude=(mask[..., None] * np.exp(-20 * times)).astype(np.float32), magnitude_scale=1.0,
        phase=np.angle(np.exp(1j * phase)).astype(np.float32), echo_times_s=times, b0_tesla=3.0,
        voxel_size_mm=np.ones(3), mask=mask, chi_ppm=field, field_hz=ppm_to_hz(field, 3.0).astype(np.float32),
        strong_source=np.zeros(SHAPE, bool),
    )  # fmt: skip
    return f"head:{path}?field=true"


@pytest.fixture
def commands(field_options, study, head, tmp_path):
    """The words of each kind of command, its folder, and what its complete result is compared by."""
    script = tmp_path / "bench.py"
    script.write_text(BENCHMARK)
    out = tmp_path / "out"
    quick = ("--threads", "1")

    def chi(folder):
        return [load_image(folder / "chi.nii.gz").data]

    def points(folder):
        return [np.load(path)["susceptibility_ppm"] for path in sorted(folder.glob("points/*.npz"))] or [
            np.array(sorted(path.name for path in folder.glob("points/*")), dtype=object).shape
        ]

    def maps(folder):
        return [load_image(path).data for path in sorted(folder.glob("sub-*/**/*Chimap.nii.gz"))]

    def records(folder):
        return [np.array(sorted(path.name for path in (folder / "results").glob("*.json"))).shape]

    return {
        "run": (["-m", "qsm_recon.run", "--algo", "tv", *quick, *field_options, "--html", "--out", str(out)], chi),
        "sweep": (
            ["-m", "qsm_recon.lcurve", "--algo", "tv", "--points", "7", *quick, *field_options, "--out", str(out)],
            points,
        ),
        "study": (
            ["-m", "qsm_recon.cohort", str(study), str(out), "participant", "--algo", "tv", "--workers", "1"],
            maps,
        ),
        "benchmark": ([str(script), str(out), head], records),
    }, out


def killed_often(words, out, kills, rng):
    """Run a command, killed at random moments, and then to its end; returns how many kills came before the end."""
    began = time.monotonic()
    code, _, err = finish(start(*words, cwd=ROOT))
    assert code == 0, err
    usual_s = time.monotonic() - began
    shutil.move(out, out.with_name("whole"))
    early = 0
    for _ in range(kills):
        process = start(*words, cwd=ROOT)
        deadline = time.monotonic() + rng.uniform(0.05, 1.0) * usual_s
        while time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.005)
        early += process.poll() is None
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        _, err = process.communicate(timeout=60)
        assert "Traceback" not in err, err
        if out.exists():
            require_whole(out)
    code, _, err = finish(start(*words, cwd=ROOT))
    assert code == 0, err
    return early


def require_same(kind, out, result_of):
    expected, found = result_of(out.with_name("whole")), result_of(out)
    assert len(found) == len(expected) > 0
    for one, other in zip(found, expected, strict=True):
        assert np.shape(one) == np.shape(other)
        if np.size(one) > 10:
            assert np.abs(one - other).max() < 0.01 * np.abs(other).max(), kind  # a sweep starts where it was left
    names = [{p.relative_to(f) for p in f.rglob("*") if p.is_file()} for f in (out, out.with_name("whole"))]
    stray = {name for name in names[0] - names[1] if any(part.startswith(".") for part in name.parts)}
    assert not stray, f"{kind}: what a killed process left stays for ever: {stray}"


def test_killed_once_and_then_whole(commands):
    words, out = commands[0]["run"][0], commands[1]
    killed_often(words, out, 1, random.Random(3))
    require_whole(out)
    require_same("run", out, commands[0]["run"][1])


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "kills"), [("run", 20), ("sweep", 16), ("study", 10), ("benchmark", 10)])
def test_killed_many_times(commands, kind, kills, counts):
    words, out = commands[0][kind][0], commands[1]
    early = killed_often(words, out, kills, random.Random(7))
    require_whole(out)
    require_same(kind, out, commands[0][kind][1])
    outcomes = {"every file whole, the same command goes on": early, "it had ended before": kills - early}
    counts(f"kill -9 during a {kind}", kills, {what: n for what, n in outcomes.items() if n})
