"""The command ``python -m qsm_recon.evaluate``."""

import importlib
import json
import subprocess
import sys

import numpy as np
import pytest

from qsm_recon.evaluate import main
from qsm_recon.io import save_image
from qsm_recon.metrics import OFFICIAL_METRICS, SIMILARITY_METRICS, combine_cases, evaluate
from qsm_recon.report.error_figure import error_figure

evaluate_module = importlib.import_module("qsm_recon.commands.evaluate")
KEYS = [*OFFICIAL_METRICS, *SIMILARITY_METRICS]
AFFINE = np.diag([1.0, 1.0, 2.0, 1.0])


@pytest.fixture
def files(head, tmp_path, monkeypatch):
    """The case as files in the current folder."""
    monkeypatch.chdir(tmp_path)
    save_image("truth.nii.gz", head.truth, AFFINE)
    save_image("mask.nii.gz", head.mask, AFFINE)
    save_image("labels.nii.gz", head.labels, AFFINE)
    save_image("chi.nii.gz", head.reconstruction, AFFINE)
    return head


def keep(function, results):
    """The same function, whose results are kept."""

    def kept(*arguments):
        results.append(function(*arguments))
        return results[-1]

    return kept


CASE = ["--truth", "truth.nii.gz", "--mask", "mask.nii.gz", "--labels", "labels.nii.gz"]


def test_json_is_exactly_the_metrics(files, capsys):
    assert main(["chi.nii.gz", *CASE, "--json", "--no-figure"]) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert list(found) == KEYS
    expected = evaluate(files.reconstruction, files.truth, files.mask, files.labels)
    assert found == pytest.approx(expected.values, abs=1e-12)
    assert "its mean over the mask" in captured.err, "warnings are no part of the JSON"
    assert main(["chi.nii.gz", *CASE, "--json", "--no-figure", "--variant", "community"]) == 0
    community = evaluate(files.reconstruction, files.truth, files.mask, files.labels, variant="community")
    assert json.loads(capsys.readouterr().out) == pytest.approx(community.values, abs=1e-12)


def test_missing_labels_are_null_with_the_reason(files, capsys):
    assert main(["chi.nii.gz", *CASE[:4], "--json", "--no-figure"]) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert found["dnrmse_blood"] is None
    assert found["nrmse"] > 0
    assert "dnrmse_blood" in captured.err
    assert "no label map was given" in captured.err


def test_listing_and_error_map(files, tmp_path, capsys):
    before = set(tmp_path.iterdir())
    assert main(["chi.nii.gz", *CASE]) == 0
    assert set(tmp_path.iterdir()) == before, "nothing is written where no folder is given"
    assert "error map" not in capsys.readouterr().out
    assert main(["chi.nii.gz", *CASE, "--out", "."]) == 0
    text = capsys.readouterr().out
    for name in KEYS:
        assert name in text
    assert "error map: chi_error.png" in text
    assert (tmp_path / "chi_error.png").read_bytes().startswith(b"\x89PNG")


def test_a_map_that_is_refused_leaves_nothing_of_those_before_it(files, tmp_path, capsys):
    """Their error maps were written already, beside the scores of an earlier evaluation."""
    assert main(["chi.nii.gz", "missing.nii.gz", *CASE, "--out", "scores"]) == 2
    assert "missing.nii.gz: no such file" in capsys.readouterr().err
    assert not (tmp_path / "scores").exists()


def test_a_folder_that_cannot_be_written_is_told_of_before_anything_is_scored(files, tmp_path, capsys):
    (tmp_path / "scores").write_text("in the way")
    for out in ("scores", "scores/below"):
        assert main(["missing.nii.gz", *CASE, "--out", out]) == 2
        assert f"--out {out}: '{tmp_path / 'scores'}' is not a folder that can be written" in capsys.readouterr().err


