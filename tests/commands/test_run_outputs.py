"""What ``python -m qsm_recon.run`` leaves behind."""

import hashlib
import json
import shlex
from pathlib import Path

import nibabel
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from qsm_recon import __version__
from qsm_recon.backend.fft import library_name
from qsm_recon.citations import dois
from qsm_recon.io import save_image
from qsm_recon.solvers.registry import find_solver

NAMES = ["chi.nii.gz", "figure.png", "report.json"]


def report(folder="out"):
    return json.loads((Path(folder) / "report.json").read_text(), parse_constant=pytest.fail)


def chi(folder="out"):
    return nibabel.load(Path(folder) / "chi.nii.gz")


def test_map_has_the_inputs_geometry_and_is_masked(scan, files, inputs, run):
    assert run(*inputs.field, "--algo", "tv").code == 0
    assert sorted(p.name for p in Path("out").iterdir()) == NAMES
    image = chi()
    assert image.get_data_dtype() == np.float32
    assert_allclose(image.affine, scan.affine, atol=1e-5)
    assert (image.header["sform_code"], image.header["qform_code"]) == (1, 1)
    values = image.get_fdata()
    assert values.shape == scan.mask.shape
    assert not values[~scan.mask].any()
    assert values[scan.mask].mean() == pytest.approx(0, abs=1e-6)
    assert np.corrcoef(values[scan.mask], scan.chi[scan.mask])[0, 1] > 0.9


def test_report_names_the_papers_of_the_terms(files, inputs, run):
    assert run(*inputs.field, "--algo", "admm", "--set", "regulariser=tgv", "--set", "max_iterations=2").code == 3
    assert dois(report()["algorithm"]["citation"]) == ("10.1002/mrm.27073", "10.1137/090769521")


def test_figure_is_a_picture(files, inputs, run):
    from matplotlib.image import imread

    run(*inputs.field, "--truth", "truth.nii.gz")
    picture = imread("out/figure.png")
    assert picture.shape[0] > 600
    assert picture.shape[1] > 600
    assert picture[..., :3].std() > 0.1


def test_report_tells_everything(scan, files, inputs, run):
    arguments = (*inputs.field, "--magnitude", "magnitude.nii.gz", "--b0", "7", "--te", "0.02", "--threads", "1")
    arguments = (*arguments, "--truth", "truth.nii.gz", "--labels", "labels.nii.gz", "--set", "tolerance=1e-3")
    assert run(*arguments).code == 0
    found = report()

    assert found["software"]["qsm_recon"] == __version__
    assert {"python", "system", "numpy", "scipy", "numba", "pyfftw", "nibabel", "matplotlib"} < set(found["software"])
    assert found["run"]["command"] == ["python", "-m", "qsm_recon.run", *arguments]
    assert shlex.split(found["run"]["command_line"]) == found["run"]["command"]
    assert found["run"]["threads"] == 1
    assert found["run"]["fft_library"] == library_name()
    assert found["run"]["memory_estimate_gib"] > 0
    assert found["run"]["date"].endswith("+00:00")

    described = found["input"]
    assert set(described["files"]) == {"field", "magnitude", "mask", "truth", "labels"}
    for entry in described["files"].values():
        assert entry["sha256"] == hashlib.sha256(Path(entry["source"]).read_bytes()).hexdigest()
    assert (described["b0_tesla"], described["echo_times_s"]) == (7, [0.02])
    assert described["phase_scale_origin"] == "from field strength and mean echo time"

    geometry = found["geometry"]
    assert geometry["shape"] == list(scan.mask.shape)
    assert_allclose(geometry["voxel_size_mm"], (1.5, 1, 2), rtol=1e-6)
    assert_allclose(geometry["affine"], scan.affine, atol=1e-5)
    assert_allclose(geometry["b0_direction_voxel_axes"], scan.grid.b0_direction, atol=1e-6)
    assert geometry["b0_angle_to_nearest_axis_deg"] == pytest.approx(20, abs=1e-3)
    assert geometry["mask_voxels"] == scan.mask.sum()

    declared = find_solver("fansi").declared()
    parameters = found["algorithm"]["parameters"]
    assert {name: entry["unit"] for name, entry in parameters.items()} == {n: p.unit for n, p in declared.items()}
    assert parameters["tolerance"]["value"] == 1e-3
    assert "10.1002" in found["algorithm"]["citation"]

    result = found["result"]
    assert result["unit"] == "ppm"
    assert result["converged"] is True
    assert result["zero_reference"] == "mean over the mask"
    assert result["stop_reason"]
    assert result["weighting"] == "magnitude"
    for name in ("objective", "update", "primal_residual_gradient"):
        assert len(found["history"][name]) == result["iterations"] > 20
    inside = np.asarray(chi().dataobj)[scan.mask]
    assert result["statistics_in_mask"]["standard_deviation"] == pytest.approx(inside.std(), rel=1e-5)
    assert result["voxels_sha256"] == hashlib.sha256(np.asarray(chi().dataobj).tobytes(order="C")).hexdigest()
    assert set(found["timings_s"]) >= {"read", "solve", "metrics"}
    assert all(seconds >= 0 for seconds in found["timings_s"].values())
    assert found["metrics"]["nrmse"] > 0
    assert found["metrics"]["calcification_moment_deviation"] is None
    assert found["metrics"]["not_computed"]["calcification_moment_deviation"]


