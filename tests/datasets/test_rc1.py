import numpy as np
import pytest

from qsm_recon.datasets import load_case
from qsm_recon.errors import DataError, ParameterError
from qsm_recon.io import save_image
from qsm_recon.units import rad_per_ppm

NAMES = {
    "plain": ("", ("localfield", "mask", "magnitude", "chi_cosmos", "chi_33")),
    "official": ("data", ("phs_tissue", "msk", "magn", "chi_cosmos", "chi_33")),
}


@pytest.fixture
def write(scan, tmp_path):
    def write(layout):
        below, names = NAMES[layout]
        images = (scan.field_ppm, scan.mask, scan.magnitude[..., 0], scan.chi, 2 * scan.chi)
        for name, image in zip(names, images, strict=True):
            save_image(tmp_path / below / f"{name}.nii.gz", image, scan.affine)
        return tmp_path / below

    return write


@pytest.mark.parametrize("layout", NAMES)
def test_both_layouts(scan, write, tmp_path, layout):
    write(layout)
    case = load_case(f"rc1:{tmp_path}")
    np.testing.assert_array_equal(case.problem.field_ppm, scan.field_ppm)
    np.testing.assert_array_equal(case.problem.mask, scan.mask)
    np.testing.assert_array_equal(case.problem.magnitude, scan.magnitude[..., 0])
    np.testing.assert_array_equal(case.truth.susceptibility_ppm, scan.chi)
    assert case.problem.phase_scale == pytest.approx(rad_per_ppm(2.8936, 0.025))
    assert case.problem.grid.b0_direction == (0, 0, 1)
    assert case.sources["truth"].endswith("chi_cosmos.nii.gz")


def test_another_truth_or_none(scan, write, tmp_path):
    folder = write("plain")
    np.testing.assert_array_equal(load_case(f"rc1:{tmp_path}?truth=sti").truth.susceptibility_ppm, 2 * scan.chi)
    assert load_case(f"rc1:{tmp_path}?truth=none").truth is None
    (folder / "chi_33.nii.gz").unlink()
    with pytest.raises(DataError, match="chi_33"):
        load_case(f"rc1:{tmp_path}?truth=sti")


def test_a_direction_can_be_given(write, tmp_path):
    write("plain")
    assert load_case(f"rc1:{tmp_path}", b0_direction=(1, 0, 0)).problem.grid.b0_direction == (1, 0, 0)


def test_bad_input(write, tmp_path):
    with pytest.raises(DataError, match=r"no local field; expected localfield.nii.gz or phs_tissue.nii.gz"):
        load_case(f"rc1:{tmp_path}")
    folder = write("plain")
    with pytest.raises(ParameterError, match="no echoes"):
        load_case(f"rc1:{tmp_path}", field_estimate="fit")
    (folder / "mask.nii.gz").unlink()
    with pytest.raises(DataError, match=r"no mask; expected mask.nii.gz or msk.nii.gz"):
        load_case(f"rc1:{tmp_path}")
    with pytest.raises(DataError, match="no such folder"):
        load_case(f"rc1:{tmp_path / 'nowhere'}")
    with pytest.raises(DataError, match="no folder given"):
        load_case("rc1:")


def test_real_data(shared_folder):
    folder = shared_folder / "data" / "rc1"
    if not folder.is_dir():
        pytest.skip("the data of the 2016 challenge are not here")
    case = load_case(f"rc1:{folder}")
    assert np.count_nonzero(case.problem.mask) == 933_481
    assert case.problem.grid.voxel_size_mm == pytest.approx((1.0625, 1.0625, 1.0714), abs=1e-4)
    assert case.problem.phase_scale == pytest.approx(19.3537, rel=1e-3)
