"""Ctrl-C while the engine iterates."""

import os
import signal
import threading
from dataclasses import replace

import numpy as np
import pytest

from benchmarks import memory
from qsm_recon.background.base import without_background
from qsm_recon.background.projection import ProjectionOntoDipoleFields
from qsm_recon.engines.interrupt import interruptible
from qsm_recon.operators.grid import Grid
from qsm_recon.problem import Problem
from qsm_recon.result import StopReason, heed
from qsm_recon.select.path import Path
from qsm_recon.solvers.base import Series
from qsm_recon.solvers.registry import make_solver
from qsm_recon.solvers.total_variation import LinearTV
from qsm_recon.solvers.two_pass import solve_in_two_passes, words_of_two_passes

SHAPE = (16, 16, 16)


@pytest.fixture
def problem():
    field = 0.1 * np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)
    return Problem(field, np.ones(SHAPE, bool), Grid(SHAPE))


@pytest.fixture(autouse=True)
def heard():
    """Ctrl-C is heard as in a terminal; what a shell starts in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def endless(name="tv"):
    return make_solver(name, max_iterations=1_000_000, tolerance=0.0, residual_tolerance=0.0)


def test_ctrl_c_returns_what_there_is_and_marks_it(problem):
    before = signal.getsignal(signal.SIGINT)
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    solver = endless()
    solver.solve(problem, callback=lambda state: state.iteration < 3)  # compiled before the clock starts
    timer.start()
    result = solver.solve(problem)
    timer.join()
    assert not result.converged
    assert result.stop_reason == "interrupted by the user"
    assert 1 <= result.iterations == len(result.history["objective"]) < 1_000_000
    assert np.isfinite(result.susceptibility_ppm).all()
    assert result.susceptibility_ppm.any()
    assert signal.getsignal(signal.SIGINT) is before


def test_interrupted_result_is_that_of_as_many_iterations(problem):
    def interrupt(state):
        if state.iteration == 7:
            signal.raise_signal(signal.SIGINT)

    result = endless("fansi").solve(problem, callback=interrupt)
    assert result.iterations == 7
    expected = make_solver("fansi", max_iterations=7, tolerance=0.0).solve(problem)
    assert np.array_equal(result.susceptibility_ppm, expected.susceptibility_ppm)


def test_second_ctrl_c_raises():
    before = signal.getsignal(signal.SIGINT)
    with interruptible() as interruption:
        assert not interruption.requested
        signal.raise_signal(signal.SIGINT)
        assert interruption.requested
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_that_is_ignored_stays_so(problem):
    """As it is in what a shell starts in the background, which Ctrl-C in the terminal is not meant for."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    result = make_solver("tv", max_iterations=5, tolerance=0.0).solve(problem, callback=press)
    assert result.iterations == 5
    assert result.stop_reason == StopReason.ITERATION_LIMIT
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_handler_of_a_program_around_python_is_left_alone(problem, monkeypatch):
    """Python knows it as None, which cannot be put back: a solve from Julia or MATLAB would have ended in TypeError."""
    monkeypatch.setattr(signal, "getsignal", lambda _number: None)
    monkeypatch.setattr(signal, "signal", None)
    assert make_solver("tv", max_iterations=3, tolerance=0.0).solve(problem).iterations == 3


def test_works_in_a_thread_that_may_not_handle_signals(problem):
    results = []
    thread = threading.Thread(target=lambda: results.append(make_solver("tv", max_iterations=3).solve(problem)))
    thread.start()
    thread.join(timeout=60)
    assert results[0].iterations == 3


def test_callback_stops_the_solver(problem):
    seen = []

    def stop_at_five(state):
        seen.append(state)
        return state.iteration < 5

    result = endless().solve(problem, callback=stop_at_five)
    assert [state.iteration for state in seen] == [1, 2, 3, 4, 5]
    assert {state.max_iterations for state in seen} == {1_000_000}
    assert not result.converged
    assert result.stop_reason == "the callback asked to stop"
    assert result.iterations == 5
    assert [state.values["objective"] for state in seen] == result.history["objective"]


