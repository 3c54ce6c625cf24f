"""Cutting work into slabs and running it on threads."""

import multiprocessing
import os
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qsm_recon.backend.threads import parallel_slabs, run_tasks, set_thread_count, slab_edges, thread_count
from qsm_recon.errors import ParameterError


@given(st.integers(1, 300), st.integers(1, 40))
def test_slabs_cover_the_range_once_and_evenly(n, pieces):
    edges = slab_edges(n, pieces)
    assert [i for start, stop in edges for i in range(start, stop)] == list(range(n))
    sizes = [stop - start for start, stop in edges]
    assert len(edges) == min(n, pieces)
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("count", [1, 2, 5])
def test_results_come_back_in_order(count, threads):
    threads(count)
    assert thread_count() == count
    assert run_tasks([lambda i=i: i * i for i in range(20)]) == [i * i for i in range(20)]
    seen = np.zeros(17, dtype=int)

    def work(start, stop, step):
        seen[start:stop] += step
        return start

    assert parallel_slabs(work, 17, 3, pieces=4) == [start for start, _ in slab_edges(17, 4)]
    assert (seen == 3).all()


def test_tasks_run_at_the_same_time(threads):
    threads(2)
    meeting = threading.Barrier(2, timeout=20)
    assert sorted(run_tasks([meeting.wait, meeting.wait])) == [0, 1]


def test_error_in_a_task_reaches_the_caller(threads):
    threads(2)
    with pytest.raises(ZeroDivisionError):
        run_tasks([lambda: 1, lambda: 1 // 0])


@pytest.mark.parametrize("count", [0, -3])
def test_number_of_threads_must_be_positive(count):
    with pytest.raises(ParameterError, match="threads"):
        set_thread_count(count)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_forked_process_has_threads_of_its_own(threads):
    """It has none of those that its parent started, and waited for them for ever."""
    threads(2)
    run_tasks([lambda: 1, lambda: 2])
    process = multiprocessing.get_context("fork").Process(target=run_tasks, args=([lambda: 1, lambda: 2],))
    process.start()
    process.join(20)
    ended = process.exitcode
    process.kill()
    process.join()
    assert ended == 0
