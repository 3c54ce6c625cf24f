"""What Python code may give for a number, an image or a name, and copies of public objects."""

import copy
import pickle
import threading
from pathlib import Path

import numpy as np
import pytest

from qsm_recon import Case, case_from_files, evaluate, load_case, tune
from qsm_recon.backend.device import require_device
from qsm_recon.backend.fft import FourierTransform
from qsm_recon.background.base import without_background
from qsm_recon.background.registry import make_removal
from qsm_recon.errors import DataError, ParameterError, QSMError, did_you_mean
from qsm_recon.field import EchoSeries, estimate_field, rescale_phase
from qsm_recon.operators.dipole import DipoleOperator, dipole_kernel
from qsm_recon.operators.grid import Grid
from qsm_recon.operators.padding import padded_shape
from qsm_recon.problem import Problem, check_echo_times
from qsm_recon.solvers.registry import make_solver

SHAPE = (6, 7, 8)
RANDOM = np.random.default_rng(1).standard_normal(SHAPE).astype(np.float32)


def problem(**changes):
    return Problem(**{"field_ppm": RANDOM, "mask": np.ones(SHAPE, bool), "grid": Grid(SHAPE), **changes})


CASE = Case(problem(), np.eye(4), "x")
ABSENT = Path(__file__).parent / "absent"


@pytest.mark.parametrize(
    ("name", "given", "kept"),
    [
        ("regularisation_weight", np.float32(0.5), 0.5),
        ("regularisation_weight", np.float64(0.5), 0.5),
        ("regularisation_weight", np.int64(1), 1),
        ("regularisation_weight", np.array(0.5), 0.5),
        ("max_iterations", np.int32(5), 5),
        ("balance", np.True_, True),
        ("kernel", np.str_("green"), "green"),
    ],
)
def test_a_parameter_of_numpy_is_kept_as_one_of_python(name, given, kept):
    """An element of ``np.arange`` was no int, and one of a float32 array no float."""
    found = getattr(make_solver("tv", **{name: given}), name)
    assert found == kept
    assert type(found) is type(kept)


@pytest.mark.parametrize(
    ("name", "value"),
    [("max_iterations", np.float64(5.5)), ("balance", np.int64(1)), ("kernel", np.array(["green", "discrete"]))],
)
def test_a_parameter_of_another_kind_is_refused(name, value):
    with pytest.raises(ParameterError, match=name):
        make_solver("tv", **{name: value})


@pytest.mark.parametrize("name", [5, None, ["tv"], "FANSI"])
def test_names_that_are_none_are_refused_in_words(name):
    with pytest.raises(ParameterError, match="is unknown"):
        make_solver(name)
    assert "did you mean 'fansi'" in did_you_mean("FANSI", ("tv", "fansi", "tkd"))


@pytest.mark.parametrize("shape", [(10.5, 10, 10), 5, "abc", None, (10, 10, np.nan), (True,) * 3, [[1, 2, 3]]])
def test_grids_have_whole_sizes(shape):
    """10.5 voxels were 10, without a word."""
    with pytest.raises(DataError, match="grid shape: expected three positive sizes"):
        Grid(shape)
    assert Grid(np.array([10.0, 11.0, 12.0])).shape == (10, 11, 12)


@pytest.mark.parametrize("size", [1, 1.0, None, "1 1 1", (1, 1, "x"), (1, 1, 1j), [[1, 1, 1]]])
def test_voxel_sizes_are_three_numbers(size):
    with pytest.raises(DataError, match="voxel size: expected three positive lengths in mm"):
        Grid(SHAPE, size)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("affine", ["x", None, np.eye(4) * (1 + 1j), [[1, 2], [3]]])
