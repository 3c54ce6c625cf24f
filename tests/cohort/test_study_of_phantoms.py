"""A study of phantoms as a lab would do it: nine acquisitions, one broken, one that kills its workers, SLURM, BIDS."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

from qsm_recon.cohort.record import read_records

pytest.importorskip("distributed")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="no named pipes or signals")]

METHOD = ("--algo", "tv", "--background", "vsharp", "--set", "tolerance=0.01")
SUBJECTS = (
    *(f"sub-{number:02d}" for number in (1, 2, 3, 4, 5, 7)), "sub-06_ses-a", "sub-06_ses-b_run-1", "sub-06_ses-b_run-2"
)  # fmt: skip


@pytest.fixture(scope="module")
def head(tmp_path_factory):
    """The phantom in voxels of 5 mm, as BIDS."""
    from qsm_recon.phantom import PhantomParameters, build_phantom
    from qsm_recon.phantom.export import export_phantom

    parameters = PhantomParameters(case="sim1", size="reduced", voxel_size_mm=(5.0, 5.0, 5.0), background=True)
    return export_phantom(build_phantom(parameters, cache=False), tmp_path_factory.mktemp("head"), "bids")


@pytest.fixture
def heads(head, study):
    """Nine acquisitions of it, each with other noise."""
    rng = np.random.default_rng(4)
    for name in SUBJECTS:
        for path in sorted((head / "sub-sim1/anat").iterdir()):
            place = study.file(name, path.name.removeprefix("sub-sim1_"))
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place)
            if "part-mag" in path.name and path.suffix == ".gz":
                image = nibabel.load(path)
                noisy = image.get_fdata(dtype=np.float32) * (1 + 0.01 * rng.standard_normal(image.shape))
                nibabel.save(nibabel.Nifti1Image(noisy.astype(np.float32), image.affine), place)
        mask = study.root / "derivatives/bet" / study.file(name, "mask.nii.gz").relative_to(study.root)
        mask.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(head / "derivatives/truth/sub-sim1/anat/sub-sim1_mask.nii.gz", mask)
    return study


def maps(study):
    return {
        path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in study.out.rglob("*_Chimap.nii.gz")
    }  # fmt: skip


def test_nine_heads_one_broken_and_one_that_kills_its_workers(heads, start, finish, worker_of, cohort):
    study = heads
    study.file("sub-03", "echo-2_part-phase_MEGRE.nii.gz").write_bytes(b"broken")
    deadly = study.file("sub-05", "echo-3_part-mag_MEGRE.nii.gz")
    aside = deadly.with_name("aside")
    deadly.rename(aside)
    os.mkfifo(deadly)
    process = start(*METHOD, "--workers", "2", "--threads", "1")
    killed = ()
    for _ in range(3):
        killed = (*killed, worker_of(process, "sub-05", killed))
        os.kill(killed[-1], signal.SIGKILL)
    done = finish(process)
    assert done.code == 1, done.err
    records = {record.name: record for record in read_records(study.out)}
    assert set(records) == set(SUBJECTS)
    assert {name for name, record in records.items() if record.status == "failed"} == {"sub-03", "sub-05"}
    assert not (study.out / ".unfinished").exists()
    first = maps(study)
    assert len(first) == 7
    values = [nibabel.load(study.out / record.facts["chimap"]).get_fdata() for record in records.values()
              if record.status == "done"]  # fmt: skip
    for image in values[1:]:
        assert 0.9 < np.corrcoef(image.ravel(), values[0].ravel())[0, 1] < 1

    # A changed input and what failed are done again; what is as it was stays.
    deadly.unlink()
    shutil.copy2(aside, deadly)
    aside.unlink()
    shutil.copy(
        study.file("sub-02", "echo-2_part-phase_MEGRE.nii.gz"), study.file("sub-03", "echo-2_part-phase_MEGRE.nii.gz")
    )
    sidecar = study.file("sub-01", "echo-1_part-mag_MEGRE.json")
    sidecar.write_text(json.dumps({**json.loads(sidecar.read_text()), "FlipAngle": 20}))
    os.utime(study.file("sub-02", "echo-1_part-mag_MEGRE.nii.gz"))
    again = cohort(*METHOD)
    assert (again.code, "9 acquisitions, 6 of them done already" in again.err) == (0, True), again.err
    second = maps(study)
    assert {name for name in second if second[name][0] != first.get(name, (0,))[0]} == {
        f"{name}_Chimap.nii.gz" for name in ("sub-01", "sub-03", "sub-05")
    }

    # Another parameter for one subject: done again for that one.
    other = cohort(*METHOD, "--background-set", "largest_radius=10", "--participant-label", "07")
    assert (other.code, "1 acquisitions, 0 of them done already" in other.err) == (0, True)
    third = maps(study)
    assert {name for name in third if third[name] != second[name]} == {"sub-07_Chimap.nii.gz"}
    assert "Different methods" in (study.out / "group_Chimap.html").read_text()


def test_derivatives_pass_the_validator(heads, cohort):
    pytest.importorskip("bids_validator_deno")
    study = heads
    assert cohort(*METHOD, "--participant-label", "01", "06", "--keep-stages").code == 0
    command = Path(sys.executable).with_name("bids-validator-deno")
    done = subprocess.run(
        [command, study.out, "--format", "json"], capture_output=True, text=True, timeout=300, check=False
    )
    found = json.loads(done.stdout)
    assert found["summary"]["subjects"]
    assert [issue for issue in found["issues"]["issues"] if issue["severity"] == "error"] == []
    assert done.returncode == 0


SBATCH = """#!/bin/sh
# Takes a job as SLURM does, and runs it at once on this machine.
script=$(mktemp); cat "$@" > "$script"; cp "$script" "{log}.script"
setsid sh "$script" > {log} 2>&1 &
echo "Submitted batch job $!"
"""
SCANCEL = "#!/bin/sh\nkill -TERM -- -$1 2>/dev/null; true\n"


def test_jobs_of_slurm(heads, cohort, monkeypatch, tmp_path):
    """With stand-ins for ``sbatch`` and ``scancel`` that start and end the jobs on this machine."""
    pytest.importorskip("dask_jobqueue")
    study = heads
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, text in (("sbatch", SBATCH.format(log=tmp_path / "job.log")), ("scancel", SCANCEL)):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755 | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    done = cohort(*METHOD, "--participant-label", "01", "02", "--slurm", "--slurm-jobs", "1", "--slurm-interface", "lo")
    assert done.code == 0, done.err + (tmp_path / "job.log").read_text()
    assert [record.status for record in read_records(study.out)] == ["done", "done"]
    assert "#SBATCH --cpus-per-task=1" in (tmp_path / "job.log.script").read_text()