def test_metrics_need_a_truth(files, inputs, run):
    done = run(*inputs.field, "--algo", "tkd")
    assert report()["metrics"] == {}
    assert "nrmse" not in done.out
    done = run(*inputs.field, "--algo", "tkd", "--truth", "truth.nii.gz")
    assert "nrmse" in done.out
    assert report()["metrics"]["dnrmse_blood"] is None  # without labels
    assert report()["metrics"]["nrmse"] > 0


def test_running_the_recorded_command_again_gives_the_same_map(files, inputs, run):
    run(*inputs.field, "--magnitude", "magnitude.nii.gz", "--regularisation", "3e-4", "--set", "padding=3")
    first, recorded = chi().get_fdata(), report()
    program = ["python", "-m", "qsm_recon.run"]
    assert recorded["run"]["command"][:3] == program
    assert run(*recorded["run"]["command"][3:], "--out", "again").code == 0
    assert_allclose(chi("again").get_fdata(), first, atol=1e-5 * np.abs(first).max())
    repeated = report("again")
    for section in ("software", "input", "geometry", "algorithm"):
        assert repeated[section] == recorded[section]


def test_threads_change_nothing_beyond_rounding(files, inputs, run):
    for count in ("1", "3"):
        run(*inputs.field, "--threads", count, "--out", f"out{count}", "--set", "max_iterations=30")
        assert report(f"out{count}")["run"]["threads"] == int(count)
    first = chi("out1").get_fdata()
    assert_allclose(chi("out3").get_fdata(), first, atol=1e-4 * np.abs(first).max())


@pytest.mark.parametrize("unit", ["Hz", "rad"])
def test_units_of_the_field_lead_to_the_same_map(files, inputs, run, unit):
    tail = ("--mask", "mask.nii.gz", "--algo", "tikhonov", "--b0", "7", "--te", "0.02")
    assert run("--field", "field.nii.gz", "--field-unit", "ppm", *tail, "--out", "ppm").code == 0
    assert run("--field", f"{unit.lower()}.nii.gz", "--field-unit", unit, *tail, "--out", "other").code == 0
    assert_allclose(chi("other").get_fdata(), chi("ppm").get_fdata(), atol=1e-6)
    assert any(f"from {unit} to ppm" in note for note in report("other")["input"]["notes"])


def test_storage_order_does_not_matter(scan, files, inputs, run):
    """The same head stored with permuted and reversed axes gives the same map, in its own storage order."""
    order = (2, 0, 1)

    def stored(image):
        return np.ascontiguousarray(image.transpose(order)[::-1, :, ::-1])

    shape = stored(scan.mask).shape
    move = np.zeros((4, 4))
    for new, old in enumerate(order):
        move[old, new] = 1
    move[3, 3] = 1
    reverse = np.diag([-1.0, 1, -1, 1])
    reverse[[0, 2], 3] = (shape[0] - 1, shape[2] - 1)
    affine = scan.affine @ move @ reverse
    files.write("turned", stored(scan.field), affine)
    files.write("turned_mask", stored(scan.mask), affine)
    tail = ("--algo", "tkd", "--set", "kernel=continuous")
    run(*inputs.field, *tail)
    turned = ("--field", "turned.nii.gz", "--field-unit", "ppm", "--mask", "turned_mask.nii.gz", "--out", "turned")
    assert run(*turned, *tail).code == 0
    assert_allclose(chi("turned").affine, affine, atol=1e-5)
    assert_allclose(chi("turned").get_fdata(), stored(chi().get_fdata()), atol=1e-6)
    # what a viewer shows at one point of the scanner is the same
    voxel = np.argwhere(scan.labels == 2)[0]
    world = scan.affine @ [*voxel, 1]
    other = tuple(np.rint(np.linalg.solve(affine, world)[:3]).astype(int))
    assert chi("turned").get_fdata()[other] == pytest.approx(chi().get_fdata()[tuple(voxel)], abs=1e-6)