def test_affines_are_real_numbers(affine):
    with pytest.raises(DataError, match=r"affine: expected a finite .* of real numbers"):
        Grid.from_affine(SHAPE, affine)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("b0_tesla", "3", "B0: expected a field strength in tesla, found '3'"),
        ("b0_tesla", True, "B0: expected a field strength"),
        ("b0_tesla", np.array([3.0, 7.0]), "B0: expected a field strength"),
        ("echo_times_s", "x", "echo times: expected positive numbers of seconds, one per echo, found 'x'"),
        ("echo_times_s", [[0.01], [0.02, 0.03]], "echo times: expected positive numbers"),
        ("echo_times_s", None, "echo times: expected positive numbers"),
        ("echo_times_s", [[0.01, 0.02], [0.03, 0.04]], "echo times: expected positive numbers"),
        ("field_offset_ppm", np.nan, "field_offset_ppm: expected a number of ppm, found nan"),
        ("field_offset_ppm", "x", "field_offset_ppm: expected a number"),
        ("field_kind", None, "field kind 'None' is unknown"),
        ("grid", SHAPE, "grid: expected a Grid, found"),
        ("field_ppm", None, "field_ppm: expected real numbers"),
    ],
)
def test_problems_refuse_in_words(name, value, message):
    with pytest.raises(DataError, match=message):
        problem(**{name: value})


def test_numbers_as_files_of_matlab_hold_them():
    """``scipy.io.loadmat`` gives a scalar as (1, 1) and a vector as a row."""
    found = problem(b0_tesla=np.array([[3.0]]), echo_times_s=np.array([[0.004, 0.012]]))
    assert found.b0_tesla == 3.0
    assert type(found.b0_tesla) is float
    assert found.echo_times_s == check_echo_times(np.array([[0.004], [0.012]])) == (0.004, 0.012)


def test_voxels_that_a_masked_mask_hides_are_outside():
    hidden = np.zeros(SHAPE, bool)
    hidden[2] = True
    assert np.array_equal(problem(mask=np.ma.array(np.ones(SHAPE, bool), mask=hidden)).mask, ~hidden)


def test_solvers_take_problems():
    with pytest.raises(DataError, match="problem: expected a Problem, found ndarray"):
        make_solver("tkd").solve(RANDOM)
    with pytest.raises(ParameterError, match="device: expected cpu"):
        require_device(5)


RAGGED = [[1.0], [1.0, 2.0]]
WHOLE = np.ones(SHAPE, bool)


@pytest.mark.parametrize(
    ("name", "refuse"),
    [
        ("field_ppm", lambda: problem(field_ppm=RAGGED)),
        ("mask", lambda: problem(mask=RAGGED)),
        ("start_ppm", lambda: make_solver("tv").solve(problem(), start_ppm=RAGGED)),
        ("susceptibility", lambda: DipoleOperator(Grid(SHAPE)).forward(RAGGED)),
        ("susceptibility", lambda: evaluate(RAGGED, RANDOM, WHOLE)),
        ("truth", lambda: evaluate(RANDOM, RAGGED, WHOLE)),
        ("mask", lambda: evaluate(RANDOM, RANDOM, RAGGED)),
        ("labels", lambda: evaluate(RANDOM, RANDOM, WHOLE, RAGGED)),
        ("magnitude", lambda: EchoSeries(RAGGED, RANDOM[..., None], (0.01,), 3.0)),
        ("phase", lambda: rescale_phase(RAGGED)),
        ("mask", lambda: estimate_field(EchoSeries(np.ones((*SHAPE, 1)), RANDOM[..., None], (0.01,), 3.0), RAGGED)),
        ("chi.nii", lambda: Case(problem(), np.eye(4), "x").save("chi.nii", RAGGED)),
    ],
)
def test_rows_of_different_lengths_are_no_image(name, refuse):
    """NumPy's own words told neither which image nor what to do."""
    with pytest.raises(DataError, match=f"{name}: expected an image, found rows of different lengths"):
        refuse()


