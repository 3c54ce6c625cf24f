"""Which acquisitions are found, and how each is named."""

import numpy as np
import pytest

from qsm_recon.cohort.acquisitions import find_acquisitions, subjects_without
from qsm_recon.datasets import load_case
from qsm_recon.errors import DataError, ParameterError
from qsm_recon.io import save_image

MANY = ("sub-02", "sub-01_ses-b_run-1", "sub-01_ses-a_run-02", "sub-01_ses-a", "sub-01_ses-a_acq-fine_run-1")


def names(found):
    return [one.name for one in found]


def test_all_are_found_in_order_and_each_specification_reads_that_one(scan, study):
    for name in MANY:
        study.add(name, mask=name != "sub-02")
    found = find_acquisitions(study.root)
    assert names(found) == [
        "sub-01_ses-a", "sub-01_ses-a_acq-fine_run-1", "sub-01_ses-a_run-02", "sub-01_ses-b_run-1", "sub-02"
    ]  # fmt: skip
    for one in found:
        assert len(one.images) == 6
        assert one.refusal is None
        assert (one.mask is None) == (one.name == "sub-02")
        case = load_case(one.specification(study.root))
        assert case.name == one.name
        if one.mask is not None:
            np.testing.assert_array_equal(case.problem.mask, scan.mask)
            assert one.mask.endswith(f"{one.name}_mask.nii.gz")
        else:
            assert case.made_mask
        inputs, own = set(one.inputs(study.root)), {image.replace(".nii.gz", ".json") for image in one.images}
        assert inputs >= {*one.images, *own, *filter(None, [one.mask])}
        others = inputs - {*one.images, *own, one.mask}  # by inheritance those of less specific names apply as well
        assert {other.partition("_echo")[0] for other in others} == (
            {"sub-01/ses-a/anat/sub-01_ses-a"} if one.name.startswith("sub-01_ses-a_") else set()
        )


def test_images_whose_names_say_no_subject_do_not_count(study):
    study.add("sub-01")
    place = study.file("sub-01", "echo-1_part-mag_MEGRE.nii.gz")
    place.with_name("scout_MEGRE.nii.gz").write_bytes(place.read_bytes())
    assert names(find_acquisitions(study.root)) == ["sub-01"]


def test_inherited_sidecars_are_inputs(study):
    study.add("sub-01")
    (study.root / "MEGRE.json").write_text("{}")
    (study.root / "task-rest_MEGRE.json").write_text("{}")  # of a task that the images do not have
    inputs = find_acquisitions(study.root)[0].inputs(study.root)
    assert "MEGRE.json" in inputs
    assert "task-rest_MEGRE.json" not in inputs


def test_labels(study):
    for name in MANY:
        study.add(name)
    root = study.root
    assert names(find_acquisitions(root, participants=["sub-02"])) == ["sub-02"]
    assert len(find_acquisitions(root, participants=["01", "02"])) == 5
    assert names(find_acquisitions(root, sessions=["b"])) == ["sub-01_ses-b_run-1"]
    assert len(find_acquisitions(root, participants=["01"], sessions=["ses-a"])) == 3
    with pytest.raises(ParameterError, match=r"--participant-label: no images of sub-03 in .*; did you mean '0"):
        find_acquisitions(root, participants=["03"])
    with pytest.raises(ParameterError, match=r"--session-label: no images of ses-x in"):
        find_acquisitions(root, sessions=["x"])
    with pytest.raises(ParameterError, match=r"no images of ses-a in .*; none of those chosen has ses- in its name$"):
        find_acquisitions(root, participants=["02"], sessions=["a"])


def test_another_suffix(study):
    study.add("sub-01")
    for path in study.root.glob("sub-01/anat/*MEGRE*"):
        path.rename(path.with_name(path.name.replace("MEGRE", "T2starw")))
    with pytest.raises(DataError, match=r"no images .*MEGRE\.nii\.gz.*--suffix"):
        find_acquisitions(study.root)
    (one,) = find_acquisitions(study.root, suffix="T2starw")
    assert load_case(one.specification(study.root)).name == "sub-01"