def test_direction_of_the_field_can_be_given(files, inputs, run):
    run(*inputs.field, "--algo", "tkd")
    run(*inputs.field, "--algo", "tkd", "--b0-direction", "0", "-0.5", "1", "--out", "given")
    assert_allclose(report("given")["geometry"]["b0_direction_voxel_axes"], np.array([0, -0.5, 1]) / np.sqrt(1.25))
    assert np.abs(chi("given").get_fdata() - chi().get_fdata()).max() > 1e-3


def test_echoes_give_field_and_facts(scan, files, inputs, run):
    assert run(*inputs.echoes, "--algo", "tikhonov").code == 0
    found = report()
    assert found["input"]["field_estimate"]["method"] == "fit"
    assert "sha256" in found["input"]["files"]["phase"]
    inside = np.asarray(chi().dataobj)[scan.mask]
    run(*inputs.field, "--algo", "tikhonov", "--out", "exact")
    assert np.corrcoef(inside, np.asarray(chi("exact").dataobj)[scan.mask])[0, 1] > 0.99
    assert run(*inputs.echoes, "--algo", "tikhonov", "--field-estimate", "difference", "--out", "other").code == 0
    assert report("other")["input"]["field_estimate"]["method"] == "difference"
    assert not np.array_equal(np.asarray(chi("other").dataobj)[scan.mask], inside)


def test_one_file_per_echo_has_one_checksum_each(scan, files, inputs, run):
    names = {"phase": [], "magnitude": []}
    for part, found in names.items():
        for index in range(4):
            found.append(files.write(f"echo-{index + 1}_{part}", getattr(scan, part)[..., index]))
    head = ("--phase", *names["phase"], "--magnitude", *names["magnitude"], "--mask", "mask.nii.gz", "--b0", "7")
    assert run(*head, "--te", "0.004", "0.012", "0.02", "0.028", "--algo", "tkd").code == 0
    listed = report()["input"]["files"]["phase"]["sha256"]
    assert listed == [hashlib.sha256(Path(name).read_bytes()).hexdigest() for name in names["phase"]]
    assert run(*inputs.echoes, "--algo", "tkd", "--out", "together").code == 0
    assert_array_equal(chi().get_fdata(), chi("together").get_fdata())


def test_zero_reference(scan, files, inputs, run):
    region = scan.labels == 8
    files.write("region", region)
    maps = {}
    for choice in ("none", "mean", "region.nii.gz"):
        assert run(*inputs.field, "--algo", "tikhonov", "--reference", choice, "--out", f"out-{choice}").code == 0
        maps[choice] = chi(f"out-{choice}").get_fdata()
    assert maps["mean"][scan.mask].mean() == pytest.approx(0, abs=1e-6)
    assert maps["region.nii.gz"][region].mean() == pytest.approx(0, abs=1e-6)
    shift = (maps["region.nii.gz"] - maps["none"])[scan.mask]
    assert_allclose(shift, shift[0], atol=1e-6)
    assert abs(shift[0]) > 1e-3
    found = report("out-region.nii.gz")
    assert found["result"]["zero_reference"] == "mean over region.nii.gz"
    assert "sha256" in found["input"]["files"]["reference"]


