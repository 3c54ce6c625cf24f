"""A field that holds its background: refused, removed, or taken as it is."""

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from oracles.own import own_removals

from qsm_recon.background.registry import find_removal
from qsm_recon.commands import lcurve
from qsm_recon.datasets.files import case_from_files
from qsm_recon.io import save_image
from qsm_recon.report.outputs import _panels
from qsm_recon.units import ppm_to_hz

B0_TESLA, TIMES = 7.0, (0.004, 0.012, 0.020, 0.028)
SMALL_BALLS = {"vsharp": ("largest_radius=6", "smallest_radius=2.5"), "resharp": ("radius=3",), "ismv": ("radius=3",)}


def report(folder="out"):
    return json.loads((Path(folder) / "report.json").read_text())


def image(name, folder="out"):
    return np.asarray(nibabel.load(Path(folder) / name).dataobj)


def removal(name):
    return ("--background", name, *(w for text in SMALL_BALLS.get(name, ()) for w in ("--background-set", text)))


def wrapped_phase(field_ppm):
    """Phase of the four echoes at 7 T."""
    turns = ppm_to_hz(field_ppm, B0_TESLA)[..., None] * np.array(TIMES)
    return np.angle(np.exp(2j * np.pi * turns)).astype(np.float32)


def truth_error(scan, chi):
    inside = chi != 0
    a, b = (values[inside] - values[inside].mean() for values in (chi, scan.chi))
    return np.linalg.norm(a - b) / np.linalg.norm(b)


# ---- what is left of a mask ----


