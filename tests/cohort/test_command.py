"""The command line: what it refuses, and what it says without computing."""

import errno
import json
import os
import shutil
import sys

import pytest

from qsm_recon.cohort.record import FAILED, Record


def test_bad_usage_and_input_write_nothing(study, cohort, tmp_path):
    study.add("sub-01")
    (tmp_path / "file").write_text("x")
    other = tmp_path / "other"
    other.mkdir()
    (other / "dataset_description.json").write_text('{"Name": "x", "GeneratedBy": [{"Name": "fmriprep"}]}')
    for arguments, settings, message in (
        (["--algo", "fanci"], {}, "algorithm 'fanci' is unknown"),
        (["--set", "tolerance=-1"], {}, "out of range"),
        (["--background", "vsharpp"], {}, "vsharp"),
        (["--background-set", "step=1"], {}, "give the method it belongs to"),
        (["--participant-label", "07"], {}, "--participant-label: no images of sub-07"),
        (["--suffix", "bold"], {}, "--suffix if the images have another"),
        (["--mask", "{sub}"], {}, "must be one of"),
        (["--workers", "0"], {}, "--workers 0: expected a positive number"),
        (["--threads", "0"], {}, "--threads 0: expected a positive number"),
        (["--scheduler", "tcp://127.0.0.1:1", "--slurm"], {}, "give one of them"),
        (["--slurm-jobs", "0"], {}, "--slurm-jobs 0"),
        ([], {"level": "participants"}, "invalid choice"),
        ([], {"level": "group"}, "holds no results yet"),
        ([], {"out": study.root}, "results must not lie among the raw data"),
        ([], {"out": study.root / "sub-01/anat/new"}, "results must not lie among the raw data"),
        ([], {"out": tmp_path / "file"}, "is not a folder that can be written"),
        ([], {"out": other}, "it is from fmriprep; choose another OUT_DIR"),
        (["--participant-lable", "01"], {}, "did you mean '--participant-label'"),
    ):
        before = sorted(tmp_path.rglob("*"))
        done = cohort(*arguments, **settings)
        assert (done.code, done.out) == (2, ""), arguments
        assert done.err.startswith("error: "), arguments
        assert message in done.err, arguments
        assert done.err.count("\n") == 1
        assert sorted(tmp_path.rglob("*")) == before


def test_data_sets_that_cannot_be_used(study, cohort, tmp_path):
    assert "holds the subjects" in cohort().err
    study.add("sub-01")
    (study.root / "dataset_description.json").write_text("{")
    assert "dataset_description.json: not a readable JSON file" in cohort().err
    (study.root / "dataset_description.json").unlink()
    study.out.mkdir()
    (study.out / "dataset_description.json").write_text(
        '{"GeneratedBy": [{"Name": "qsm_recon"}], "DatasetLinks": null}'
    )
    assert "dataset_description.json: 'DatasetLinks' is None; expected an object" in cohort().err
    shutil.rmtree(study.out)
    study.root.rename(tmp_path / "what?")
    study.root = tmp_path / "what?"
    assert "path holds '?'" in cohort().err
    study.root = tmp_path / "absent"
    done = cohort()
    assert (done.code, done.err) == (
        2,
        f"error: {study.root}: no such folder; expected the folder of a BIDS data set\n",
    )
    assert not study.out.exists()


def test_missing_libraries_and_slurm_are_named(study, cohort, monkeypatch, tmp_path):
    study.add("sub-01")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "no command 'sbatch' here" in cohort("--slurm").err
    monkeypatch.setitem(sys.modules, "dask_jobqueue", None)
    assert "'dask-jobqueue', not installed: pip install 'qsm_recon[cohort]'" in cohort("--slurm").err
    monkeypatch.setitem(sys.modules, "distributed", None)
    done = cohort()
    assert (done.code, "'distributed', not installed: pip install 'qsm_recon[cohort]'" in done.err) == (2, True)
    assert not study.out.exists()


