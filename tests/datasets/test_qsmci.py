import json

import numpy as np
import pytest

from qsm_recon.datasets import load_case
from qsm_recon.datasets.qsmci import write_chi_map
from qsm_recon.errors import DataError
from qsm_recon.io import load_image, save_image

GOOD = {"TE": [0.004, 0.012, 0.020, 0.028], "B0": 7.0, "B0_dir": [0, 0, 1], "voxel_size": [1.5, 1.0, 2.0]}


@pytest.fixture
def write(scan, tmp_path):
    def write(images=("localfield", "magnitude", "mask"), below="", parameters=None):
        known = {
            "localfield": scan.field_ppm,
            "totalfield": scan.field_ppm + np.float32(0.2),
            "magnitude": scan.magnitude,
            "phase": scan.phase,
            "mask": scan.mask,
            "chimap": scan.chi,
            "dseg": scan.labels,
        }
        for name in images:
            save_image(tmp_path / below / f"{name}.nii.gz", known[name], scan.affine)
        if parameters is not None:
            (tmp_path / below / "params.json").write_text(json.dumps(parameters))

    return write


def test_inputs_of_a_dipole_inversion(scan, write, tmp_path):
    write(parameters={**GOOD, "B0_dir": [0, 0.6, 0.8]})
    case = load_case(f"qsmci:{tmp_path}")
    np.testing.assert_array_equal(case.problem.field_ppm, scan.field_ppm)
    np.testing.assert_allclose(case.problem.magnitude, np.linalg.norm(scan.magnitude, axis=-1), rtol=1e-5)
    assert case.problem.grid.b0_direction == pytest.approx((0, 0.6, 0.8))
    assert case.problem.echo_times_s == scan.times
    assert case.problem.b0_tesla == 7
    assert case.truth is None
    assert case.sources["acquisition"].endswith("params.json")
    assert load_case(f"qsmci:{tmp_path}", b0_direction=(1, 0, 0)).problem.grid.b0_direction == (1, 0, 0)


def test_data_set_with_truth(scan, write, tmp_path):
    write(("mask", "magnitude", "phase"), "inputs", GOOD)
    write(("localfield", "totalfield", "chimap", "dseg"), "groundtruth")
    for field, expected in (("local", scan.field_ppm), ("total", scan.field_ppm + np.float32(0.2))):
        case = load_case(f"qsmci:{tmp_path}?field={field}")
        np.testing.assert_array_equal(case.problem.field_ppm, expected)
    np.testing.assert_array_equal(case.truth.susceptibility_ppm, scan.chi)
    np.testing.assert_array_equal(case.truth.labels, scan.labels)
    case = load_case(f"qsmci:{tmp_path}", field_estimate="difference")
    mask = case.problem.mask
    np.testing.assert_allclose(case.problem.field_ppm[mask], scan.field_ppm[mask], atol=2e-4)


def test_nominal_echo_time_means_nothing(scan, write, tmp_path):
    write(("localfield", "mask"), parameters={**GOOD, "TE": [1.0], "B0": 3.0})
    assert load_case(f"qsmci:{tmp_path}").problem.echo_times_s == ()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"B0_dir": None}, ["no 'B0_dir'", "TE, B0, B0_dir, voxel_size"]),
        ({"B0_dir": [0, 1]}, ["'B0_dir'", "3 number"]),
        ({"TE": []}, ["'TE'", "expected numbers"]),
        ({"TE": [4, 12, 20, 28]}, ["milliseconds"]),
        ({"B0": "seven"}, ["'B0'", "'seven'"]),
        ({"voxel_size": [1, 1, 1]}, ["voxel_size", "[1.5, 1.0, 2.0]", "localfield.nii.gz"]),
    ],
)
def test_bad_parameters(write, tmp_path, change, words):
    write(parameters={key: value for key, value in {**GOOD, **change}.items() if value is not None})
    with pytest.raises(DataError) as caught:
        load_case(f"qsmci:{tmp_path}")
    for word in words:
        assert word in str(caught.value)


def test_missing_files(write, tmp_path):
    with pytest.raises(DataError, match=r"params.json: no such file"):
        load_case(f"qsmci:{tmp_path}")
    write((), parameters=GOOD)
    with pytest.raises(DataError, match="no local field and no phase"):
        load_case(f"qsmci:{tmp_path}")
    write(("localfield",))
    with pytest.raises(DataError, match="no mask"):
        load_case(f"qsmci:{tmp_path}")
    with pytest.raises(DataError, match="no total field"):
        load_case(f"qsmci:{tmp_path}?field=total")
    write(("phase", "mask"))
    with pytest.raises(DataError, match="no magnitude"):
        load_case(f"qsmci:{tmp_path}?field=fit")


def test_output(scan, tmp_path):
    path = write_chi_map(tmp_path / "out", scan.chi.astype(float), scan.affine)
    assert path == tmp_path / "out" / "chimap.nii.gz"
    image = load_image(path)
    np.testing.assert_array_equal(image.data, scan.chi)
    np.testing.assert_allclose(image.affine, scan.affine)
