"""The phantom written in every layout and read back by the data set of that name."""

from __future__ import annotations

import json

import numpy as np
import pytest

from qsm_recon.backend.cache_folder import cache_folder
from qsm_recon.datasets import load_case
from qsm_recon.io import load_image
from qsm_recon.phantom import PhantomParameters, build_phantom
from qsm_recon.phantom import __main__ as command

PARAMETERS = PhantomParameters(case="sim2", size="reduced", voxel_size_mm=(5.0, 5.0, 5.0), b0_direction=(0.0, 0.6, 0.8))
OPTIONS = ["--case", "sim2", "--size", "reduced", "--voxel-size", "5", "5", "5", "--b0-direction", "0", "0.6", "0.8"]


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    """A tiny tilted phantom; the module shares it through a cache of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QSM_RECON_CACHE", str(tmp_path_factory.mktemp("cache")))
        cache_folder.cache_clear()
        yield build_phantom(PARAMETERS)
    cache_folder.cache_clear()


def written(tmp_path, layout, capsys):
    assert command.main(["--out", str(tmp_path / "out"), "--format", layout, *OPTIONS]) == 0
    lines = capsys.readouterr().out.splitlines()
    return lines[1].split("'")[1] if len(lines) > 1 else tmp_path / "out"


@pytest.mark.parametrize("layout", ["bids", "rc2", "qsmci"])
def test_round_trip(phantom, tmp_path, capsys, layout):
    case = load_case(written(tmp_path, layout, capsys))
    problem = case.problem
    assert problem.grid.shape == phantom.mask.shape
    assert problem.grid.voxel_size_mm == pytest.approx((5.0, 5.0, 5.0))
    assert problem.grid.b0_direction == pytest.approx((0.0, 0.6, 0.8), abs=1e-5)
    assert problem.b0_tesla == 7.0
    assert np.array_equal(case.truth.susceptibility_ppm, phantom.susceptibility_ppm)
    assert np.array_equal(case.truth.labels, phantom.labels)
    assert (problem.mask != phantom.mask).mean() < 1e-3
    quiet = phantom.evaluation_mask & problem.mask & np.isin(phantom.labels, (7, 8, 9))
    assert np.corrcoef(problem.field_ppm[quiet], phantom.field_ppm[quiet])[0, 1] > 0.9
    if problem.echoes is not None:
        assert np.allclose(np.abs(problem.echoes), np.abs(phantom.echoes), rtol=1e-4, atol=1e-6)


def test_evaluation_mask_of_the_challenge_layout(phantom, tmp_path, capsys):
    case = load_case(written(tmp_path, "rc2", capsys))
    assert case.name == "Sim2Snr1"
    assert np.array_equal(case.evaluation_mask, phantom.evaluation_mask)


def test_plain_images(phantom, tmp_path, capsys):
    folder = written(tmp_path, "nifti", capsys)
    chi = load_image(folder / "chi.nii.gz")
    assert np.array_equal(chi.data, phantom.susceptibility_ppm)
    assert np.allclose(chi.affine, phantom.affine, atol=1e-4)
    assert load_image(folder / "magnitude.nii.gz", ndim=4).data.shape == phantom.echoes.shape
    described = json.loads((folder / "phantom.json").read_text())
    assert described["parameters"]["b0_direction"] == pytest.approx([0.0, 0.6, 0.8])
    assert described["labels"]["16"] == "calcification"


def test_bad_option_is_one_line(tmp_path, capsys):
    assert command.main(["--out", str(tmp_path), "--te", "4", "12"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: phantom echo_times_s")
    assert len(error.splitlines()) == 1


def test_field_down_gives_a_proper_rotation():
    from qsm_recon.operators.grid import b0_direction_from_affine
    from qsm_recon.phantom.geometry import output_grid, scanner_affine

    grid = output_grid((4.0, 4.0, 4.0))
    for direction in ((0.0, 0.0, -1.0), (0.0, 0.6, -0.8), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)):
        affine = scanner_affine(grid, direction)
        assert np.linalg.det(affine[:3, :3]) == pytest.approx(64.0)
        assert b0_direction_from_affine(affine) == pytest.approx(direction, abs=1e-12)