def test_libraries_of_the_algorithm_are_asked_for_first(study, cohort, monkeypatch):
    pytest.importorskip("distributed")
    study.add("sub-01")
    monkeypatch.setitem(sys.modules, "safetensors", None)
    for algorithm in ("qsminvnet", "fine"):
        done = cohort("--algo", algorithm)
        assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
        assert done.err.startswith(f"error: --algo {algorithm}: needs ")
        assert "safetensors, not installed; pip install 'qsm_recon[torch]'" in done.err
        assert not study.out.exists()
    assert "no Dask scheduler answers" in cohort("--algo", "qsminvnet", "--scheduler", "tcp://127.0.0.1:1").err


@pytest.mark.parametrize("more", [(), ("--dry-run",), ("--workers", "2"), ("--scheduler", "tcp://127.0.0.1:1")])
def test_memory_that_is_too_little_for_every_run_is_refused_first(study, cohort, more):
    pytest.importorskip("distributed")
    study.add("sub-01")
    study.add("sub-02")
    done = cohort("--algo", "tkd", "--memory-limit", "0.01", *more)
    assert (done.code, done.out) == (2, "")
    said = done.err.splitlines()[-1]
    assert said.startswith("error: --memory-limit: the smallest run, sub-0")
    assert f"may take {0.005 if '--workers' in more else 0.01:g} GiB; give more" in said
    assert ("fewer --workers" in said) == ("--workers" in more)
    assert not study.out.exists()


def test_dry_run_says_what_would_be_done_and_writes_nothing(study, cohort):
    pytest.importorskip("distributed")
    study.add("sub-01")
    study.add("sub-02_ses-a", mask=False)
    done = cohort("--dry-run", "--mask", "derivatives/bet/sub-{subject}/anat/*_mask.nii.gz")
    assert done.code == 0
    first, second = done.out.splitlines()
    assert first == f"sub-01: bids:{study.root}?subject=01&mask=derivatives/bet/sub-01/anat/sub-01_mask.nii.gz"
    assert second.startswith("sub-02_ses-a: ")
    assert "one mask is needed" in second
    assert "2 acquisitions, 0 of them done already" in done.err
    assert not study.out.exists()


def test_runs_that_are_refused_need_no_workers(study, cohort):
    """Two masks: known before anything is started, listed, and an exit code of 1."""
    pytest.importorskip("distributed")
    study.add("sub-01")
    study.add("sub-01_desc-b")
    for path in study.root.glob("sub-01/anat/*desc-b*"):
        path.unlink()
    done = cohort()
    assert done.code == 1
    assert "failed: sub-01: " in done.err
    assert "give it with --mask PATTERN" in done.err
    assert "0 of 1 maps are there" in done.out
    assert {path.name for path in study.out.iterdir()} == {
        ".bidsignore", "README.md", "dataset_description.json", "group_Chimap.html", "group_Chimap.json",
        "group_Chimap.tsv", "logs",
    }  # fmt: skip
    described = json.loads((study.out / "dataset_description.json").read_text())
    assert described["DatasetType"] == "derivative"
    assert described["GeneratedBy"][0]["Name"] == "qsm_recon"
    assert described["DatasetLinks"] == {"raw": study.root.as_uri()}
    assert described["SourceDatasets"] == [{"URL": "../study"}]


