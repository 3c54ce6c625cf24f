"""A case in Python: made from arrays or files, shown in one line, and its results written."""

from __future__ import annotations

import re
from pathlib import Path

import nibabel
import numpy as np
import pytest

from qsm_recon import Case, DataError, Grid, Problem, ResourceError, case_from_files, make_solver
from qsm_recon.datasets.truth import Truth
from qsm_recon.units import ppm_to_hz

AFFINE = np.array([[0, -1.5, 0, 9], [1, 0, 0, -4], [0, 0, 2, 3], [0, 0, 0, 1.0]])
SHAPE = (12, 10, 14)


def own_arrays():
    """What docs/python.md does with arrays."""
    x, y, z = np.ix_(*[np.linspace(-1, 1, n) for n in SHAPE])
    mask = x**2 + y**2 + z**2 < 0.9
    field = np.where(mask, 0.01 * np.sin(3 * x) * np.cos(2 * y + z), 0).astype(np.float32)
    grid = Grid.from_affine(SHAPE, AFFINE)
    return Case(Problem(field, mask, grid, b0_tesla=3.0, echo_times_s=(0.01, 0.02), field_kind="local"), AFFINE, "mine")


def test_result_is_written_where_the_case_lies(tmp_path):
    case = own_arrays()
    result = make_solver("tkd").solve(case.problem)
    path = case.save(tmp_path / "new" / "chi.nii.gz", result)
    written = nibabel.load(path)
    assert np.array_equal(written.get_fdata(dtype=np.float32), result.susceptibility_ppm)
    assert np.allclose(written.affine, AFFINE)
    assert int(written.header["qform_code"]) == int(written.header["sform_code"]) == 1
    case.save(tmp_path / "mask.nii", result.mask)
    case.save(tmp_path / "field.nii", case.problem.field_ppm)
    again = case_from_files(field=tmp_path / "field.nii", field_unit="ppm", mask=tmp_path / "mask.nii", b0_tesla=3)
    assert np.array_equal(again.problem.field_ppm, case.problem.field_ppm)
    assert again.problem.grid.b0_direction == pytest.approx(case.problem.grid.b0_direction)


def test_page_about_python_is_right(tmp_path, monkeypatch):
    """Its blocks, run on a small scan: both ways give the same map, placed as the scan is."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "python.md").read_text("utf-8")
    from_files, from_arrays = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    case = own_arrays()
    monkeypatch.chdir(tmp_path)
    case.save("localfield.nii.gz", ppm_to_hz(case.problem.field_ppm, 3.0))
    case.save("mask.nii.gz", case.problem.mask)
    maps = []
    for block in (from_files, from_arrays):
        exec(block, {"field_ppm": case.problem.field_ppm, "mask": case.problem.mask, "affine": AFFINE})
        written = nibabel.load("chi.nii.gz")
        assert np.allclose(written.affine, AFFINE)
        maps.append(written.get_fdata())
        Path("chi.nii.gz").unlink()
    assert maps[0].std() > 0
    assert np.allclose(*maps, atol=0.01 * maps[0].std())


def test_what_does_not_fit_is_not_written(tmp_path):
    case = own_arrays()
    with pytest.raises(DataError, match=r"chi\.nii: the image has shape \(3, 10, 14\), the case 'mine' \(12, 10, 14\)"):
        case.save(tmp_path / "chi.nii", np.zeros((3, 10, 14)))
    with pytest.raises(DataError, match=r"chi\.npy: expected a name that ends in .nii or .nii.gz"):
        case.save(tmp_path / "chi.npy", case.problem.field_ppm)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ResourceError, match="choose another folder"):
        case.save(tmp_path / "file" / "chi.nii", case.problem.field_ppm)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("given", "stored"),
    [(int, np.int32), (np.uint64, np.int32), (np.uint8, np.uint8), (np.float16, np.float32), (float, np.float64)],
)
def test_any_array_of_numbers_is_written(tmp_path, given, stored):
    """nibabel refuses numpy's own integers, and half precision, in its words."""
    case = own_arrays()
    labels = np.arange(np.prod(SHAPE)).reshape(SHAPE) % 9
    written = nibabel.load(case.save(tmp_path / "labels.nii", labels.astype(given)))
    assert written.get_data_dtype() == stored
    assert np.array_equal(written.get_fdata(), labels)
    assert np.array_equal(nibabel.load(case.save(tmp_path / "list.nii", labels.tolist())).get_fdata(), labels)


def test_what_is_hidden_is_not_written(tmp_path):
    case = own_arrays()
    hidden = ~case.problem.mask
    field = np.ma.array(np.where(hidden, 999, case.problem.field_ppm), mask=hidden)
    written = nibabel.load(case.save(tmp_path / "field.nii", field)).get_fdata()
    assert np.array_equal(np.isnan(written), hidden)
    labels = np.ma.array(np.full(SHAPE, 7), mask=hidden)
    assert np.array_equal(nibabel.load(case.save(tmp_path / "labels.nii", labels)).get_fdata(), 7 * ~hidden)


def test_what_holds_no_numbers_is_not_written(tmp_path):
    case = own_arrays()
    for values, message in (
        (None, r"the image has shape \(\)"),
        (np.full(SHAPE, "x"), "expected numbers to write, found <U1"),
        (np.full(SHAPE, 2**40), "whole numbers beyond 32 bits"),
    ):
        with pytest.raises(DataError, match=message):
            case.save(tmp_path / "chi.nii", values)
    assert not list(tmp_path.iterdir())


def test_an_affine_of_other_voxels_is_refused():
    """Maps were written in another size than they were computed in."""
    problem = own_arrays().problem
    with pytest.raises(DataError, match=r"voxels of 1×1×1 mm, but the problem's grid has 1×1\.5×2 mm"):
        Case(problem, np.eye(4), "mine")
    for affine in (None, "x", np.eye(3), AFFINE * 1j, AFFINE * np.nan):
        with pytest.raises(DataError, match=r"affine: expected a finite \(4, 4\) matrix"):
            Case(problem, affine, "mine")
    registered = AFFINE @ np.diag([1.2, 1.2, 1.2, 1])
    assert Case(problem, registered, "mine", scanner_affine=AFFINE).affine is not None
    assert Case(problem, registered, "mine", scanner_affine=None).affine is not None
    assert Case(problem, AFFINE.tolist(), "mine").affine.shape == (4, 4)


def test_repr_is_one_short_line():
    case = own_arrays()
    inside = int(case.problem.mask.sum())
    size = "12×10×14 voxels of 1×1.5×2 mm"
    expected = f"{size}, {inside} in the mask, B0 of 3 T 0.0° off the nearest axis, 2 echoes, local field"
    assert repr(case) == f"<Case 'mine': {expected}>"
    known = Case(case.problem, AFFINE, "mine", Truth(case.problem.field_ppm))
    assert repr(known) == f"<Case 'mine': {expected}, truth known>"


def test_html_summary_escapes_all_text():
    case = own_arrays()
    shown = Case(case.problem, AFFINE, "<b>", sources={"field": "a<script>.nii"}, notes=("1 < 2",))._repr_html_()
    assert "<script>" not in shown
    assert "Case &lt;b&gt;" in shown
    assert "a&lt;script&gt;.nii" in shown
    assert "1 &lt; 2" in shown