def test_masks_by_pattern(pattern, study):
    study.add("sub-01_ses-a_run-1", mask=False)
    study.add("sub-02", mask=False)
    for place in ("masks/01/a-1.nii.gz", "masks/02/one.nii.gz"):
        (study.root / place).parent.mkdir(parents=True, exist_ok=True)
        (study.root / place).write_bytes((pattern / "mask.nii.gz").read_bytes())
    first, second = find_acquisitions(study.root, mask="masks/{subject}/{session}-{run}.nii.gz")
    assert (first.mask, first.refusal) == ("masks/01/a-1.nii.gz", None)
    assert second.mask is None
    assert "masks/02/-.nii.gz: one mask is needed" in second.refusal
    assert [one.mask for one in find_acquisitions(study.root, mask="masks/{subject}/*.nii.gz")] == [
        "masks/01/a-1.nii.gz", "masks/02/one.nii.gz"
    ]  # fmt: skip
    absolute = find_acquisitions(study.root, mask=f"{study.root}/masks/{{subject}}/*.nii.gz")
    assert [one.refusal for one in absolute] == [None, None]
    assert all("found" in one.refusal for one in find_acquisitions(study.root, mask="masks/*/*.nii.gz"))
    for wrong in ("{subjct}.nii", "{", "{}.nii"):
        with pytest.raises(ParameterError, match=r"must be one of \{subject\}"):
            find_acquisitions(study.root, mask=wrong)


def test_numbers_stand_in_a_pattern_as_the_names_write_them(pattern, study):
    """{run} of run-01 stood for 1, and the mask beside it was not found."""
    study.add("sub-01_run-01", mask=False)
    study.add("sub-01_run-2", mask=False)
    for run in ("01", "2"):
        place = study.root / f"masks/sub-01_run-{run}_mask.nii.gz"
        place.parent.mkdir(exist_ok=True)
        place.write_bytes((pattern / "mask.nii.gz").read_bytes())
    found = find_acquisitions(study.root, mask="masks/sub-{subject}_run-{run}_mask.nii.gz")
    assert [one.mask for one in found] == ["masks/sub-01_run-01_mask.nii.gz", "masks/sub-01_run-2_mask.nii.gz"]


def test_a_mask_on_the_grid_of_the_images_goes_before_those_of_other_spaces(scan, pattern, study):
    """The mask of a template's space, as preprocessing leaves it beside the other, made a whole study fail."""
    study.add("sub-01")
    template = study.root / "derivatives/bet/sub-01/anat/sub-01_space-MNI152NLin6Asym_mask.nii.gz"
    save_image(template, np.ones((30, 36, 30), bool), np.diag([2.0, 2.0, 2.0, 1.0]))
    (one,) = find_acquisitions(study.root)
    assert (one.mask, one.refusal) == ("derivatives/bet/sub-01/anat/sub-01_mask.nii.gz", None)
    np.testing.assert_array_equal(load_case(one.specification(study.root)).problem.mask, scan.mask)


def test_scans_that_differ_in_flip_angle_or_inversion_are_told_apart(study):
    """No option named these entities: every acquisition of such a study failed as ambiguous."""
    many = ["sub-01_inv-1", "sub-01_inv-2", "sub-02_flip-1_mt-off", "sub-02_flip-1_mt-on", "sub-02_flip-2_mt-off"]
    for name in many:
        study.add(name)
    found = find_acquisitions(study.root)
    assert names(found) == many
    assert [load_case(one.specification(study.root)).name for one in found] == many


def test_masks_that_do_not_count(pattern, study):
    """None made by this program, none in the folder of results, none where they are to be made."""
    study.add("sub-01")
    mask = (pattern / "mask.nii.gz").read_bytes()
    own = study.root / "derivatives/bet/sub-01/anat/sub-01_desc-qsmrecon_mask.nii.gz"
    own.write_bytes(mask)
    assert find_acquisitions(study.root)[0].mask.endswith("anat/sub-01_mask.nii.gz")
    assert find_acquisitions(study.root, mask="none")[0].mask is None
    out = study.root / "derivatives/results"
    (out / "sub-01").mkdir(parents=True)
    (out / "sub-01/sub-01_mask.nii.gz").write_bytes(mask)
    assert "one mask is needed, found" in find_acquisitions(study.root)[0].refusal
    assert find_acquisitions(study.root, without=out)[0].refusal is None


def test_subjects_without_images_are_named(study):
    for name in ("sub-01", "sub-04"):
        study.add(name)
    for name in ("sub-02/anat", "sub-03"):
        (study.root / name).mkdir(parents=True)
    assert subjects_without(study.root, "MEGRE") == ["sub-02", "sub-03"]
    assert subjects_without(study.root, "MEGRE", ["sub-01", "03"]) == ["sub-03"]
    assert subjects_without(study.root, "MEGRE", ["04"]) == []