@pytest.mark.parametrize("solver", [endless(), make_solver("ndi", update_tolerance=0.0), make_solver("medi")])
def test_false_of_numpy_stops_as_well(problem, solver):
    """A comparison with an array's element is one."""
    answers = np.array([True, False])
    result = solver.solve(problem, callback=lambda state: answers[min(state.iteration - 1, 1)])
    assert result.iterations == 2
    assert result.stop_reason == StopReason.CALLBACK
    series = solver.series(problem).solve(solver, callback=lambda _state: answers[1])
    assert series.iterations == 1


def test_false_of_numpy_stops_a_removal_as_well(problem):
    removal = ProjectionOntoDipoleFields(tolerance=0.0)
    found = removal.remove(problem.field_ppm, problem.mask, problem.grid, callback=lambda _state: np.False_)
    assert found.iterations == 1
    assert found.stop_reason == StopReason.CALLBACK


def press(state):
    signal.raise_signal(signal.SIGINT)


def test_a_step_that_is_only_a_means_gives_nothing_back():
    for reason in (StopReason.CALLBACK, StopReason.MAP, "words of another package"):
        heed(reason)
    for reason in (StopReason.INTERRUPTED, "interrupted by the user"):  # the latter from a file or another process
        with pytest.raises(KeyboardInterrupt):
            heed(reason)


class InOtherWords(LinearTV):
    """A method that says in its own words why it stopped."""

    def solve(self, problem, **options):
        """See :class:`Solver`."""
        return replace(super().solve(problem, **options), stop_reason="the network has no iterations")

    def series(self, problem):
        """See :class:`Solver`."""
        return Series(problem)


def test_methods_may_have_words_of_their_own(problem):
    """As learned ones do, in sweeps with and without a start, and in two passes."""
    solver, values = InOtherWords(max_iterations=3, regularisation_weight=1e-3), [1e-2, 1e-3]
    points = list(Path(solver, problem).sweep(values))
    assert [point.stop_reason for point in points] == ["the network has no iterations"] * 2
    list(Path(solver, problem).sweep(values[1:], start=(values[0], points[0].susceptibility_ppm)))
    magnitude = np.ones(SHAPE, np.float32)
    magnitude[:2] = 0.01
    found = solve_in_two_passes(solver, replace(problem, magnitude=magnitude))
    assert "stopped_in_the_first" not in found.details["two_pass"]


class Pressing(ProjectionOntoDipoleFields):
    """A removal during which the user presses Ctrl-C."""

    def _remove(self, problem, callback):
        return super()._remove(problem, press)


def test_ctrl_c_while_a_background_is_removed_does_not_go_on_with_half_of_it(problem):
    changed, local = without_background(problem, Pressing(tolerance=0.0))
    assert local.stop_reason == "interrupted by the user"
    assert local.iterations == 1
    assert changed.field_kind == "local"  # what is asked for is given back; commands heed its reason


def test_ctrl_c_in_the_first_of_two_passes_ends_both(problem):
    magnitude = np.ones(SHAPE, np.float32)
    magnitude[:2] = 0.01
    seen = []

    def count(state):
        seen.append(state)
        if state.iteration == 3:
            press(state)

    found = solve_in_two_passes(endless(), replace(problem, magnitude=magnitude), count)
    assert len(seen) == 3
    assert found.stop_reason == "interrupted by the user"
    assert found.details["two_pass"] == {"unreliable_voxels": 2 * 16 * 16, "stopped_in_the_first": True}
    assert words_of_two_passes(found.details["two_pass"]) == "Stopped in the first of two passes."


def test_ctrl_c_in_the_first_stage_of_mctfi_ends_it():
    problem = memory.head((20, 22, 18), echoes=True)
    solver = make_solver("mctfi", update_tolerance=0.0, padding=4)
    seen = []

    def count(state):
        seen.append(state)
        press(state)

    found = solver.solve(problem, callback=count)
    assert len(seen) == 1
    assert seen[0].provisional
    assert found.stop_reason == "interrupted by the user"
    assert found.details["stage"] == "field"
