"""Sessions on disk: what they keep, and what they survive."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

from qsm_recon.errors import DataError, ParameterError
from qsm_recon.report.tuning import TuningSession, tune
from qsm_recon.select.path import sweep_values
from qsm_recon.select.session import SessionCase
from qsm_recon.select.tune import refined_values, run_session, select_value
from qsm_recon.solvers.registry import make_solver
from qsm_recon.unfinished import unfinished_prefix

SOLVER = make_solver("tikhonov", regularisation_weight=0.02)
VALUES = sweep_values(SOLVER, count=7)


def case_of(problem, name="ball"):
    return SessionCase.of(name, problem, np.eye(4), [])


@pytest.fixture(scope="session")
def finished(small, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "session"
    session = TuningSession.open(folder, SOLVER, None, [case_of(small.problem)])
    run_session(session, [small.problem], VALUES)
    return session


@pytest.fixture
def session_copy(finished, tmp_path):
    return shutil.copytree(finished.folder, tmp_path / "session")


def test_what_is_stored_is_what_was_computed(finished, small):
    again = TuningSession.open(finished.folder)
    assert again.points == finished.points
    assert again.algorithm == "tikhonov"
    for point in again.points[:2]:
        expected = again.solver(point.value).solve(small.problem)
        np.testing.assert_array_equal(again.susceptibility_ppm(point), expected.susceptibility_ppm)
        assert point.data_cost == expected.details["fidelity"]


def test_hidden_files_of_others_stay(session_copy):
    """``tune(..., ".")`` took ``.gitignore`` and ``.env`` of the folder with it when the session was opened again."""
    for place in (session_copy, session_copy / "points"):
        (place / ".gitignore").write_text("*")
        (place / ".ipynb_checkpoints").mkdir()
    TuningSession.open(session_copy)
    for place in (session_copy, session_copy / "points"):
        assert (place / ".gitignore").read_text() == "*"
        assert (place / ".ipynb_checkpoints").is_dir()


def test_refined_points_surround_the_pick(finished):
    pick = finished.pick()
    assert len(finished.points) == len(VALUES) + 2
    nearest = sorted(abs(np.log([p.value for p in finished.points]) - np.log(pick.value)))
    assert nearest[0] < 0.5 * abs(np.log(VALUES[0] / VALUES[1]))


def test_refined_values_lie_in_the_interval_of_the_pick_and_the_next(finished):
    curve = finished.curve()
    pick = finished.pick()
    values = refined_values(curve, pick)
    assert values == sorted(values, reverse=True)
    assert len(values) == 2
    above = np.searchsorted(curve.parameter, pick.value)
    assert any(curve.parameter[above - 1] < value < curve.parameter[above] for value in values)


def test_points_added_later_leave_the_others_alone(session_copy, small):
    times = {path: path.stat().st_mtime_ns for path in session_copy.glob("points/*")}
    session = TuningSession.open(session_copy, SOLVER, None, [case_of(small.problem)])
    run_session(session, [small.problem], [1e-5, *VALUES], refinements=0)
    assert len(session.points) == len(times) + 1
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in times.items())


def test_a_damaged_point_is_recomputed(session_copy, finished, small, caplog):
    victim = finished.points[2]
    path = session_copy / victim.file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with caplog.at_level("WARNING", logger="qsm_recon"):
        session = TuningSession.open(session_copy, SOLVER, None, [case_of(small.problem)])
    assert f"{path}: damaged; it will be recomputed" in caplog.text
    assert victim.value not in [point.value for point in session.points]
    run_session(session, [small.problem], [victim.value], refinements=0)
    again = next(point for point in session.points if point.value == victim.value)
    assert again.data_cost == victim.data_cost
    np.testing.assert_array_equal(session.susceptibility_ppm(again), finished.susceptibility_ppm(victim))


def test_a_missing_point_is_recomputed(session_copy, finished, small):
    (session_copy / finished.points[0].file).unlink()
    session = TuningSession.open(session_copy, SOLVER, None, [case_of(small.problem)])
    assert len(session.points) == len(finished.points) - 1


def test_a_file_damaged_while_open_is_a_clear_error(session_copy, finished):
    session = TuningSession.open(session_copy)
    point = session.points[0]
    (session_copy / point.file).write_bytes(b"no archive")
    with pytest.raises(DataError, match="damaged"):
        session.susceptibility_ppm(point)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not a readable JSON file"),
        ('{"format": 99}', "format 99"),
        ('{"format": 1}', "written in format 1, expected 2"),
        ('{"format": 2, "cases": [], "points": []}', "damaged, or altered by hand"),
    ],
)
def test_a_damaged_index_is_a_clear_error(tmp_path, content, message):
    (tmp_path / "session.json").write_text(content)
    with pytest.raises(DataError, match=message):
        TuningSession.open(tmp_path)


@pytest.mark.parametrize(
    "alter",
    [
        lambda index: index["points"][0].update(data_cost="1"),
        lambda index: index["points"][0].update(case=7),
        lambda index: index["points"][2].update(value=None),
        lambda index: index["cases"][0].update(shape=[3, 3]),
        lambda index: index.update(points={}),
        lambda index: index.pop("sha256"),
    ],
)
def test_an_altered_index_is_a_clear_error(alter, session_copy):
    index = json.loads((session_copy / "session.json").read_text())
    alter(index)
    (session_copy / "session.json").write_text(json.dumps(index))
    with pytest.raises(DataError, match="damaged, or altered by hand"):
        TuningSession.open(session_copy)


def test_costs_that_are_not_finite_do_not_make_an_index_look_damaged(session_copy):
    session = TuningSession.open(session_copy)
    session.points[0] = replace(session.points[0], metrics={"nrmse": float("nan")})
    session._write()
    assert TuningSession.open(session_copy).points[0].metrics == {"nrmse": None}


@pytest.mark.parametrize("cost", [0.0, float("nan"), float("inf")])
def test_a_map_without_structure_is_no_part_of_the_curve(session_copy, cost):
    """``medi`` at a weight far too strong has no edge left; the maps were all there, and the command failed."""
    session = TuningSession.open(session_copy)
    whole = session.curve()
    empty = max(session.points, key=lambda point: point.value)
    session.points[session.points.index(empty)] = replace(empty, regularisation_cost=cost, metrics={"nrmse": cost})
    session._write()
    session = TuningSession.open(session_copy)
    np.testing.assert_array_equal(session.curve().parameter, whole.parameter[:-1])
    assert len(session.of_case(0)) == len(whole)  # its map stays
    content = session.write_page().read_text("utf-8")
    assert not any(word in content for word in ("NaN", "Infinity"))
    session.points = [replace(point, regularisation_cost=0.0) for point in session.points]
    with pytest.raises(DataError, match=r"no point has costs that are positive and finite; sweep other values"):
        session.curve()


def test_looking_where_there_is_no_session_is_a_clear_error(tmp_path):
    with pytest.raises(DataError, match="no tuning session there"):
        TuningSession.open(tmp_path)


def test_other_data_or_settings_are_refused(session_copy, small, other):
    with pytest.raises(ParameterError, match="the data of 'ball' differ"):
        TuningSession.open(session_copy, SOLVER, None, [case_of(other.problem)])
    with pytest.raises(ParameterError, match=r"algorithm tikhonov \(asked: tkd\)"):
        TuningSession.open(session_copy, make_solver("tkd"), None, [case_of(small.problem)])
    with pytest.raises(ParameterError, match=r"padding=None \(asked: 4\)"):
        TuningSession.open(session_copy, make_solver("tikhonov", padding=4), None, [case_of(small.problem)])


def test_data_sets_share_a_parameter(tmp_path, small, other):
    cases = [case_of(small.problem, "first"), case_of(other.problem, "second")]
    session = TuningSession.open(tmp_path / "both", SOLVER, None, cases)
    shared = run_session(session, [small.problem, other.problem], VALUES)
    curve, parts = session.curve(), [session.curve(0), session.curve(1)]
    np.testing.assert_allclose(curve.data_cost, parts[0].data_cost + parts[1].data_cost)
    np.testing.assert_allclose(curve.noise_cost, parts[0].noise_cost + parts[1].noise_cost)
    alone = sorted(session.pick(case=case).value for case in (0, 1))
    assert 0.9 * alone[0] <= shared.value <= 1.1 * alone[1]
    assert {p.value for p in session.of_case(0)} == {p.value for p in session.of_case(1)}


def test_a_data_set_can_join_later(session_copy, small, other):
    cases = [case_of(small.problem), case_of(other.problem, "second")]
    session = TuningSession.open(session_copy, SOLVER, None, cases)
    with pytest.raises(DataError, match="no point that all data sets have"):
        session.curve()
    run_session(session, [small.problem, other.problem], VALUES, refinements=0)
    assert len(session.curve()) == len(VALUES)


def test_data_sets_keep_their_points_in_whatever_order_they_are_given(tmp_path, small, other):
    first, second = case_of(small.problem, "first"), case_of(other.problem, "second")
    session = TuningSession.open(tmp_path / "both", SOLVER, None, [first, second])
    run_session(session, [small.problem, other.problem], VALUES[:4], refinements=0)
    again = TuningSession.open(tmp_path / "both", SOLVER, None, [second, first])
    scores = [lambda image: {"which": 2.0}, lambda image: {"which": 1.0}]
    run_session(again, [other.problem, small.problem], VALUES, metrics=scores, refinements=0)
    for index, measured in enumerate((small, other)):
        added = next(point for point in again.of_case(index) if point.value == VALUES[-1])
        assert added.metrics == {"which": index + 1.0}
        expected = SOLVER.with_regularisation(added.value).solve(measured.problem).susceptibility_ppm
        np.testing.assert_array_equal(again.susceptibility_ppm(added), expected)


def test_one_data_set_cannot_take_the_place_of_another(session_copy, small, other):
    with pytest.raises(ParameterError, match=r"holds a session of 'ball' .* give 'ball' as well"):
        TuningSession.open(session_copy, SOLVER, None, [case_of(other.problem, "second")])
    session = TuningSession.open(session_copy, SOLVER, None, [case_of(small.problem)])
    with pytest.raises(ParameterError, match="not among those of the session"):
        run_session(session, [other.problem], VALUES)
    with pytest.raises(ParameterError, match="different names"):
        TuningSession.open(session_copy, SOLVER, None, [case_of(small.problem), case_of(other.problem)])
    both = TuningSession.open(session_copy, SOLVER, None, [case_of(small.problem), case_of(other.problem, "second")])
    with pytest.raises(ParameterError, match="2 data sets to go on with, found 1"):
        run_session(both, [small.problem], VALUES)


def test_negative_rounds_of_refinement_are_refused(session_copy, small):
    session = TuningSession.open(session_copy, SOLVER, None, [case_of(small.problem)])
    with pytest.raises(ParameterError, match="expected 0 or more, found -1"):
        run_session(session, [small.problem], VALUES, refinements=-1)
    with pytest.raises(ParameterError, match="expected 0 or more, found -1"):
        select_value(SOLVER, small.problem, refinements=-1)


def test_selection_without_a_folder_agrees(finished, small):
    pick, curve = select_value(SOLVER, small.problem, count=15)
    assert pick.value == pytest.approx(finished.pick().value, rel=0.3)
    assert len(curve) == 14  # without the three values above six times the default


def test_the_figure_says_who_chose_and_its_legends_lie_over_no_curve(finished):
    figure = finished.plot()
    figure.draw_without_rendering()
    (title, *_) = figure.texts
    assert title.get_text().startswith(f"tikhonov on ball: auto chose {finished.pick().value:.4g} ")
    (picks,) = figure.legends
    right = max(axis.get_window_extent().x1 for axis in figure.axes)
    assert picks.get_window_extent().x0 >= right
    assert [text.get_text().split(":")[0] for text in picks.get_texts()] == [pick.method for pick in finished.picks()]
    legends = [(axis.get_legend(), axis) for axis in figure.axes if axis.get_legend() is not None]
    assert len(legends) == 2
    for legend, axis in legends:
        assert legend.get_window_extent().y0 >= axis.get_window_extent().y1 - 1


def test_notebooks_get_a_session_that_plots(tmp_path, small):
    session = tune(make_solver("tv"), small.problem, tmp_path / "tv", count=7)
    figure = session.plot()
    assert figure.axes[0].get_title() == "L-curve"
    figure.savefig(tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"method": "lcurv"}, "selection 'lcurv' is unknown; did you mean 'lcurve'"),
        ({"count": 1}, "expected two or more points"),
        ({"affine": np.eye(3)}, "affine: expected a finite"),
        ({"affine": np.diag([1, 1, 9, 1])}, "affine: voxels of 1×1×9 mm"),
    ],
)
def test_what_is_wrong_is_told_before_the_sweep(tmp_path, small, monkeypatch, wrong, message):
    """A rule that there is none of was told after it, and a matrix that is no affine was kept."""
    monkeypatch.setattr(type(SOLVER), "solve", None)
    with pytest.raises((ParameterError, DataError), match=message):
        tune(SOLVER, small.problem, tmp_path / "session", **wrong)
    assert not (tmp_path / "session").exists()


def test_an_unknown_rule_is_told_before_any_sweep(small, finished, monkeypatch):
    monkeypatch.setattr(type(SOLVER), "solve", None)
    with pytest.raises(ParameterError, match="selection 'lcurv' is unknown"):
        select_value(SOLVER, small.problem, "lcurv")
    with pytest.raises(ParameterError, match="selection 'lcurv' is unknown"):
        run_session(finished, [small.problem], [0.9, 0.8], method="lcurv")


def begin(folder, on_disk, *more):
    command = [sys.executable, "-m", "qsm_recon.lcurve", "--algo", "tv", "--points", "12", "--refine", "0", "--quiet"]
    return subprocess.Popen(
        [*command, "--out", str(folder), *on_disk, *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("points_before", [1, 5])
def test_a_killed_session_goes_on_where_it_was(tmp_path, on_disk, points_before):
    folder = tmp_path / "session"
    first = begin(folder, on_disk, "--set", "tolerance=0", "--set", "max_iterations=150")
    until = time.monotonic() + 120
    while time.monotonic() < until and len(list(folder.glob("points/[0-9]*"))) < points_before:
        assert first.poll() is None, first.communicate()
        time.sleep(0.002)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    index = json.loads((folder / "session.json").read_text())  # whole, whenever it was
    assert len(index["points"]) in (points_before - 1, points_before, points_before + 1)
    half = unfinished_prefix().replace(f"-{os.getpid()}-", f"-{first.pid}-")
    (folder / "points" / f"{half}written.npz").write_bytes(b"half")
    kept = {folder / point["file"]: (folder / point["file"]).stat().st_mtime_ns for point in index["points"]}
    second = begin(folder, on_disk, "--set", "tolerance=0", "--set", "max_iterations=150")
    printed, errors = second.communicate(timeout=120)
    assert second.returncode in (0, 3), errors
    assert "page to judge by" in printed
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in kept.items())
    session = TuningSession.open(folder)
    assert len(session.points) == 12
    assert not session.curve().violations().any()
    assert not list(folder.glob("points/.*"))
