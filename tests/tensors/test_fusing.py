"""Element-wise work compiled by torch: the same maps, and nothing is compiled twice."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (the extra 'torch'; make test-torch)")

from qsm_recon import make_solver
from qsm_recon.backend.device import TORCH_CPU
from qsm_recon.backend.tensors.fusing import fusible, set_fusing
from qsm_recon.testing.measurement import Measurement


@pytest.fixture(autouse=True)
def fusing():
    if shutil.which("c++") is None:
        pytest.skip("torch compiles for the CPU with c++, which is not here")
    set_fusing(True)
    yield
    set_fusing(False)
    torch.compiler.reset()


def test_off_unless_asked_for():
    set_fusing(False)
    seen = []

    @fusible
    def function(values):
        seen.append(type(values))
        return values + 1

    assert function(torch.zeros(2)).tolist() == [1, 1]
    assert function(torch.zeros(2)).tolist() == [1, 1]
    assert len(seen) == 2


@pytest.mark.filterwarnings("ignore")  # of torch's compiler
@pytest.mark.parametrize("name", ["tv", "l1qsm"])
def test_maps_are_the_same(name):
    """Penalties that change from one iteration to the next are no reason to compile anew."""
    problem = Measurement().problem()
    solver = make_solver(name, max_iterations=12, tolerance=0.0, residual_tolerance=0.0)
    set_fusing(False)
    expected = solver.solve(problem, device=TORCH_CPU).susceptibility_ppm
    set_fusing(True)
    found = solver.solve(problem, device=TORCH_CPU).susceptibility_ppm
    assert np.linalg.norm(found - expected) < 1e-5 * np.linalg.norm(expected)
    with torch.compiler.set_stance("fail_on_recompile"):
        again = solver.solve(problem, device=TORCH_CPU).susceptibility_ppm
    assert np.array_equal(again, found)
