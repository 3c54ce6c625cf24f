"""The tuning command and the option of the reconstruction command, as a user runs them."""

import json
import shlex

import numpy as np
import pytest

from qsm_recon.commands import lcurve
from qsm_recon.io import load_image, save_image
from qsm_recon.parameters import parse_settings
from qsm_recon.report.tuning import TuningSession
from qsm_recon.select.session import SessionCase
from qsm_recon.solvers.registry import make_solver

FAST = ("--algo", "tikhonov", "--points", "7")


def test_a_session_from_files(on_disk, tmp_path, capsys):
    folder = tmp_path / "session"
    assert lcurve.main([*FAST, "--out", str(folder), *on_disk]) == 0
    said = capsys.readouterr()
    assert "regularisation_weight = " in said.out
    assert "auto" in said.out
    assert "7 points from" in said.err
    assert (folder / "session.html").exists()
    session = TuningSession.open(folder)
    assert all(0 < point.metrics["nrmse"] < 200 for point in session.points)
    assert session.error_at(session.pick()) < 1.3 * min(point.metrics["nrmse"] for point in session.points)


def test_the_same_command_again_computes_nothing(on_disk, tmp_path, capsys):
    folder = tmp_path / "session"
    lcurve.main([*FAST, "--out", str(folder), *on_disk])
    before = {path: path.stat().st_mtime_ns for path in folder.glob("points/*")}
    capsys.readouterr()
    assert lcurve.main([*FAST, "--out", str(folder), *on_disk]) == 0
    assert "going on after 9 points" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in folder.glob("points/*")} == before


def test_the_maps_of_a_session_can_be_written(on_disk, small, tmp_path, capsys):
    folder = tmp_path / "session"
    lcurve.main([*FAST, "--out", str(folder), "--quiet", *on_disk])
    assert not (folder / "maps").exists()
    before = {path: path.stat().st_mtime_ns for path in folder.glob("points/*")}
    assert lcurve.main([*FAST, "--out", str(folder), "--keep-maps", *on_disk]) == 0
    assert {path: path.stat().st_mtime_ns for path in folder.glob("points/*")} == before  # nothing is computed again
    session = TuningSession.open(folder)
    points = session.of_case(0)
    written = sorted(
        folder.glob("maps/*.nii.gz"), key=lambda path: float(path.name.split("_")[-1].removesuffix(".nii.gz"))
    )
    assert len(written) == len(points) == 9
    for path, point in zip(written, points, strict=True):
        image = load_image(path)
        assert np.array_equal(image.data, session.susceptibility_ppm(point))
        assert np.array_equal(image.affine, np.eye(4))
        assert image.data.std() > 0
    record = json.loads((folder / "maps" / "maps.json").read_text())
    assert (record["unit"], record["zero_reference"], len(record["maps"])) == ("ppm", "none", 9)
    said = capsys.readouterr().out
    assert "without zero reference (as run --reference none)" in said
    assert f"maps: 9 files in {folder}/maps/" in said
    assert f"mask.nii.gz, {int(small.mask.sum())} voxels" in said


def test_the_command_on_the_page_reproduces_its_point(on_disk, tmp_path):
    from qsm_recon import run

    folder = tmp_path / "session"
    lcurve.main([*FAST, "--out", str(folder), "--set", "padding=2", "--quiet", *on_disk])
    session = TuningSession.open(folder)
    point = session.of_case(0)[3]
    words = shlex.split(session.command(point.value))
    assert words[:3] == ["python", "-m", "qsm_recon.run"]
    assert "padding=2" in words
    assert run.main([*words[3:], "--reference", "none", "--quiet", "--out", str(tmp_path / "out")]) == 0
    image = load_image(tmp_path / "out" / "chi.nii.gz").data
    assert abs(image - session.susceptibility_ppm(point)).max() < 1e-4 * abs(image).max()


def test_numbers_of_the_command_are_exact(small, tmp_path):
    """Six digits of a setting were printed, so that the command was another reconstruction."""
    solver = make_solver("tv", gradient_penalty=0.123456789, margin=1 / 3)
    session = TuningSession.open(tmp_path, solver, None, [SessionCase.of("ball", small.problem, np.eye(4), [])])
    words = shlex.split(session.command(1.23456789e-4))
    again = parse_settings(type(solver), [word for word in words if "=" in word], "--set")
    expected = {"gradient_penalty": 0.123456789, "margin": 1 / 3, "regularisation_weight": 1.23456789e-4}
    assert again == expected


