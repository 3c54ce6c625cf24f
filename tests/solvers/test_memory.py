"""Memory that is predicted for a solve, against what the process took at its peak."""

import sys

import numpy as np
import pytest
from oracles.own import own_solvers

from benchmarks import memory
from qsm_recon.backend.memory import set_memory_limit
from qsm_recon.errors import ResourceError
from qsm_recon.operators.grid import Grid
from qsm_recon.problem import Problem
from qsm_recon.select.tune import select_value
from qsm_recon.solvers.registry import make_solver, solvers

ACCURACY = 0.25
on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak of a process is not told")


@on_linux
@pytest.mark.parametrize(("name", "threads"), [("tv", 1), ("tv", 3), ("medi", 2)])
def test_prediction_is_near_the_measured_peak(name, threads):
    """However many threads there are: each kept a volume once it had planned its transforms."""
    peak, predicted = memory.measure(name, memory.SHAPES[0], threads=threads)
    assert predicted == pytest.approx(peak, rel=ACCURACY)


@on_linux
@pytest.mark.slow
def test_prediction_is_near_the_measured_peak_for_every_method_and_size(counts):
    names = [name for names in memory.ENGINES.values() for name in names]
    assert set(names) == set(own_solvers()) - {"admm"}, "a new method has a place in benchmarks/memory.py"
    wrong = {}
    for name in names:
        if solvers()[name].missing():
            continue
        for shape in memory.SHAPES:
            peak, predicted = memory.measure(name, shape)
            if abs(predicted / peak - 1) > ACCURACY:
                wrong[name, shape] = predicted / peak
    assert not wrong
    counts("memory predicted before a solve", 2 * len(names), {"within 25 % of the peak": 2 * len(names)})


def small_head_in(n):
    mask = np.zeros((n, n, n), bool)
    mask[n // 2 - 12 : n // 2 + 12, n // 2 - 12 : n // 2 + 12, n // 2 - 12 : n // 2 + 12] = True
    return Problem(np.where(mask, 0.01, 0).astype(np.float32), mask, Grid(mask.shape), field_kind="local")


@pytest.mark.parametrize("name", ["tv", "tgv", "medi", "tfi"])
def test_what_is_estimated_is_the_box_that_is_computed_and_not_the_image(name):
    """A head in eight times as many voxels costs those of the result, and nothing of the engine."""
    solver = make_solver(name)
    small, large = (solver.memory_bytes(small_head_in(n)) for n in (48, 96))
    assert solver.computed_shape(small_head_in(48)) == solver.computed_shape(small_head_in(96))
    assert large - small < 4 * 6 * (96**3 - 48**3)


def test_the_field_s_constant_is_found_on_the_box_as_well():
    """It took 19 volumes of the image where the head was a third of its width."""
    import tracemalloc

    from qsm_recon.solvers.constant_field import constant_of_field

    problem = small_head_in(96)
    constant_of_field(problem)
    tracemalloc.start()
    constant_of_field(problem)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * 96**3


@pytest.fixture
def half_a_gibibyte():
    set_memory_limit(0.5)
    yield
    set_memory_limit(None)


def test_a_sweep_that_cannot_fit_is_refused_before_it_begins(half_a_gibibyte):
    solver = make_solver("tgv", padding=160)
    with pytest.raises(ResourceError, match=r"a sweep of tgv on 48×48×48 voxels: about .* GiB of memory needed"):
        select_value(solver, small_head_in(48))


def test_a_sweep_of_two_stages_counts_what_the_second_keeps_during_the_first():
    solver, problem = make_solver("wl1l2", padding=90), small_head_in(48)
    alone, kept = solver.memory_bytes(problem), solver.kept_bytes(problem)
    assert 0.5 < kept / alone < 0.8
    set_memory_limit((alone + 0.5 * kept) / 2**30)
    try:
        with pytest.raises(ResourceError, match="a sweep of wl1l2 on 48×48×48 voxels"):
            select_value(solver, problem)
    finally:
        set_memory_limit(None)
