"""Geometry from headers: units of length, the scanner's axes, formats that do not know them."""

import nibabel
import numpy as np
import pytest

from qsm_recon.datasets import case_from_files
from qsm_recon.errors import DataError
from qsm_recon.io import load_image, load_mask, require_same_geometry, save_image

SHAPE = (12, 14, 10)
STRAIGHT = (np.eye(4), 1)


def turned(degrees, size=(1.0, 1.0, 1.0)):
    """An affine turned about the first axis."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    affine = np.eye(4)
    affine[:3, :3] = np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) * size
    return affine


@pytest.fixture
def write(tmp_path):
    """Write an image with forms, codes and a unit of length."""

    def save(name="field.nii.gz", data=None, *, sform=STRAIGHT, qform=STRAIGHT, unit="mm"):
        rng = np.random.default_rng(0)
        image = nibabel.Nifti1Image(0.01 * rng.standard_normal(SHAPE).astype("f4") if data is None else data, None)
        image.set_qform(*qform)
        image.set_sform(*sform)
        image.header.set_xyzt_units(unit, "sec")
        nibabel.save(image, tmp_path / name)
        return tmp_path / name

    return save


# ---- the unit of length ----


@pytest.mark.parametrize(("unit", "size"), [("mm", 1.5), ("meter", 1.5e-3), ("micron", 1500.0), ("unknown", 1.5)])
def test_voxel_sizes_are_in_mm_whatever_the_unit(write, unit, size):
    form = (np.diag([size, size, 2 * size, 1.0]), 1)
    image = load_image(write(sform=form, qform=form, unit=unit))
    assert np.diag(image.affine) == pytest.approx([1.5, 1.5, 3.0, 1.0], rel=1e-6)
    assert np.diag(image.scanner_affine) == pytest.approx([1.5, 1.5, 3.0, 1.0], rel=1e-6)


@pytest.mark.parametrize(
    ("unit", "size"), [("meter", 1.0), ("micron", 1.0), ("mm", 1e-3), ("unknown", 1e-3), ("mm", 1e3)]
)
def test_absurd_voxel_sizes_are_refused(write, unit, size):
    form = (np.diag([size, size, size, 1.0]), 1)
    with pytest.raises(DataError, match=r"field\.nii\.gz: its header gives voxels of .*xyzt_units"):
        load_image(write(sform=form, qform=form, unit=unit))


def test_a_code_of_the_unit_that_the_standard_does_not_know_counts_as_none(write, tmp_path):
    path = write("field.nii")
    content = bytearray(path.read_bytes())
    content[123] = 5
    path.write_bytes(content)
    assert np.diag(load_image(path).affine) == pytest.approx([1, 1, 1, 1])


def test_images_in_metres_that_lie_nine_voxels_apart_do_not_match(write):
    size = np.diag([1e-3, 1e-3, 1e-3, 1.0])
    shifted = size.copy()
    shifted[0, 3] = 9e-3
    first = load_image(write("a.nii.gz", sform=(size, 1), qform=(size, 1), unit="meter"))
    second = load_image(write("b.nii.gz", sform=(shifted, 1), qform=(shifted, 1), unit="meter"))
    with pytest.raises(DataError, match=r"differs from that of .* by up to 9 mm"):
        require_same_geometry(first, second)


def test_a_tenth_of_a_small_voxel_is_too_much(write):
    size = np.diag([0.02, 0.02, 0.02, 1.0])
    shifted = size.copy()
    shifted[0, 3] = 0.002
    first = load_image(write("a.nii.gz", sform=(size, 1), qform=(size, 1)))
    second = load_image(write("b.nii.gz", sform=(shifted, 1), qform=(shifted, 1)))
    with pytest.raises(DataError, match="by up to"):
        require_same_geometry(first, second)


def test_the_same_voxels_in_two_units_match(write):
    metres, mm = np.diag([1e-3, 1e-3, 1e-3, 1.0]), np.eye(4)
    require_same_geometry(
        load_image(write("a.nii.gz", sform=(metres, 1), qform=(metres, 1), unit="meter")),
        load_image(write("b.nii.gz", sform=(mm, 1), qform=(mm, 1))),
    )


# ---- the scanner's axes ----


def direction(write, tmp_path, sform, qform, **given):
    mask = write("mask.nii.gz", np.ones(SHAPE, np.uint8), sform=sform, qform=qform)
    case = case_from_files(field=write(sform=sform, qform=qform), mask=mask, **given)
    return case.problem.grid.b0_direction, case


ALONG = (0, 0, 1)
TILTED = (0, np.sin(np.radians(30)), np.cos(np.radians(30)))


@pytest.mark.parametrize(
    ("sform", "qform", "expected", "words"),
    [
        ((turned(30), 1), (turned(30), 1), TILTED, "from the affine"),
        ((np.eye(4), 2), (turned(30), 1), TILTED, "from the qform; the sform, of another space, is turned by 30.0°"),
        ((np.eye(4), 4), (turned(30), 1), TILTED, "from the qform"),
        ((turned(30), 1), (np.eye(4), 2), TILTED, "from the sform"),
        ((turned(30), 2), (np.eye(4), 0), TILTED, "from the affine"),
        ((np.eye(4), 0), (turned(30), 1), TILTED, "from the affine"),
        ((np.eye(4), 1), (turned(0.5), 1), ALONG, "from the affine"),  # rounding
    ],
)
def test_the_field_follows_the_scanner(write, tmp_path, sform, qform, expected, words):
    found, case = direction(write, tmp_path, sform, qform)
    assert found == pytest.approx(expected, abs=1e-5)
    assert any(words in note for note in case.notes)


@pytest.mark.parametrize(
    ("sform", "qform", "words"),
    [
        ((np.eye(4), 0), (np.eye(4), 0), "holds no orientation"),
        ((np.eye(4), 4), (np.eye(4), 0), "template's space"),
        ((turned(30), 1), (np.eye(4), 1), "differ by 30.0°"),
    ],
)
def test_what_does_not_tell_the_direction_is_refused_unless_it_is_given(write, tmp_path, sform, qform, words):
    with pytest.raises(DataError, match=rf"field\.nii\.gz: .*{words}.*--b0-direction"):
        direction(write, tmp_path, sform, qform)
    found, _ = direction(write, tmp_path, sform, qform, b0_direction=(0, 1, 0))
    assert found == (0, 1, 0)


def test_voxel_sizes_are_the_scanners_where_a_template_stretches_them(write, tmp_path):
    _, case = direction(write, tmp_path, (np.diag([1.2, 1.2, 1.2, 1.0]), 4), (np.eye(4), 1))
    assert case.problem.grid.voxel_size_mm == pytest.approx((1, 1, 1))


def restated(path, *sizes):
    """Write other voxel sizes into the pixdim of an uncompressed image, as a program that edits one of the two does."""
    content = bytearray(path.read_bytes())
    content[80:92] = np.array(sizes, "<f4").tobytes()
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("code", [1, 2])
def test_an_affine_and_voxel_sizes_that_contradict_each_other_are_refused(write, code):
    """Slices of 2 mm taken for 1 mm make another dipole kernel and a wrong map, without a word before."""
    forms = {"sform": (turned(30), code), "qform": (np.eye(4), 0)}
    mask = write("mask.nii.gz", np.ones(SHAPE, np.uint8), **forms)
    field = restated(write("field.nii", **forms), 1, 1, 2)
    with pytest.raises(DataError, match=r"field\.nii: its header gives .* 1 × 1 × 1 mm .* 1 × 1 × 2 mm by pixdim"):
        case_from_files(field=field, mask=mask)
    for same in ((1.002, 1, 0.999), (0, 0, 0), (1, 1, -1), (1, 1, np.nan)):  # rounding, and what states nothing
        case = case_from_files(field=restated(field, *same), mask=mask)
        assert case.problem.grid.voxel_size_mm == pytest.approx((1, 1, 1))
    plain = write("field.nii.gz", **forms)
    assert case_from_files(field=plain, mask=restated(write("mask.nii", np.ones(SHAPE, "u1"), **forms), 1, 1, 2))


def test_voxel_sizes_in_metres_agree_with_themselves(write):
    form = (np.diag([1e-3, 1e-3, 2e-3, 1.0]), 1)
    assert load_image(write(sform=form, qform=form, unit="meter")).contradiction == ""


@pytest.mark.parametrize("kind", [nibabel.AnalyzeImage, nibabel.Spm99AnalyzeImage])
def test_analyze_files_need_a_direction(tmp_path, kind):
    rng = np.random.default_rng(0)
    for name, data in (("field", 0.01 * rng.standard_normal(SHAPE).astype("f4")), ("mask", np.ones(SHAPE, "u1"))):
        nibabel.save(kind(data, np.eye(4)), tmp_path / f"{name}.img")
    files = {name: tmp_path / f"{name}.img" for name in ("field", "mask")}
    with pytest.raises(DataError, match=r"field\.img: an Analyze header does not say .*--b0-direction"):
        case_from_files(**files)
    assert case_from_files(**files, b0_direction=(0, 1, 0)).problem.grid.b0_direction == (0, 1, 0)


@pytest.mark.parametrize(
    ("sform", "qform"),
    [((np.eye(4), 2), (turned(30), 1)), ((np.eye(4), 0), (np.eye(4), 0)), ((np.eye(4), 4), (np.eye(4), 0))],
)
def test_what_is_written_says_of_the_scanner_what_was_read(write, tmp_path, sform, qform):
    """Else a map that we wrote would be taken for one along the scanner's axes."""
    _, case = direction(write, tmp_path, sform, qform, b0_direction=(0, 0, 1))
    before = load_image(case.sources["field"])
    case.save(tmp_path / "out.nii.gz", case.problem.field_ppm)
    after = load_image(tmp_path / "out.nii.gz")
    assert after.affine == pytest.approx(before.affine, abs=1e-5)
    if before.scanner_affine is None:
        assert after.scanner_affine is None
    else:
        assert after.scanner_affine == pytest.approx(before.scanner_affine, abs=1e-5)