def test_no_interior_optimum_is_said_and_has_its_own_exit_code(on_disk, tmp_path, capsys):
    arguments = [*FAST, "--select", "discrepancy", "--from", "1e-9", "--to", "1e-11", "--out", str(tmp_path / "s")]
    assert lcurve.main([*arguments, *on_disk]) == 3
    assert "no interior optimum" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--parameter", "beta"], "has no parameter 'beta'"),
        (["--parameter", "padding"], "not a real number"),
        (["--points", "1"], "two or more points"),
        (["--from", "1e-5", "--to", "1"], "from a larger to a smaller"),
        (["--also", "phantom:sim9"], "unknown simulation"),
        (["--refine", "-1"], "expected 0 or more, found -1"),
        (["--set", "regularisation_weight=0.1"], "--set regularisation_weight: the sweep chooses it"),
        (["--algo", "tkd", "--set", "threshold=0.1"], "--set threshold: the sweep chooses it; do not set it as well"),
        (["--algo", "tv", "--parameter", "tolerance", "--set", "tolerance=1e-2"], "--set tolerance: the sweep chooses"),
    ],
)
def test_bad_usage_is_one_line(arguments, message, on_disk, tmp_path, capsys):
    assert lcurve.main([*FAST, *arguments, "--out", str(tmp_path / "s"), *on_disk]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "s").exists()


def test_where_another_parameter_is_swept_the_main_one_may_be_set(on_disk, tmp_path):
    words = ["--algo", "ndi", "--points", "2", "--refine", "0", "--quiet", "--parameter", "step", "--from", "2"]
    folder = tmp_path / "s"
    words += ["--to", "1", "--set", "regularisation_weight=1e-5", "--out", str(folder)]
    assert lcurve.main([*words, *on_disk]) in (0, 3)
    session = TuningSession.open(folder)
    assert [point.value for point in session.points] == [2.0, 1.0]
    assert "regularisation_weight=1e-05" in session.command(1.0)


def test_another_data_set_is_not_mistaken_for_that_of_the_session(on_disk, tmp_path, capsys):
    folder = tmp_path / "session"
    lcurve.main([*FAST, "--out", str(folder), "--quiet", *on_disk])
    before = (folder / "session.json").read_bytes()
    assert lcurve.main([*FAST, "--out", str(folder), "--dataset", "phantom:sim1?size=reduced"]) == 2
    assert "choose another folder" in capsys.readouterr().err
    assert (folder / "session.json").read_bytes() == before


def test_names_that_occur_twice_are_numbered():
    assert lcurve.different_names(["sim1", "sim2", "sim1"]) == ["sim1", "sim2", "sim1 (2)"]


def test_the_reconstruction_command_selects_on_the_spot(on_disk, tmp_path):
    from qsm_recon import run

    assert run.main(["--algo", "tikhonov", "--select", "gcv", "--out", str(tmp_path), "--quiet", *on_disk]) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    chosen = report["algorithm"]["parameters"]["regularisation_weight"]["value"]
    assert chosen == report["result"]["selection"]["value"]
    assert chosen != 0.02


def test_a_selection_that_finds_nothing_stops_the_reconstruction(on_disk, tmp_path, capsys):
    from qsm_recon import run

    arguments = ["--algo", "tv", "--select", "gcv", "--out", str(tmp_path / "out"), "--quiet"]
    assert run.main([*arguments, *on_disk]) == 2
    assert "only closed forms" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_selecting_and_setting_exclude_each_other(on_disk, tmp_path, capsys):
    from qsm_recon import run

    arguments = ["--algo", "tv", "--select", "auto", "--regularisation", "1e-3", "--out", str(tmp_path / "out")]
    assert run.main([*arguments, *on_disk]) == 2
    assert "--select" in capsys.readouterr().err


def test_the_same_data_twice_are_refused_before_anything_is_written(on_disk, small, tmp_path, capsys):
    """Equal contents of two files would have ended in a session of one data set that was to have two."""
    for name in ("a", "b"):
        for image, data in (("phs_tissue", small.problem.field_ppm), ("msk", small.mask)):
            save_image(tmp_path / name / f"{image}.nii.gz", np.asarray(data), np.eye(4))
    folder = tmp_path / "session"
    words = ["--dataset", f"rc1:{tmp_path}/a", "--also", f"rc1:{tmp_path}/b", "--quiet", "--out", str(folder)]
    assert lcurve.main([*FAST, *words]) == 2
    (said,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert "hold the same data; give each once" in said
    assert f"rc1:{tmp_path}/a" in said
    assert f"rc1:{tmp_path}/b" in said
    assert not folder.exists()


def test_a_truth_in_another_unit_is_spoken_of(on_disk, small, tmp_path, capsys):
    from qsm_recon import run

    save_image(tmp_path / "ppb.nii.gz", 1000 * small.truth, np.eye(4))
    arguments = ["--algo", "tkd", "--out", str(tmp_path / "out"), *on_disk]
    assert run.main(arguments) == 0
    assert "are both in ppm?" not in capsys.readouterr().err
    assert run.main([*arguments, "--truth", str(tmp_path / "ppb.nii.gz")]) == 0
    said = capsys.readouterr().err
    assert "ppb.nii.gz: the map varies 0.00" in said
    assert "are both in ppm?" in said


def test_a_seed_where_nothing_is_random_is_refused(on_disk, tmp_path, capsys):
    from qsm_recon import run

    for command in (run, lcurve):
        for data in (on_disk, ["--dataset", f"bids:{tmp_path}"]):
            assert command.main(["--algo", "tkd", "--seed", "3", "--out", str(tmp_path / "out"), *data]) == 2
            assert "--seed 3: has no meaning without a phantom" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
