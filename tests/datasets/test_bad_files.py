"""Every bad input names the file and what to do."""

import numpy as np
import pytest

from qsm_recon.datasets import case_from_files
from qsm_recon.errors import DataError, ParameterError


def with_value(image, where, value):
    changed = np.array(image, dtype=np.float32)
    changed[where] = value
    return changed


CENTRE = (10, 11, 9)


def shifted(affine):
    moved = affine.copy()
    moved[0, 3] += 2
    return moved


# what is wrong; arguments beside field and mask, made from the written files `f` and the scan `s`; words of the message
def sheared(affine):
    return affine @ np.array([[1, 0.3, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])


def dangling(folder):
    (folder / "annexed.nii.gz").symlink_to(folder / ".git/annex/objects/x.nii.gz")
    return folder / "annexed.nii.gz"


FIELD_ERRORS = {
    "link to nothing": (lambda f, s: {"mask": dangling(f.folder)}, ["annexed.nii.gz", "link", "datalad get"]),
    "missing": (lambda f, s: {"field": f.folder / "no.nii.gz"}, ["no.nii.gz", "no such file"]),
    "missing mask": (lambda f, s: {"mask": f.folder / "no_mask.nii"}, ["no_mask.nii", "no such file"]),
    "field 4D": (lambda f, s: {"field": f.phase}, ["phase.nii.gz", "3D", "(20, 22, 18, 4)"]),
    "mask 4D": (lambda f, s: {"mask": f.phase}, ["phase.nii.gz", "3D"]),
    "shape": (lambda f, s: {"mask": f.write("small", s.mask[1:])}, ["small", "field.nii.gz", "(19, 22, 18)"]),
    "affine": (lambda f, s: {"mask": f.write("far", s.mask, shifted(s.affine))}, ["far", "field.nii.gz", "2 mm"]),
    "empty mask": (lambda f, s: {"mask": f.write("empty", s.mask & False)}, ["empty.nii.gz", "empty"]),
    "grey mask": (lambda f, s: {"mask": f.magnitude}, ["magnitude.nii.gz", "binary", "threshold"]),
    "mask with nan": (
        lambda f, s: {"mask": f.write("hole", with_value(s.mask, CENTRE, np.nan))},
        ["hole.nii.gz", "NaN", "0 or 1"],
    ),
    "nan in mask": (
        lambda f, s: {"field": f.write("nan", with_value(s.field_ppm, (CENTRE[0], CENTRE[1], [9, 10]), np.nan))},
        ["nan.nii.gz", "2 voxels", "(10, 11, 9)", "repair"],
    ),
    "negative magnitude": (
        lambda f, s: {"magnitude": f.write("neg", with_value(s.magnitude[..., 0], CENTRE, -5))},
        ["neg.nii.gz", "negative", "-5"],
    ),
    "zero magnitude": (lambda f, s: {"magnitude": f.write("dark", 0 * s.chi)}, ["dark.nii.gz", "zero everywhere"]),
    "zero weight": (lambda f, s: {"weight": f.write("dark", 0 * s.field_ppm)}, ["dark.nii.gz", "zero everywhere"]),
    "weight shape": (lambda f, s: {"weight": f.write("thin", s.field_ppm[..., 1:])}, ["thin.nii.gz", "field.nii.gz"]),
    "magnitude 4D": (lambda f, s: {"magnitude": f.magnitudes}, ["magnitudes.nii.gz", "one 3D", "4 volumes"]),
    "Hz as ppm": (lambda f, s: {"field": f.write("hz", 128 * s.field_ppm)}, ["hz.nii.gz", "ppm", "Hz", "--field-unit"]),
    "ppm as Hz": (
        lambda f, s: {"field": f.write("p", 0.3 * s.field_ppm), "field_unit": "Hz", "b0_tesla": 7},
        ["p.nii.gz", "already", "--field-unit ppm", "--accept-range"],
    ),
    "fraction as ppm": (lambda f, s: {"field": f.write("t", 1e-6 * s.field_ppm)}, ["t.nii.gz", "fraction"]),
    "Hz as rad": (
        lambda f, s: {
            "field": f.write("h", 500 * s.field_ppm), "field_unit": "rad", "b0_tesla": 7, "echo_times_s": [4e-4]
        },
        ["h.nii.gz", "from rad", "--te"],
    ),
    "constant field": (lambda f, s: {"field": f.write("flat", 0 * s.field_ppm)}, ["flat.nii.gz", "0 everywhere"]),
    "Hz without B0": (lambda f, s: {"field_unit": "Hz"}, ["field.nii.gz", "field strength", "--b0"]),
    "rad without B0": (lambda f, s: {"field_unit": "rad", "echo_times_s": [0.02]}, ["field.nii.gz", "--b0"]),
    "rad without TE": (lambda f, s: {"field_unit": "rad", "b0_tesla": 3}, ["field.nii.gz", "echo time", "--te"]),
    "TE in ms": (lambda f, s: {"echo_times_s": [20]}, ["milliseconds"]),
    "TE unsorted": (lambda f, s: {"echo_times_s": [0.02, 0.01]}, ["do not increase"]),
    "B0 in Hz": (lambda f, s: {"b0_tesla": 1.23e8}, ["B0", "tesla"]),
    "no direction": (lambda f, s: {"b0_direction": (0, 0, 0)}, ["B0 direction", "three numbers"]),
    "direction of two": (lambda f, s: {"b0_direction": (0, 1)}, ["B0 direction", "three numbers"]),
    "truth shape": (lambda f, s: {"truth": f.write("crop", s.chi[1:])}, ["crop.nii.gz", "field.nii.gz"]),
    "truth nan": (
        lambda f, s: {"truth": f.write("gap", with_value(s.chi, CENTRE, np.inf))},
        ["gap.nii.gz", "1 voxels", "(10, 11, 9)"],
    ),
    "labels interpolated": (
        lambda f, s: {"truth": f.truth, "labels": f.write("soft", 0.5 * s.labels)},
        ["soft.nii.gz", "whole numbers", "nearest"],
    ),
    "degenerate affine": (
        lambda f, s: {
            "field": f.write("sing", s.field_ppm, np.ones((4, 4))), "mask": f.write("m", s.mask, np.ones((4, 4)))
        },
        ["sing.nii.gz", "affine", "degenerate"],
    ),
    "sheared affine": (
        lambda f, s: {
            "field": f.write("tilted", s.field_ppm, sheared(s.affine)), "mask": f.write("m", s.mask, sheared(s.affine)),
            "b0_direction": (0, 0, 1),
        },
        ["tilted.nii.gz", "axes 1 and 2 meet at 65.8°", "right angles", "resample"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FIELD_ERRORS)
def test_bad_field_input(scan, files, name):
    make, words = FIELD_ERRORS[name]
    with pytest.raises(DataError) as caught:
        case_from_files(**{"field": files.field, "mask": files.mask, **make(files, scan)})
    for word in words:
        assert word in str(caught.value)


def split(f, s, image, part, numbers):
    return [f.write(f"echo-{number}_{part}", image[..., i]) for i, number in enumerate(numbers)]


ECHO_ERRORS = {
    "too few times": (lambda f, s: {"echo_times_s": s.times[:3]}, ["phase.nii.gz", "4 image(s)", "3 echo time(s)"]),
    "counts differ": (
        lambda f, s: {"magnitude": f.write("three", s.magnitude[..., :3])},
        ["three.nii.gz", "3 magnitude", "4 phase", "phase.nii.gz"],
    ),
    "shapes differ": (
        lambda f, s: {"magnitude": f.write("thin", s.magnitude[:, 1:])},
        ["thin.nii.gz", "phase.nii.gz", "(20, 21, 18)"],
    ),
    "affines differ": (
        lambda f, s: {"phase": f.write("moved", s.phase, shifted(s.affine))},
        ["moved.nii.gz", "magnitudes.nii.gz", "2 mm"],
    ),
    "same file": (lambda f, s: {"phase": f.magnitudes}, ["magnitudes.nii.gz", "both"]),
    "echo given twice": (lambda f, s: {"magnitude": [f.magnitude] * 4}, ["magnitude.nii.gz", "twice"]),
    "files unsorted": (
        lambda f, s: {"phase": split(f, s, s.phase, "phase", [2, 1, 3, 4])},
        ["phase", "2, 1, 3, 4", "order"],
    ),
    "echoes mixed": (
        lambda f, s: {
            "phase": split(f, s, s.phase, "phase", [1, 2, 3, 4]),
            "magnitude": split(f, s, s.magnitude, "mag", [1, 2, 3, 5]),
        },
        ["echo-4_phase", "echo-5_mag", "same echoes"],
    ),
    "nan in mask": (
        lambda f, s: {"phase": f.write("nan", with_value(s.phase, (*CENTRE, 2), np.nan))},
        ["nan.nii.gz", "echo 3", "1 voxels", "(10, 11, 9)"],
    ),
    "negative magnitude": (
        lambda f, s: {"magnitude": f.write("neg", with_value(s.magnitude, (0, 0, 0, 1), -1))},
        ["neg.nii.gz", "echo 2", "negative"],
    ),
    "dark echo": (
        lambda f, s: {"magnitude": f.write("dark", with_value(s.magnitude, (..., 3), 0))},
        ["dark.nii.gz", "echo 4", "zero"],
    ),
    "last echo first": (
        lambda f, s: {"magnitude": f.write("rev", s.magnitude[..., [3, 0, 1, 2]])},
        ["rev.nii.gz", "decays", "order"],
    ),
    "ambiguous phase": (lambda f, s: {"phase": f.write("odd", 500 * s.phase)}, ["odd.nii.gz", "unit"]),
    "constant phase": (lambda f, s: {"phase": f.write("flat", 0 * s.phase)}, ["flat.nii.gz", "constant"]),
    "mask shape": (lambda f, s: {"mask": f.write("small", s.mask[1:])}, ["small.nii.gz", "phase.nii.gz"]),
    "TE in ms": (lambda f, s: {"echo_times_s": (4, 12, 20, 28)}, ["milliseconds"]),
}


@pytest.mark.parametrize("name", ECHO_ERRORS)
def test_bad_echo_input(scan, files, name):
    make, words = ECHO_ERRORS[name]
    good = {
        "phase": files.phase,
        "magnitude": files.magnitudes,
        "mask": files.mask,
        "b0_tesla": 7,
        "echo_times_s": scan.times,
    }
    with pytest.raises(DataError) as caught:
        case_from_files(**{**good, **make(files, scan)})
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"field": None}, "no data"),
        ({"field": None, "phase": [], "magnitude": []}, "no data"),
        ({"phase": "p.nii.gz"}, "not both"),
        ({"field": None, "real": "r.nii.gz"}, "--imaginary"),
        ({"field": None, "real": "r.nii.gz", "imaginary": "i.nii.gz", "phase": "p.nii.gz"}, "without magnitude"),
        ({"phase_sign": "minus"}, "phase sign 'minus'"),
        ({"bipolar": "maybe"}, "bipolar 'maybe'"),
        ({"labels": "l.nii.gz"}, "--truth"),
        ({"field_unit": "hz"}, "did you mean 'Hz'"),
        ({"field_estimate": "fits"}, "did you mean 'fit'"),
    ],
)
def test_arguments_that_do_not_go_together(files, change, word):
    with pytest.raises(ParameterError, match=word):
        case_from_files(**{"field": files.field, "mask": files.mask, **change})