# ---- shapes and kinds of file ----


def test_axes_of_length_one_are_dropped(tmp_path):
    data = np.random.default_rng(0).random((*SHAPE, 1, 3)).astype("f4")
    save_image(tmp_path / "itk.nii.gz", data, np.eye(4))
    assert np.array_equal(load_image(tmp_path / "itk.nii.gz", ndim=None).data, data[:, :, :, 0])
    save_image(tmp_path / "one.nii.gz", data[..., :1], np.eye(4))
    assert load_image(tmp_path / "one.nii.gz").data.shape == SHAPE
    assert load_mask(save_image(tmp_path / "m.nii.gz", data[..., :1] > 0, np.eye(4))).data.shape == SHAPE


def test_a_slice_a_folder_and_a_dicom_file_are_named_for_what_they_are(tmp_path):
    save_image(tmp_path / "flat.nii.gz", np.ones(SHAPE[:2], "f4"), np.eye(4))
    with pytest.raises(DataError, match=r"flat.nii.gz: expected a 3D image, found a single slice of shape \(12, 14\)"):
        load_image(tmp_path / "flat.nii.gz")
    with pytest.raises(DataError, match=r"a folder, not a readable NIfTI.*dcm2niix"):
        load_image(tmp_path)
    (tmp_path / "IM0001").write_bytes(bytes(128) + b"DICM" + bytes(64))
    with pytest.raises(DataError, match=r"IM0001: a DICOM file.*dcm2niix"):
        load_image(tmp_path / "IM0001")