def test_what_is_zero_in_the_map_is_what_the_report_says(scan, files, inputs, run):
    """Of medi it said "as reconstructed" of a map whose mean was zero, and "fluid" of one whose fluid was not."""
    assert run(*inputs.field, "--algo", "medi", "--set", "max_iterations=1").code == 3
    assert report()["result"]["zero_reference"] == "mean over the mask"
    assert chi().get_fdata()[scan.mask].mean() == pytest.approx(0, abs=1e-6)
    fluid = np.zeros_like(scan.mask)
    x, y, z = (n // 2 for n in scan.mask.shape)
    fluid[x - 1 : x + 2, y - 1 : y + 2, z - 1 : z + 2] = True
    signal = scan.magnitude[..., :1] * np.where(fluid, 0.999, 0.8)[..., None] ** np.arange(scan.phase.shape[-1])
    files.write("magnitudes", signal.astype(np.float32))
    settings = ("--set", "csf_weight=10", "--set", "max_iterations=1")
    words = (*inputs.echoes, "--algo", "medi", *settings, "--accept-background")
    means = {}
    for choice in ("auto", "mean", "none"):
        assert run(*words, "--reference", choice, "--html", "--out", f"out-{choice}").code in (0, 3)
        means[choice] = chi(f"out-{choice}").get_fdata()
    found = nibabel.load("out-auto/csf_mask.nii.gz").get_fdata() > 0
    assert found.any()
    assert_array_equal(means["auto"], means["none"])
    assert means["auto"][found].mean() == pytest.approx(0, abs=1e-6)
    assert means["mean"][scan.mask].mean() == pytest.approx(0, abs=1e-6)
    assert abs(means["mean"][found].mean()) > 1e-4
    said = f"mean over the cerebrospinal fluid, {int(found.sum())} voxels (csf_mask)"
    assert report("out-auto")["result"]["zero_reference"] == said
    assert f"Zero is the {said}" in Path("out-auto/report.html").read_text()
    assert report("out-mean")["result"]["zero_reference"] == "mean over the mask"
    assert report("out-none")["result"]["zero_reference"] == "none"


def test_regularisation_sets_the_main_parameter_whatever_its_name(files, inputs, run):
    for algorithm, name in (("tkd", "threshold"), ("tikhonov", "regularisation_weight")):
        for option, folder in ((("--regularisation", "0.15"), "a"), (("--set", f"{name}=0.15"), "b")):
            assert run(*inputs.field, "--algo", algorithm, *option, "--out", folder).code == 0
        assert report("a")["algorithm"]["parameters"][name]["value"] == 0.15
        assert_array_equal(chi("a").get_fdata(), chi("b").get_fdata())


def test_not_converged_is_written_and_marked(files, inputs, run):
    done = run(*inputs.field, "--set", "max_iterations=2")
    assert done.code == 3
    assert "did not converge" in done.err
    found = report()
    assert found["result"]["converged"] is False
    assert found["result"]["stop_reason"] == "the iteration limit was reached"
    assert sorted(p.name for p in Path("out").iterdir()) == NAMES


def test_truth_and_labels_for_a_data_set_without_its_own(scan, files, inputs, run):
    folder = files.folder / "contract" / "inputs"
    folder.mkdir(parents=True)
    save_image(folder / "localfield.nii.gz", scan.field, scan.affine)
    save_image(folder / "mask.nii.gz", scan.mask, scan.affine)
    (folder / "params.json").write_text(
        json.dumps({"TE": [0.02], "B0": 7.0, "B0_dir": [0, 0, 1], "voxel_size": [1.5, 1, 2]})
    )
    done = run("--dataset", "qsmci:contract", "--truth", "truth.nii.gz", "--labels", "labels.nii.gz", "--algo", "tkd")
    assert done.code == 0, done.err
    assert report()["metrics"]["dnrmse_blood"] > 0
    assert report()["input"]["files"]["truth"]["source"] == "truth.nii.gz"


def test_further_maps_are_written_and_listed(scan, files, inputs, run):
    assert run(*inputs.field, "--algo", "wh-qsm", "--set", "max_iterations=5").code == 3
    listed = report()["result"]["further_maps"]
    assert sorted([*NAMES, *listed]) == sorted(p.name for p in Path("out").iterdir())
    assert listed
    for name in listed:
        image = nibabel.load(Path("out") / name)
        assert (image.shape, image.get_data_dtype()) == (scan.mask.shape, np.float32)
        assert_allclose(image.affine, scan.affine, atol=1e-5)


def test_a_second_run_replaces_the_first(files, inputs, run):
    run(*inputs.field, "--algo", "tkd")
    run(*inputs.field, "--algo", "tikhonov")
    assert report()["algorithm"]["name"] == "tikhonov"
    assert sorted(p.name for p in Path("out").iterdir()) == NAMES


def test_quiet_prints_nothing_and_otherwise_the_last_line_says_where_to_look(files, inputs, run):
    done = run(*inputs.field, "--algo", "tkd", "--quiet")
    assert (done.out, done.err) == ("", "")
    done = run(*inputs.field, "--algo", "tkd")
    assert done.out.splitlines()[-1].endswith("are in out/")
    assert "memory: about" in done.err
    assert "20.0° off the nearest axis" in done.err


def test_the_package_log_is_left_as_it_was(files, inputs, run):
    import logging

    log = logging.getLogger("qsm_recon")
    before = log.handlers[:], log.level, log.propagate
    run(*inputs.field, "--algo", "tkd")
    assert (log.handlers, log.level, log.propagate) == before


def test_sources_longer_than_any_file_name_are_described_as_they_are(tmp_path):
    from qsm_recon.report.document import _describe_source

    names = [tmp_path / f"{'echo' * 50}-{number}.nii" for number in range(20)]
    for name in names:
        name.write_bytes(name.name.encode())
    listed = ", ".join(map(str, names))
    assert len(listed) > 4096, "longer than a path may be"
    digests = [hashlib.sha256(name.read_bytes()).hexdigest() for name in names]
    assert _describe_source(listed) == {"source": listed, "sha256": digests}
    text = f"phantom ({'x' * 5000})"
    assert _describe_source(text) == {"source": text}


def test_without_a_mask_one_is_made_shown_and_reported(scan, files, inputs, run):
    """The picture shows the magnitude beyond the mask, and the mask's outline."""
    echoes = [word for word in inputs.echoes if word not in ("--mask", "mask.nii.gz")]
    assert run(*inputs.echoes, "--algo", "tkd", "--out", "given", "--quiet").code == 0
    assert run(*echoes, "--algo", "tkd", "--out", "made", "--quiet").code == 0
    made, given = report("made"), report("given")
    assert made["input"]["files"]["mask"]["source"].startswith("made from phase quality")
    assert any(note.startswith("mask: none given") for note in made["input"]["notes"])
    assert made["geometry"]["mask_voxels"] == pytest.approx(given["geometry"]["mask_voxels"], rel=0.1)
    from matplotlib.image import imread

    orange = np.abs(imread("made/figure.png")[..., :3] - (1.0, 0.498, 0.055)).max(axis=-1) < 0.1
    assert np.count_nonzero(orange) > 500
    inside = scan.mask & (chi("made").get_fdata() != 0)
    pair = [chi(folder).get_fdata()[inside] for folder in ("made", "given")]
    assert np.corrcoef(*pair)[0, 1] > 0.95


def test_two_passes_are_said_and_their_mask_is_kept(scan, files, inputs, run):
    done = run(*inputs.echoes, "--algo", "tkd", "--two-pass")
    assert done.code == 0
    found = report()["result"]
    assert "unreliable_voxels" in found["two_pass"]
    assert "Two passes:" in done.err
    done = run(*inputs.field, "--algo", "tkd", "--two-pass", "--out", "other", "--quiet")
    assert done.code == 2
    assert "--magnitude" in done.err


def test_bipolar_and_residual_are_in_the_report(scan, files, inputs, run):
    signs = np.array([1, -1, 1, -1])
    files.write("phases", np.angle(np.exp(1j * (scan.phase + 0.4 * signs))).astype(np.float32))
    done = run(*inputs.echoes, "--algo", "tkd")
    assert done.code == 0
    assert "note: echoes: bipolar readout" in done.err
    estimate = report()["input"]["field_estimate"]
    assert estimate["bipolar"] is True
    assert estimate["bipolar_test"]["phase_rad"] == pytest.approx(0.4, abs=0.05)
    assert estimate["median_residual"] < 0.02
    found = chi().get_fdata()
    files.write("phases", scan.phase)
    run(*inputs.echoes, "--algo", "tkd", "--out", "plain", "--quiet")
    assert_allclose(found[scan.mask], chi("plain").get_fdata()[scan.mask], atol=5e-3)
    assert run(*inputs.echoes, "--algo", "tkd", "--bipolar", "yes", "--quiet").code == 0


def test_a_map_that_looks_inverted_is_warned_of(scan, files, inputs, run):
    """Veins: few, dark and paramagnetic."""
    veins = np.random.default_rng(0).random(scan.mask.shape) < 0.02
    files.write("veins", np.where(scan.mask, scan.field + 0.2 * veins, 0).astype(np.float32))
    files.write("inverted", np.where(scan.mask, -scan.field - 0.2 * veins, 0).astype(np.float32))
    files.write("dark", np.where(veins, 0.6, 1.0).astype(np.float32))
    common = ("--field-unit", "ppm", "--mask", "mask.nii.gz", "--magnitude", "dark.nii.gz", "--algo", "tkd")
    assert "looks inverted" not in run("--field", "veins.nii.gz", *common).err
    assert "looks inverted" in run("--field", "inverted.nii.gz", *common).err
    assert any("--phase-sign" in warning for warning in report()["result"]["warnings"])