def test_a_removal_that_leaves_few_slices_is_refused_as_few_slices_are(scan, files, inputs, run):
    """One slice told three hundredths of a sphere's susceptibility, without a word."""
    middle = scan.mask.shape[2] // 2

    def slab(slices, *arguments):
        inside = np.zeros_like(scan.mask)
        inside[..., middle - slices // 2 :][..., :slices] = True
        mask = files.write("slab", inside & scan.mask)
        done = run("--field", "field.nii.gz", "--field-unit", "ppm", "--mask", mask, "--algo", "tkd", *arguments)
        return done.code, done.err

    code, said = slab(9, "--background", "lbv", "--background-set", "peel=3")
    assert code == 2
    assert "the mask that lbv leaves has 1 slice(s) along axis 3" in said
    assert "--background lbv or pdf" in said
    assert not Path("out").exists()
    code, said = slab(9, "--background", "lbv", "--background-set", "peel=1")
    assert (code, said.count("warning: the mask that lbv leaves is")) == (0, 1)
    assert any(note.startswith("warning: the mask that lbv leaves") for note in report()["input"]["notes"])
    assert slab(9, "--background", "pdf")[0] == 0


def test_a_method_that_leaves_few_slices_is_refused_likewise(scan, files, inputs, run):
    size = float(np.abs(scan.affine[2, 2]))
    inside = np.zeros_like(scan.mask)
    inside[..., scan.mask.shape[2] // 2 - 3 :][..., :7] = True
    mask = files.write("slab", inside & scan.mask)
    arguments = ("--field", "field.nii.gz", "--field-unit", "ppm", "--mask", mask, "--algo", "medi")
    done = run(*arguments, "--set", f"smv_radius={2.2 * size}")
    assert done.code == 2
    assert "the mask that medi leaves has 3 slice(s) along axis 3" in done.err
    assert not Path("out").exists()


# ---- the guard ----


@pytest.mark.parametrize("algorithm", ["tv", "fansi", "medi", "tkd"])
def test_a_total_field_is_refused_with_both_ways_out(files, inputs, run, algorithm):
    done = run(*inputs.total, "--algo", algorithm)
    assert (done.code, done.out) == (2, "")
    last = done.err.splitlines()[-1]
    assert last.startswith("error: total.nii.gz: sources outside the mask explain ")
    assert f"'{algorithm}' expects a local field" in last
    for way in ("--background vsharp", "--algo tfi", "--accept-background"):
        assert way in last
    assert not Path("out").exists()


def test_total_fields_from_echoes_are_refused_too(scan, files, inputs, run):
    phase = np.angle(
        np.exp(2j * np.pi * ppm_to_hz(scan.total, 7.0)[..., None] * np.array([0.004, 0.012, 0.020, 0.028]))
    )
    files.write("phases", phase.astype(np.float32))
    done = run(*inputs.echoes, "--algo", "tv")
    assert done.code == 2
    assert "phases.nii.gz (fit of the echoes): sources outside" in done.err
    assert not Path("out").exists()


@pytest.mark.parametrize("algorithm", ["tfi", "wh-qsm"])
def test_methods_with_a_background_of_their_own_take_it(files, inputs, run, algorithm):
    quick = "max_iterations=2"
    assert run(*inputs.total, "--algo", algorithm, "--set", quick).code == 3
    if algorithm == "tfi":
        assert report()["result"]["background"] == "present"


def test_insisting_is_noted(files, inputs, run):
    assert run(*inputs.total, "--algo", "tkd", "--accept-background").code == 0
    notes = " ".join(report()["input"]["notes"])
    assert "accepted as local (--accept-background), though sources outside the mask explain" in notes
    assert report()["background"] is None


def test_a_local_field_raises_no_alarm_and_needs_no_note(files, inputs, run):
    assert run(*inputs.field, "--algo", "tkd", "--accept-background").code == 0
    assert not [note for note in report()["input"]["notes"] if "accepted" in note]


def test_an_impossible_map_is_refused(scan, files, inputs, run):
    inside = scan.field[scan.mask]
    files.write("strong", 0.35 / np.median(np.abs(inside - np.median(inside))) * scan.field)
    arguments = ("--field", "strong.nii.gz", *inputs.field[2:], "--algo", "tkd")
    done = run(*arguments)
    assert done.code == 2
    assert "strong.nii.gz: the map deviates from its median by more than" in done.err
    assert "--accept-background insists" in done.err
    assert not Path("out").exists()
    assert run(*arguments, "--accept-background").code == 0
    assert "third of the mask" in report()["result"]["impossible_range"]


def test_lcurve_refuses_a_total_field(files, inputs, capsys):
    assert lcurve.main([*inputs.total, "--algo", "tkd", "--out", "session"]) == 2
    assert "--background vsharp" in capsys.readouterr().err
    assert not Path("session").exists()


# ---- removal ----


@pytest.mark.parametrize("name", list(own_removals()))
def test_removal_comes_before_the_reconstruction(scan, files, inputs, run, name):
    done = run(*inputs.total, "--algo", "medi", *removal(name), "--magnitude", "magnitude.nii.gz", "--keep-stages")
    assert done.code in (0, 3)
    described = report()["background"]
    assert described["name"] == name
    assert "doi 10." in described["citation"]
    declared = find_removal(name).declared()
    assert {key: entry["unit"] for key, entry in described["parameters"].items()} == {
        key: parameter.unit for key, parameter in declared.items()
    }
    mask, chi = image("stage_mask.nii.gz") > 0, image("chi.nii.gz")
    assert described["mask_voxels"] == mask.sum() == report()["geometry"]["mask_voxels"]
    assert described["given_mask_voxels"] == scan.mask.sum()
    assert (mask.sum() < scan.mask.sum()) == find_removal(name).erodes
    assert not chi[~mask].any()
    assert truth_error(scan, chi) < 0.75
    note = next(note for note in report()["input"]["notes"] if note.startswith("background: removed by"))
    assert f"valid in {mask.sum()} of {scan.mask.sum()} voxels" in note
    assert note in " ".join(done.err.split("note: "))
    total, local, background = (
        image(f"stage_{n}_ppm.nii.gz") for n in ("total_field", "local_field", "background_field")
    )
    np.testing.assert_allclose(total[scan.mask], scan.total[scan.mask], rtol=1e-6)
    np.testing.assert_allclose((local + background)[mask], total[mask], atol=1e-6)
    assert local[mask].std() < 0.3 * total[mask].std()
    assert report()["timings_s"]["background"] > 0


def test_parameters_of_the_removal_are_obeyed(files, inputs, run):
    settings = ("--background-set", "radius=3", "max_iterations=7", "--background-set", "tolerance=0")
    done = run(*inputs.total, "--algo", "tkd", "--background", "ismv", *settings)
    assert done.code == 0  # 3 is about the inversion
    (line,) = [line for line in done.err.splitlines() if "did not converge" in line]
    assert line.startswith("warning: background removal ismv did not converge: the iteration limit was reached after 7")
    assert "--background-set max_iterations=28" in line
    described = report()["background"]
    assert described["parameters"]["radius"]["value"] == 3
    assert described["iterations"] == 7
    assert not described["converged"]


def test_one_command_from_raw_echoes_writes_every_stage(scan, files, inputs, run):
    phase = np.angle(
        np.exp(2j * np.pi * ppm_to_hz(scan.total, 7.0)[..., None] * np.array([0.004, 0.012, 0.020, 0.028]))
    )
    files.write("phases", phase.astype(np.float32))
    assert run(*inputs.echoes, "--algo", "tkd", *removal("vsharp"), "--keep-stages").code == 0
    names = {path.name for path in Path("out").glob("stage_*")}
    expected = ("total_field_ppm", "background_field_ppm", "local_field_ppm", "given_mask", "mask", "field_noise_ppm")
    expected += ("r2star_per_s", "initial_phase_rad", "residual", "m0", "magnitude")
    assert names == {f"stage_{name}.nii.gz" for name in expected} == set(report()["stages"])
    for name in names:
        assert image(name).shape == scan.mask.shape
        np.testing.assert_allclose(nibabel.load(f"out/{name}").affine, scan.affine, atol=1e-5)
    assert report()["background"]["weighting"] == "noise"


def test_stages_are_written_on_request_only(files, inputs, run):
    run(*inputs.field, "--algo", "tkd")
    assert not list(Path("out").glob("stage_*"))
    assert report()["stages"] == []
    run(*inputs.field, "--algo", "tkd", "--keep-stages")
    assert {path.name for path in Path("out").glob("stage_*")} == {"stage_field_ppm.nii.gz", "stage_mask.nii.gz"}


def test_the_picture_shows_the_field_before_and_after(scan, files, inputs, run, monkeypatch):
    from qsm_recon.report import outputs

    shown = []
    monkeypatch.setattr(outputs, "_panels", lambda *given: shown.extend(_panels(*given)) or _panels(*given))
    run(*inputs.total, "--algo", "tkd", *removal("vsharp"), "--truth", "truth.nii.gz")
    assert [panel.name for panel in shown] == ["total field", "local field", "susceptibility", "error"]
    np.testing.assert_allclose(shown[0].values[scan.mask], scan.total[scan.mask], rtol=1e-6)
    assert shown[0].window > 2 * shown[1].window


def test_metrics_leave_out_what_the_removal_took_from_the_mask(scan, files, inputs, run):
    run(*inputs.total, "--algo", "tkd", *removal("vsharp"), "--truth", "truth.nii.gz")
    metrics, geometry = report()["metrics"], report()["geometry"]
    assert metrics["voxels"] == geometry["mask_voxels"]
    assert metrics["voxels_left_out"] == scan.mask.sum() - geometry["mask_voxels"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--background", "vsharpp"), "background removal 'vsharpp' is unknown; did you mean 'vsharp'"),
        (("--background", "lbv", "--background-set", "peal=1"), "'lbv' has no parameter 'peal'; did you mean 'peel'"),
        (("--background", "lbv", "--background-set", "peel"), "--background-set peel: expected NAME=VALUE"),
        (("--background", "lbv", "--background-set", "peel=99"), "peel: 99 is out of range"),
        (("--background-set", "peel=1"), "--background-set: give the method it belongs to"),
        (("--background", "resharp", "--background-set", "radius=40"), "no ball of 40 mm fits in the mask"),
        (("--background", "lbv", "--background-set", "peel=30"), "nothing of the mask is left"),
    ],
)
def test_bad_requests_are_one_clear_line(files, inputs, run, arguments, text):
    done = run(*inputs.total, "--algo", "tkd", *arguments)
    assert done.code == 2
    assert text in done.err.splitlines()[-1]
    assert not Path("out").exists()


def test_help_shows_the_parameters_of_a_removal(run):
    done = run("--background", "resharp", "--help")
    assert done.code == 0
    assert "background removal resharp: RESHARP" in done.out
    assert "radius: default" in done.out


def test_lcurve_removes_the_background_and_says_so_in_its_command(files, inputs, capsys):
    arguments = [
        *inputs.total,
        "--algo",
        "tkd",
        *removal("vsharp"),
        "--points",
        "5",
        "--refine",
        "0",
        "--out",
        "session",
    ]
    assert lcurve.main(arguments) in (0, 3)
    session = json.loads(Path("session/session.json").read_text())
    words = session["cases"][0]["arguments"]
    at = words.index("--background")
    assert words[at : at + 2] == ["--background", "vsharp"]
    assert "largest_radius=6" in words


def test_a_problem_from_files_says_that_it_does_not_know(scan, files):
    case = case_from_files(field="total.nii.gz", mask="mask.nii.gz", field_unit="ppm")
    assert case.problem.field_kind == "unknown"
    save_image("known.nii.gz", scan.total, scan.affine)
    assert case_from_files(field="known.nii.gz", mask="mask.nii.gz", field_kind="total").problem.field_kind == "total"