@pytest.mark.parametrize(
    ("message", "refuse"),
    [
        ("grid: expected a Grid, found tuple", lambda: DipoleOperator(SHAPE)),
        ("grid: expected a Grid, found tuple", lambda: dipole_kernel(SHAPE)),
        ("dtype: expected float32 or float64, found 'foo'", lambda: DipoleOperator(Grid(SHAPE), dtype="foo")),
        ("problem: expected a Problem, found ndarray; make one", lambda: Case(RANDOM, np.eye(4), "x")),
        ("problem: expected a Problem, found Case; give its .problem", lambda: make_solver("tv").solve(CASE)),
        ("problem: expected a Problem, found Case; give its .problem", lambda: tune(make_solver("tv"), CASE, ABSENT)),
        ("problem: expected a Problem, found Case", lambda: without_background(CASE, make_removal("pdf"))),
        ("solver: expected a method, found str", lambda: tune("tv", problem(), ABSENT)),
        ("callback: expected a function", lambda: make_solver("tv").solve(problem(), callback=5)),
        ("callback: expected a function", lambda: make_removal("pdf").remove(RANDOM, WHOLE, Grid(SHAPE), callback=5)),
        ("data set None: expected a text, KIND:LOCATION", lambda: load_case(None)),
        ("data set PosixPath.*: expected a text", lambda: load_case(Path("rc1:x"))),
        ("field: expected the name of a file, found ndarray", lambda: case_from_files(field=RANDOM, mask="m.nii")),
        ("mask: expected the name of a file, found ndarray", lambda: case_from_files(field="f.nii", mask=WHOLE)),
        ("phase: expected the name of a file, found ndarray", lambda: case_from_files(phase=RANDOM)),
        ("magnitude: expected the name of a file, found ndarray", lambda: case_from_files(magnitude=["m.nii", RANDOM])),
        ("echo times: .* look like milliseconds", lambda: case_from_files(field="f.nii", echo_times_s=20)),
    ],
)
def test_what_is_given_for_something_else_is_refused_in_words(message, refuse):
    """These ended in a TypeError or AttributeError from somewhere inside."""
    with pytest.raises(QSMError, match=message):
        refuse()
    assert not ABSENT.exists()


def test_one_echo_time_need_not_be_a_list(tmp_path):
    """A problem took a number, and files only a sequence."""
    for name, image in (("field", RANDOM), ("mask", WHOLE)):
        CASE.save(tmp_path / f"{name}.nii", image)
    files = {"field": tmp_path / "field.nii", "mask": tmp_path / "mask.nii"}
    found = case_from_files(**files, field_unit="rad", b0_tesla=3.0, echo_times_s=0.02, accept_range=True)
    assert found.problem.echo_times_s == (0.02,)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("image", [RANDOM * (1 + 1j), RANDOM.astype(object), [[1.0]], "x"])
def test_the_dipole_operator_refuses_what_is_no_map(image):
    """Imaginary parts were dropped."""
    with pytest.raises(DataError, match="susceptibility: expected"):
        DipoleOperator(Grid(SHAPE)).forward(image)


def test_the_dipole_operator_takes_lists_and_sees_what_is_hidden():
    operator = DipoleOperator(Grid(SHAPE))
    assert np.array_equal(operator.forward(RANDOM.tolist()), operator.forward(RANDOM))
    assert np.isnan(operator.forward(np.ma.array(RANDOM, mask=RANDOM > 1))).all()


@pytest.mark.parametrize("dtype", [int, np.float16, complex])
def test_the_dipole_operator_computes_in_two_precisions(dtype):
    """All but single was taken for double, and a kernel of whole numbers was zero nearly everywhere."""
    for make, argument in ((DipoleOperator, Grid(SHAPE)), (dipole_kernel, Grid(SHAPE)), (FourierTransform, SHAPE)):
        with pytest.raises(ParameterError, match="dtype: expected float32 or float64"):
            make(argument, dtype=dtype)


@pytest.mark.parametrize("padding", [2.5, (1, 2), (1, -1, 1), "x", None, np.nan])
def test_padding_is_one_or_three_whole_numbers(padding):
    with pytest.raises(ParameterError, match="padding: expected non-negative numbers of voxels"):
        padded_shape(SHAPE, padding)
    assert padded_shape((5, 5, 5), np.int64(3)) == padded_shape((5, 5, 5), (3, 3, 3)) == (8, 8, 8)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda thing: pickle.loads(pickle.dumps(thing))])
def test_copies(copied):
    """An operator could not be copied or sent to another process; arrays of a problem's copy could be written."""
    operator = DipoleOperator(Grid(SHAPE, (1, 1, 2), (0, 1, 1)), padding=3)
    expected = operator.forward(RANDOM)
    other = copied(operator)
    assert np.array_equal(other.forward(RANDOM), expected)
    found = []
    thread = threading.Thread(target=lambda: found.append(other.forward(RANDOM)))
    thread.start()
    thread.join(30)
    assert np.array_equal(found[0], expected)
    image = copied(problem(magnitude=np.abs(RANDOM))).magnitude
    assert np.array_equal(image, np.abs(RANDOM))
    with pytest.raises(ValueError, match="read-only"):
        image[0] = 0