def test_phase_without_magnitude(files):
    with pytest.raises(ParameterError, match="--magnitude"):
        case_from_files(phase=files.phase, mask=files.mask, b0_tesla=7, echo_times_s=(0.01,))


def test_phase_without_field_strength(scan, files):
    with pytest.raises(ParameterError, match="--b0"):
        case_from_files(phase=files.phase, magnitude=files.magnitudes, mask=files.mask, echo_times_s=scan.times)


def test_unreadable_file(files):
    path = files.folder / "broken.nii.gz"
    path.write_bytes(b"not an image")
    with pytest.raises(DataError, match=r"broken.nii.gz: not a readable NIfTI"):
        case_from_files(field=path, mask=files.mask)


@pytest.mark.parametrize("kind", [[("R", "u1"), ("G", "u1"), ("B", "u1")],
                                  [("R", "u1"), ("G", "u1"), ("B", "u1"), ("A", "u1")]])  # fmt: skip
@pytest.mark.parametrize("role", ["field", "mask", "magnitude"])
def test_colours_are_no_numbers(files, kind, role):
    import nibabel

    path = files.folder / "colours.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.zeros((20, 22, 18), kind), np.eye(4)), path)
    with pytest.raises(DataError, match="its voxels are no numbers"):
        case_from_files(**{"field": files.field, "mask": files.mask, role: path})