def test_a_folder_that_cannot_be_made_is_named(study, cohort, monkeypatch):
    """What a full disc does, which access() does not foresee."""
    pytest.importorskip("distributed")
    study.add("sub-01")

    def full(path, *_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr("pathlib.Path.mkdir", full)
    done = cohort()
    assert (done.code, done.out) == (2, "")
    expected = f"error: {study.out}: cannot be made (No space left on device); choose another OUT_DIR"
    assert done.err.splitlines()[-1] == expected


def test_a_command_that_is_interrupted_before_anything_is_done_leaves_no_folder(study, cohort, monkeypatch):
    pytest.importorskip("distributed")
    study.add("sub-01")

    def interrupt(**_):
        raise KeyboardInterrupt

    monkeypatch.setattr("distributed.LocalCluster", interrupt)
    done = cohort("--workers", "1")
    assert done.code == 130
    assert "interrupted; what is done stays, 1 are left" in done.err
    assert not study.out.exists()


def test_group_level_writes_table_and_page_anew(study, cohort):
    study.add("sub-01")
    Record("sub-09", {"sub": "09"}, FAILED, {}, reason="gone").write(study.out)
    done = cohort("--dry-run", level="group")
    assert (done.code, done.out) == (0, f"table and overview of 1 acquisitions: {study.out}/group_Chimap.tsv, .html\n")
    assert not (study.out / "group_Chimap.tsv").exists()
    done = cohort(level="group")
    where = f"overview: {study.out}/group_Chimap.html, table: group_Chimap.tsv\n"
    assert (done.code, done.out) == (1, f"0 of 1 maps are there; {where}")
    assert done.err == "failed: sub-09: gone\n"
    quiet = cohort("--quiet", level="group")
    assert (quiet.code, quiet.out, quiet.err) == (1, "", "failed: sub-09: gone\n")
    assert "gone" in (study.out / "group_Chimap.tsv").read_text()
    assert "gone" in (study.out / "group_Chimap.html").read_text()


def test_group_level_says_that_all_is_well(study, cohort):
    pytest.importorskip("distributed")
    study.add("sub-01")
    assert cohort("--algo", "tkd", "--workers", "1").code == 0
    done = cohort(level="group")
    where = f"overview: {study.out}/group_Chimap.html, table: group_Chimap.tsv\n"
    assert (done.code, done.out, done.err) == (0, f"1 of 1 maps are there; {where}", "")


def test_what_a_person_wrote_into_the_description_stays(study, cohort):
    pytest.importorskip("distributed")
    study.add("sub-01")
    study.add("sub-01_desc-b")
    for path in study.root.glob("sub-01/anat/*desc-b*"):
        path.unlink()
    cohort()
    path = study.out / "dataset_description.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "Name": "Ours", "Authors": ["A", "B"]}))
    (study.out / ".bidsignore").write_text("mine\n")
    cohort()
    assert json.loads(path.read_text())["Name"] == "Ours"
    assert json.loads(path.read_text())["Authors"] == ["A", "B"]
    assert (study.out / ".bidsignore").read_text() == "mine\n"


def test_script_of_a_slurm_job(study, cohort):
    pytest.importorskip("dask_jobqueue")
    study.add("sub-01")
    done = cohort(
        "--slurm-script", "--slurm-partition", "long", "--slurm-account", "lab", "--slurm-time", "02:00:00",
        "--threads", "4", "--memory-limit", "6", "--slurm-option=--qos=high", "--slurm-setup", "module load python",
    )  # fmt: skip
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert lines[0].startswith("#!")
    for line in ("#SBATCH -p long", "#SBATCH -A lab", "#SBATCH --cpus-per-task=4", "#SBATCH --mem=6G",
                 "#SBATCH -t 02:00:00", "#SBATCH --qos=high", "module load python"):  # fmt: skip
        assert line in lines
    (worker,) = [line for line in lines if "distributed" in line and not line.startswith("#")]
    assert worker.startswith(sys.executable)
    assert "--nthreads 1 " in worker
    assert f"#SBATCH --output={study.out}/logs/slurm/%j.txt" in lines
    assert not study.out.exists()


def test_subjects_without_images_are_told_of_in_one_line(study, cohort):
    pytest.importorskip("distributed")
    study.add("sub-01")
    assert "left out" not in cohort("--dry-run").err
    for number in range(2, 9):
        (study.root / f"sub-{number:02}" / "anat").mkdir(parents=True)
    done = cohort("--dry-run")
    assert done.code == 0
    (said,) = [line for line in done.err.splitlines() if "left out" in line]
    assert (
        "7 subject(s) without images *_MEGRE.nii[.gz] are left out: sub-02, sub-03, sub-04, sub-05, sub-06, …" in said
    )


def test_acquisitions_that_alone_have_no_mask_are_told_of(study, cohort):
    """The map of one whose brain extraction had failed covered skull and scalp, and a note in its report said so."""
    pytest.importorskip("distributed")
    for name in ("sub-01", "sub-02", "sub-03"):
        study.add(name, mask=name == "sub-02")
    done = cohort("--dry-run")
    assert done.code == 0
    (said,) = [line for line in done.err.splitlines() if "no mask" in line]
    assert "2 acquisition(s) have no mask under derivatives as others have" in said
    assert said.endswith("is made: sub-01, sub-03")
    assert "no mask" not in cohort("--dry-run", "--mask", "none").err
    assert "no mask" not in cohort("--dry-run", "--participant-label", "01", "03").err
