"""The command with real workers: one broken acquisition, workers that are killed, Ctrl-C, going on."""

import os
import shutil
import signal
import sys

import nibabel
import numpy as np
import pytest

from qsm_recon.cohort.record import read_records
from qsm_recon.cohort.table import row

pytest.importorskip("distributed")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no named pipes or signals")

METHOD = ("--algo", "tkd", "--accept-background")
HELD = "echo-2_part-phase_MEGRE.nii.gz"


def snapshot(folder):
    """Time and content of every file."""
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def hold(path):
    """Put a named pipe in place of a file, so that a worker certainly waits for it; returns how to undo that."""
    aside = path.with_name("aside")
    path.rename(aside)
    os.mkfifo(path)

    def release():
        path.unlink()
        shutil.copy2(aside, path)
        aside.unlink()

    return release


def assert_nothing_half_written(study, records):
    """Every map can be read whole; nothing lies about but what the records name and what describes the whole."""
    assert not (study.out / ".unfinished").exists()
    named = {path for record in records for path in record.outputs}
    found = {path.relative_to(study.out).as_posix() for path in study.out.rglob("*") if path.is_file()}
    assert {path for path in found if path.startswith("sub-")} == named
    for path in named:
        if path.endswith(".nii.gz"):
            assert np.isfinite(nibabel.load(study.out / path).get_fdata()).all()


def test_all_others_arrive_and_the_same_command_goes_on(study, start, finish, worker_of, cohort):
    """One is broken, the worker of another is killed with SIGKILL once: that is tried again and arrives."""
    for name in ("sub-01", "sub-02", "sub-03_ses-a"):
        study.add(name)
    broken = study.file("sub-02", "echo-1_part-mag_MEGRE.nii.gz")
    whole = broken.read_bytes()
    broken.write_bytes(whole[: len(whole) // 2])
    release = hold(study.file("sub-03_ses-a", HELD))
    process = start(*METHOD, "--workers", "2", "--threads", "1")
    number = worker_of(process, "sub-03_ses-a")
    release()
    os.kill(number, signal.SIGKILL)
    done = finish(process)
    assert done.code == 1, done.err
    assert "Traceback" not in done.err
    records = {record.name: record for record in read_records(study.out)}
    assert {name: record.status for name, record in records.items()} == {
        "sub-01": "done", "sub-02": "failed", "sub-03_ses-a": "done"
    }  # fmt: skip
    assert "sub-02_echo-1_part-mag_MEGRE.nii.gz" in records["sub-02"].reason
    assert f"failed: sub-02: {records['sub-02'].reason}" in done.err
    assert "2 of 3 maps are there" in done.out
    assert_nothing_half_written(study, records.values())
    page = (study.out / "group_Chimap.html").read_text()
    assert page.count("data:image/jpeg") == 2

    # What is mended is done, and nothing else is touched.
    broken.write_bytes(whole)
    before = snapshot(study.out)
    again = cohort(*METHOD)
    assert again.code == 0, again.err
    assert "2 of them done already" in again.err
    after = snapshot(study.out)
    changed = {path for path in after if after[path] != before.get(path)}
    assert {path for path in changed if not path.startswith("group_")} == {
        "logs/sub-02.json",
        *next(record for record in read_records(study.out) if record.name == "sub-02").outputs,
    }

    # With nothing left to do no worker is started, and all of it stays as it is.
    rest = cohort(*METHOD)
    assert (rest.code, "3 of them done already" in rest.err) == (0, True)
    assert "at once" not in rest.err
    for path, state in snapshot(study.out).items():
        assert path.startswith("group_") or state == after[path]


@pytest.mark.slow
def test_a_run_that_kills_its_workers_is_given_up_and_the_others_arrive(study, start, finish, worker_of):
    for name in ("sub-01", "sub-02", "sub-03"):
        study.add(name)
    hold(study.file("sub-01", HELD))
    process = start(*METHOD, "--workers", "2", "--threads", "1")
    killed = ()
    for _ in range(3):
        killed = (*killed, worker_of(process, "sub-01", killed))
        os.kill(killed[-1], signal.SIGKILL)
    done = finish(process)
    assert done.code == 1, done.err
    records = {record.name: record for record in read_records(study.out)}
    assert [records[name].status for name in ("sub-01", "sub-02", "sub-03")] == ["failed", "done", "done"]
    assert records["sub-01"].reason.startswith("its worker was killed 3 times; the commonest causes are too little")
    assert row(records["sub-01"])["status"] == "failed"
    assert_nothing_half_written(study, records.values())


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_done(study, start, finish, worker_of, cohort):
    """At a terminal it reaches the workers as well."""
    study.add("sub-01")
    study.add("sub-02")
    release = hold(study.file("sub-02", HELD))
    process = start(*METHOD, "--workers", "1", "--threads", "1")
    worker_of(process, "sub-02")  # so that the first is done
    os.killpg(process.pid, signal.SIGINT)
    done = finish(process)
    assert done.code == 130, done.err
    assert "Traceback" not in done.err
    assert "interrupted; what is done stays, 1 are left, and the same command goes on with them" in done.err
    records = read_records(study.out)
    assert [record.name for record in records] == ["sub-01"]
    assert_nothing_half_written(study, records)
    assert "1 not tried yet" in (study.out / "group_Chimap.html").read_text()
    release()
    again = cohort(*METHOD)
    assert (again.code, "1 of them done already" in again.err) == (0, True)


@pytest.mark.slow
def test_a_scheduler_that_is_there_and_one_that_is_not(study, cohort):
    from distributed import LocalCluster

    study.add("sub-01")
    done = cohort(*METHOD, "--scheduler", "tcp://127.0.0.1:1")
    assert done.code == 2
    assert "no Dask scheduler answers there" in done.err
    assert not study.out.exists()
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0", processes=True) as cluster:
        done = cohort(*METHOD, "--scheduler", cluster.scheduler_address)
    assert done.code == 0, done.err
    assert [record.status for record in read_records(study.out)] == ["done"]
