"""One acquisition on its way to its place, in this process."""

import json
import os

import nibabel
import numpy as np
import pytest

from qsm_recon.cohort import command, derivatives
from qsm_recon.cohort.acquisitions import find_acquisitions
from qsm_recon.cohort.method import method_from_options
from qsm_recon.cohort.record import DONE, FAILED, is_done, read_record, record_path
from qsm_recon.cohort.worker import Task, deaths, perform, tidy
from qsm_recon.commands.reconstruct import Outcome
from qsm_recon.run import main as run_main
from qsm_recon.unfinished import machine

METHOD = ("--algo", "tkd", "--background", "vsharp", "--background-set", "largest_radius=4")


@pytest.fixture
def task(study):
    def make(name, *words):
        study.out.mkdir(exist_ok=True)
        (one,) = [found for found in find_acquisitions(study.root) if found.name == name]
        method = method_from_options(
            command.build_parser().parse_args([str(study.root), str(study.out), "participant", *words])
        )
        return Task(study.root, study.out, one, method.words, method.described)

    return make


def tree(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_run_leaves_its_map_with_all_that_goes_with_it(scan, study, task, tmp_path):
    study.add("sub-01_ses-a_run-1")
    study.add("sub-01_ses-a_run-2")
    one = task("sub-01_ses-a_run-2", *METHOD, "--keep-stages")
    record = perform(one)
    assert (record.status, record.reason) == (DONE, "")
    assert read_record(record_path(study.out, one.name)) == record
    assert is_done(study.root, study.out, one.acquisition, one.method)
    anat, stem = "sub-01/ses-a/anat", "sub-01_ses-a_run-2"
    stages = [f"sub-01/ses-a/qsm_recon/{stem}_stage_{name}.nii.gz" for name in
              ("background_field_ppm", "field_noise_ppm", "given_mask", "initial_phase_rad", "local_field_ppm",
               "magnitude", "mask", "r2star_per_s", "total_field_ppm")]  # fmt: skip
    expected = [f"{anat}/{stem}_Chimap.json", f"{anat}/{stem}_Chimap.nii.gz", f"{anat}/{stem}_desc-qsmrecon_mask.json",
                f"{anat}/{stem}_desc-qsmrecon_mask.nii.gz", f"sub-01/figures/{stem}_Chimap.png",
                f"sub-01/figures/{stem}_Chimap_report.json", f"sub-01/figures/{stem}_Chimap_thumbnail.jpg"]  # fmt: skip
    assert set(expected) <= set(record.outputs)
    assert set(stages) <= set(record.outputs)
    assert tree(study.out) == sorted([*record.outputs, f"logs/{stem}.json"])

    # The same as the command gives that the record names.
    assert run_main([*record.command, "--out", str(tmp_path / "single")]) == 0
    chi = nibabel.load(study.out / anat / f"{stem}_Chimap.nii.gz")
    alone = nibabel.load(tmp_path / "single/chi.nii.gz")
    np.testing.assert_array_equal(chi.get_fdata(), alone.get_fdata())
    np.testing.assert_array_equal(chi.affine, alone.affine)
    mask = nibabel.load(study.out / anat / f"{stem}_desc-qsmrecon_mask.nii.gz").get_fdata() > 0
    assert np.corrcoef(chi.get_fdata()[mask], scan.chi[mask])[0, 1] > 0.8
    assert not chi.get_fdata()[~mask].any()
    assert record.facts["volume"] == pytest.approx(mask.sum() * 3e-3)
    assert record.facts["chi_sd"] == pytest.approx(chi.get_fdata()[mask].std(), rel=1e-5)
    sidecar = json.loads((study.out / anat / f"{stem}_Chimap.json").read_text())
    assert sidecar["Units"] == "ppm"
    assert sidecar["Sources"] == [
        *(f"bids:raw:{image}" for image in one.acquisition.images),
        f"bids:raw:derivatives/bet/sub-01/ses-a/anat/{stem}_mask.nii.gz",
    ]
    assert sidecar["SkullStripped"] is True
    assert sidecar["BackgroundRemoval"]["Parameters"]["largest_radius"]["value"] == 4


def test_a_map_that_did_not_converge_arrives_with_a_warning(study, task):
    study.add("sub-01")
    record = perform(task("sub-01", "--algo", "fansi", "--accept-background", "--set", "max_iterations=2"))
    assert (record.status, record.facts["converged"], record.facts["iterations"]) == (DONE, False, 2)
    assert record.warnings[-1] == "did not converge: the iteration limit was reached"


def test_a_failure_leaves_its_reason_and_what_was_there_before(study, task):
    study.add("sub-01", mask=False)
    assert perform(task("sub-01", *METHOD, "--mask", "none")).status == DONE
    before = {path: path.read_bytes() for path in study.out.rglob("*") if path.is_file() and "logs" not in path.parts}
    study.file("sub-01", "echo-2_part-phase_MEGRE.nii.gz").unlink()
    record = perform(task("sub-01", *METHOD, "--mask", "none"))
    assert record.status == FAILED
    assert "magnitude of echoes [1, 2, 3] but phase of echoes [1, 3]" in record.reason
    assert record.traceback == ""
    assert {path: path.read_bytes() for path in before} == before
    assert len(tree(study.out)) == len(before) + 1


def test_maps_of_an_earlier_method_do_not_stay_beside_the_new_map(study, task):
    """Nor where a run failed in between; the files of another acquisition and of the user stay."""
    study.add("sub-01")
    study.add("sub-01_run-2")
    first = perform(task("sub-01", *METHOD, "--keep-stages"))
    other = perform(task("sub-01_run-2", *METHOD, "--keep-stages"))
    stages = {path for path in first.outputs if "_stage_" in path}
    assert len(stages) > 5
    mine = study.out / "sub-01/qsm_recon/sub-01_stage_mine.nii.gz"
    mine.write_text("x")
    echo = study.file("sub-01", "echo-2_part-phase_MEGRE.nii.gz")
    content = echo.read_bytes()
    echo.write_bytes(b"broken")
    failed = perform(task("sub-01", *METHOD))
    assert (failed.status, set(failed.left)) == (FAILED, set(first.outputs))
    assert set(first.outputs) <= set(tree(study.out))
    assert set(perform(task("sub-01", *METHOD)).left) == set(first.outputs)  # and fails again
    echo.write_bytes(content)
    last = perform(task("sub-01", *METHOD))
    assert (last.status, last.left) == (DONE, ())
    logs = ["logs/sub-01.json", "logs/sub-01_run-2.json"]
    kept = mine.relative_to(study.out).as_posix()
    assert tree(study.out) == sorted([*last.outputs, *other.outputs, *logs, kept])


def test_nothing_outside_of_the_results_is_removed(tmp_path):
    outside = tmp_path / "outside"
    outside.write_text("x")
    (tmp_path / "out/a").mkdir(parents=True)
    (tmp_path / "out/a/map").write_text("x")
    derivatives.remove_outdated(tmp_path / "out", ["../outside", str(outside), "a/map", "gone/map"])
    assert tree(tmp_path) == ["outside"]
    assert not (tmp_path / "out/a").exists()


def test_a_fault_of_the_program_is_a_failure_with_its_traceback(study, task, monkeypatch):
    study.add("sub-01")
    monkeypatch.setattr(derivatives, "facts_of", lambda *_: 1 / 0)
    record = perform(task("sub-01", *METHOD))
    assert (record.status, record.reason) == (FAILED, "a fault in the program: ZeroDivisionError: division by zero")
    assert "facts_of" in record.traceback


@pytest.mark.skipif(os.geteuid() == 0, reason="a superuser may write anywhere")
def test_a_folder_that_cannot_be_written(study, task):
    study.add("sub-01")
    one = task("sub-01", *METHOD)
    (study.out / "sub-01").mkdir(mode=0o500)
    assert perform(one).reason.startswith(f"{study.out}: cannot be written")


def test_attempts_that_died_are_counted_and_removed(study):
    for name in ("sub-01.3.x", "sub-01.4.y", "sub-010.5.z"):
        (study.out / ".unfinished" / name).mkdir(parents=True)
    assert deaths(study.out, "sub-01") == 2
    tidy(study.out, ["sub-01"])
    assert [path.name for path in (study.out / ".unfinished").iterdir()] == ["sub-010.5.z"]
    tidy(study.out, ["sub-010"])
    assert not (study.out / ".unfinished").exists()


def test_a_command_that_ends_leaves_alone_what_another_one_computes(study, task, monkeypatch):
    """Of two commands over the same acquisitions the first to end took the other's folder away: its run failed."""
    study.add("sub-01")
    write = Outcome.write

    def write_while_the_other_ends(outcome, folder, **more):
        tidy(study.out, ["sub-01"])
        write(outcome, folder, **more)
        tidy(study.out, ["sub-01"])

    monkeypatch.setattr(Outcome, "write", write_while_the_other_ends)
    record = perform(task("sub-01", *METHOD))
    assert (record.status, record.reason) == (DONE, "")
    assert (study.out / "sub-01/anat/sub-01_Chimap.nii.gz").stat().st_size == record.outputs[
        "sub-01/anat/sub-01_Chimap.nii.gz"
    ]
    assert not list((study.out / ".unfinished").iterdir())
    for name in (f"sub-01.{os.getpid()}.{machine()}.x", f"sub-01.{os.getpid()}.elsewhere.y"):
        (study.out / ".unfinished" / name).mkdir()
    tidy(study.out, ["sub-01"])
    assert [path.name for path in (study.out / ".unfinished").iterdir()] == [f"sub-01.{os.getpid()}.{machine()}.x"]