def test_maps_in_folders_of_one_name_get_error_maps_of_their_own(files, tmp_path, monkeypatch, capsys):
    for folder in ("a", "work/a"):
        save_image(f"{folder}/chi.nii.gz", files.reconstruction, AFFINE)
    monkeypatch.chdir(tmp_path / "work")
    case = [word if word.startswith("--") else f"../{word}" for word in CASE]
    titles = []
    monkeypatch.setattr(evaluate_module, "_title", keep(evaluate_module._title, titles))
    assert main(["../a/chi.nii.gz", "a/chi.nii.gz", *case, "--out", "."]) == 0
    assert [title.splitlines()[0] for title in titles] == ["../a/chi.nii.gz", "a/chi.nii.gz"]
    assert capsys.readouterr().out.splitlines()[-2:] == ["error map: a_chi_error.png", "error map: a_chi_2_error.png"]
    assert {path.name for path in (tmp_path / "work").glob("*.png")} == {"a_chi_error.png", "a_chi_2_error.png"}


def test_many_files_are_ranked(files, tmp_path, capsys):
    save_image("other/chi.nii.gz", files.truth + 0.1 * (files.reconstruction - files.truth), AFFINE)
    assert main(["chi.nii.gz", "other/chi.nii.gz", *CASE, "--json", "--out", "scores"]) == 0
    found = json.loads(capsys.readouterr().out)
    first, second = found["reconstructions"]
    assert found["variant"] == "rc2"
    assert first["files"] == ["other/chi.nii.gz"]
    assert (first["place"], second["place"]) == (1, 2)
    assert first["top_five_appearances"] is second["top_five_appearances"] is None, "of two, both are among five"
    assert list(first["scores"]) == KEYS
    assert json.loads((tmp_path / "scores" / "scores.json").read_text()) == found
    assert sorted(path.name for path in (tmp_path / "scores").glob("*.png")) == [
        "chi_error.png",
        "other_chi_error.png",
    ]
    assert main(["chi.nii.gz", "other/chi.nii.gz", *CASE, "--no-figure"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "of 5 maps or fewer all are among the five best" in lines[0]
    assert "top five" not in lines[1]
    assert lines[2].split()[0] == "1"
    assert lines[2].endswith("other/chi.nii.gz")


def test_of_more_than_five_the_top_five_counts(files, capsys):
    names = [f"map{number}.nii.gz" for number in range(6)]
    for number, name in enumerate(names):
        save_image(name, files.truth + (0.1 + 0.2 * number) * (files.reconstruction - files.truth), AFFINE)
    assert main([*names, *CASE, "--json"]) == 0
    counts = [entry["top_five_appearances"] for entry in json.loads(capsys.readouterr().out)["reconstructions"]]
    assert counts[0] == 8
    assert counts[-1] < 5
    assert main([*names, *CASE]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[:3] == ["place", "top", "five"]
    assert lines[2].split()[:2] == ["1", "8"]


def test_options_are_written_out_and_misspelt_ones_named(capsys):
    """As of every command: an abbreviation could mean something else one day."""
    for word, hint in (("--trut", "--truth"), ("--labls", "--labels")):
        with pytest.raises(SystemExit) as stopped:
            main(["chi.nii.gz", *CASE[:4], word, "x.nii.gz"])
        assert stopped.value.code == 2
        said = capsys.readouterr().err
        assert said == f"error: unknown argument {word}; did you mean '{hint}'?; --help shows what there is\n"


def test_two_simulations_are_combined(files, capsys):
    save_image("chi2.nii.gz", 0.5 * files.reconstruction, AFFINE)
    second = ["--sim2", "chi2.nii.gz", "--sim2-truth", "truth.nii.gz", "--sim2-mask", "mask.nii.gz"]
    arguments = ["chi.nii.gz", *CASE, *second, "--sim2-labels", "labels.nii.gz", "--no-figure"]
    assert main([*arguments, "--json"]) == 0
    case = (files.truth, files.mask, files.labels)
    expected = combine_cases(evaluate(files.reconstruction, *case), evaluate(0.5 * files.reconstruction, *case))
    assert json.loads(capsys.readouterr().out) == pytest.approx(expected.values, abs=1e-12)
    assert main(arguments) == 0
    assert "combined" in capsys.readouterr().out


def assert_refused(capsys, arguments, *words):
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert captured.err.startswith("error: ")
    for word in words:
        assert word in captured.err


def test_bad_input_gives_one_line_and_code_two(files, capsys):
    save_image("cropped.nii.gz", files.reconstruction[1:], AFFINE)
    save_image("shifted.nii.gz", files.reconstruction, AFFINE + np.eye(4, k=3))
    save_image("interpolated.nii.gz", files.labels + 0.5, AFFINE)
    save_image("hole.nii.gz", np.where(files.labels == 16, np.nan, files.truth), AFFINE)
    assert_refused(capsys, ["cropped.nii.gz", *CASE], "cropped.nii.gz", "truth.nii.gz", "(43, 46, 42)", "(44, 46, 42)")
    assert_refused(capsys, ["shifted.nii.gz", *CASE], "shifted.nii.gz", "truth.nii.gz", "affine")
    assert_refused(capsys, ["absent.nii.gz", *CASE], "absent.nii.gz", "no such file")
    assert_refused(capsys, ["chi.nii.gz", *CASE[:4], "--labels", "interpolated.nii.gz"], "interpolated.nii.gz", "whole")
    assert_refused(capsys, ["chi.nii.gz", "--truth", "hole.nii.gz", *CASE[2:]], "hole.nii.gz", "not finite")
    assert_refused(capsys, ["chi.nii.gz", "chi.nii.gz", *CASE], "twice")
    assert_refused(capsys, ["chi.nii.gz", *CASE, "--sim2", "cropped.nii.gz"], "--sim2-truth")


def test_a_map_in_another_unit_is_remarked_on(files, capsys):
    save_image("ppb.nii.gz", 1000 * files.reconstruction, AFFINE)
    assert main(["ppb.nii.gz", *CASE, "--no-figure"]) == 0
    said = capsys.readouterr().err
    assert "ppb.nii.gz" in said
    assert "are both in ppm?" in said


def test_runs_as_a_module(files):
    command = [sys.executable, "-m", "qsm_recon.evaluate", "chi.nii.gz", *CASE, "--no-figure", "--json"]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert list(json.loads(finished.stdout)) == KEYS
    finished = subprocess.run([*command[:3], "absent.nii", *CASE], capture_output=True, text=True, check=False)
    assert finished.returncode == 2
    assert finished.stderr == "error: absent.nii: no such file\n"


def test_the_listing_has_units(files, capsys):
    assert main(["chi.nii.gz", *CASE, "--no-figure"]) == 0
    lines = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines()[1:]}
    assert lines["nrmse"][1:] == ["%"]
    assert lines["calcification_moment_deviation"][1:] == ["ppm·voxels"]
    assert lines["xsim"][1:] == []


@pytest.mark.parametrize("first", [1.0, -1.0])
def test_error_figure_names_left_and_right(head, first):
    """Whatever the direction of storage, the subject's right is on the right."""
    affine = np.diag([first, 1.0, 2.0, 1.0])
    spot = head.truth.copy()
    spot[40, 23, 20] = 5  # towards the end of the first axis
    figure = error_figure(head.reconstruction, spot, head.mask, affine=affine)
    axial, coronal, sagittal = figure.axes[0], figure.axes[3], figure.axes[6]
    letters = [[text.get_text() for text in axis.texts] for axis in (axial, coronal, sagittal)]
    assert letters == [list("LRPA"), list("LRIS"), list("PAIS")]
    assert axial.get_ylabel().startswith("axial, k = ")
    plane = int(axial.get_ylabel().rpartition(" ")[2])
    spot[:, :, plane] = spot[:, :, 20]
    image = np.asarray(error_figure(head.reconstruction, spot, head.mask, affine=affine).axes[0].images[0].get_array())
    column = np.argwhere(image > 2)[0][1]
    assert (column > image.shape[1] / 2) == (first > 0)


def test_error_figure_shows_what_is_scored(head):
    figure = error_figure(head.reconstruction, head.truth, head.mask, voxel_size_mm=(1, 1, 2), title="t")
    axes = figure.axes[:9]
    assert [axis.get_title() for axis in axes[:3]] == ["truth", "reconstruction", "error"]
    truth, reconstruction, error = (np.asarray(axis.images[0].get_array()) for axis in axes[:3])
    np.testing.assert_allclose(error, reconstruction - truth, atol=1e-12)
    assert np.ptp(error) > 0
    # a constant offset is no error: both maps are shown less their means
    shifted = error_figure(head.truth + 5, head.truth, head.mask)
    assert max(np.abs(axis.images[0].get_array()).max() for axis in shifted.axes[2:9:3]) < 1e-9
