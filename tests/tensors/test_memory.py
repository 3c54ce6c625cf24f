"""Memory on a device that is told before a solve, against the tensors that were there at once."""

from __future__ import annotations

from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (the extra 'torch'; make test-torch)")

from oracles.own import own_solvers

from benchmarks import memory
from benchmarks.device import with_most_tensor_bytes
from qsm_recon import make_solver
from qsm_recon.backend.device import CPU, TORCH_CPU, on_device, set_device
from qsm_recon.backend.memory import (
    check_device_memory,
    device_available_bytes,
    require_device_memory,
    set_memory_limit,
)
from qsm_recon.errors import ResourceError
from qsm_recon.select.tune import require_memory_to_sweep

SHAPE = (40, 44, 36)
CLOSED = ("tkd", "tsvd", "tikhonov")
"""Their estimate is that of arrays, twice as much as their tensors take."""
NAMES = sorted(name for name, kind in own_solvers().items() if name not in CLOSED and not kind.needs)


def most_bytes(solver, problem):
    """Most memory of tensors at once."""
    return with_most_tensor_bytes(lambda: solver.solve(problem, device=TORCH_CPU))[1]


@pytest.mark.parametrize("precision", ["single", "double"])
@pytest.mark.parametrize("name", NAMES)
def test_tensors_take_what_was_told(name, precision):
    if precision == "double" and "precision" not in own_solvers()[name].declared():
        return
    solver = memory.short(name, precision=precision)
    if "max_iterations" in solver.declared():
        solver = replace(solver, max_iterations=3)
    problem = memory.head(SHAPE, echoes=name == "mctfi")
    told = solver.device_bytes(problem) / most_bytes(solver, problem)
    assert 0.95 < told < 1.35, f"{told:.2f} times as much was told"


@pytest.mark.parametrize("name", CLOSED)
def test_closed_forms_take_no_more_than_was_told(name):
    solver, problem = make_solver(name), memory.head(SHAPE)
    assert most_bytes(solver, problem) < solver.device_bytes(problem)


def test_on_the_cores_it_is_the_machine_s_memory():
    """More than the compiled kernels take, and refused by the same limit."""
    solver, problem = make_solver("fansi"), memory.head(SHAPE)
    here = solver.memory_bytes(problem)
    with on_device(TORCH_CPU):
        there = solver.memory_bytes(problem)
        assert device_available_bytes() is None
        require_device_memory(1e18, "anything", "no advice")
        set_memory_limit(0.4)
        try:
            with pytest.raises(ResourceError, match="a sweep of fansi on 40×44×36 voxels: about"):
                require_memory_to_sweep(replace(solver, padding=120), problem)
        finally:
            set_memory_limit(None)
    assert there - here > 20 * solver._volume_bytes(problem)


def test_a_device_that_is_too_small_is_named():
    with pytest.raises(
        ResourceError, match=r"fansi on x: about 11\.5 GiB of memory of device cpu needed, but 8 GiB free there; do"
    ):
        check_device_memory(10 * 2**30, 8 * 2**30, "fansi on x", "do")
    check_device_memory(6 * 2**30, 8 * 2**30, "fansi on x", "do")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_what_is_free_on_a_graphics_processor():
    set_device("cuda")
    try:
        free = device_available_bytes()
        assert 0 < free <= torch.cuda.mem_get_info()[1]
        with pytest.raises(ResourceError, match="of device cuda needed"):
            require_device_memory(2 * free, "anything", "no advice")
    finally:
        set_device(CPU)
