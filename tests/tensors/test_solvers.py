"""Every method on tensors gives the map that it gives on arrays, and leaves the device once, at the end."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

torch = pytest.importorskip("torch", reason="torch is not installed (the extra 'torch'; make test-torch)")

from oracles.own import own_solvers

from qsm_recon import Grid, Problem, make_solver
from qsm_recon.backend.arrays import host
from qsm_recon.backend.device import TORCH_CPU, on_device, set_device
from qsm_recon.backend.tensors import arrays, transform
from qsm_recon.errors import ParameterError
from qsm_recon.solvers.composition import CompositionRun
from qsm_recon.solvers.variational import VariationalSolver
from qsm_recon.terms.weights import data_weight
from qsm_recon.units import rad_per_ppm

ITERATIONS = 50
SINGLE, DOUBLE = 1e-4, 1e-9
INEXACT = {"medi": 1e-3, "tfi": 1e-3, "mctfi": 1e-3}
"""Methods whose inner iterations end at a residual: rounding moves where along the way."""
ADMM = sorted(name for name, kind in own_solvers().items() if issubclass(kind, VariationalSolver) and name != "wl1l2")


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(7)
    shape, times = (21, 24, 19), (0.004, 0.012, 0.020)
    field = (0.3 * gaussian_filter(rng.standard_normal(shape), 1.5)).astype(np.float32)
    field[10, 10, 10] += 1
    mask = np.zeros(shape, bool)
    mask[3:-3, 3:-4, 3:-3] = rng.random((15, 17, 13)) < 0.98
    magnitude = (1 + np.abs(gaussian_filter(rng.standard_normal(shape), 1))).astype(np.float32)
    phase = np.array([rad_per_ppm(3.0, t) for t in times]) * field[..., None]
    echoes = magnitude[..., None] * np.exp(1j * (0.3 + phase) - 30 * np.array(times))
    echoes = echoes + 0.02 * (rng.standard_normal((*echoes.shape, 2)) @ [1, 1j])
    return Problem(
        field, mask, Grid(shape, (1, 1.2, 0.9), (0.1, 0.2, 0.97)), magnitude=magnitude, b0_tesla=3.0,
        echo_times_s=times, echoes=np.where(mask[..., None], echoes, 0).astype(np.complex64), field_kind="local",
    )  # fmt: skip


def settings(name, **wanted):
    """Those of the wanted settings that a method has."""
    return {key: value for key, value in wanted.items() if key in own_solvers()[name].declared()}


def distance(found, expected):
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize("precision", ["single", "double"])
@pytest.mark.parametrize("name", sorted(name for name, kind in own_solvers().items() if not kind.needs))
def test_the_map_is_the_same(name, precision, problem):
    wanted = {"precision": precision, "max_iterations": ITERATIONS, "tolerance": 0.0, "residual_tolerance": 0.0}
    solver = make_solver(name, **settings(name, **wanted))
    here, there = solver.solve(problem), solver.solve(problem, device=TORCH_CPU)
    assert there.details["device"] == TORCH_CPU
    assert "device" not in here.details
    assert there.iterations == here.iterations
    assert isinstance(there.susceptibility_ppm, np.ndarray)
    assert there.susceptibility_ppm.dtype == here.susceptibility_ppm.dtype
    single = precision == "single" or "precision" not in solver.declared()
    bound = INEXACT.get(name, SINGLE) if single else 2e-7  # a map is in single precision at last
    assert distance(there.susceptibility_ppm, here.susceptibility_ppm) < bound
    assert distance(there.fitted_field_ppm, here.fitted_field_ppm) < bound
    for image in here.images:
        assert distance(there.images[image], here.images[image]) < bound
    if here.iterations:
        objective, expected = (np.array(result.history["objective"]) for result in (there, here))
        assert np.allclose(objective, expected, rtol=1e-5 if single else DOUBLE)


@pytest.mark.parametrize("name", ADMM)
@pytest.mark.parametrize("precision", ["single", "double"])
def test_the_whole_image_of_the_engine_is_the_same(name, precision, problem):
    """In the precision of the arithmetic, and outside the mask too."""
    solver = make_solver(
        name, precision=precision, max_iterations=ITERATIONS, tolerance=0.0, residual_tolerance=0.0
    ).resolved(problem)
    weight, _ = data_weight(problem)
    images = []
    for device in ("cpu", TORCH_CPU):
        with on_device(device):
            run = CompositionRun(solver, problem, solver.composition())
            outcome = run.minimise(solver.main_value(), weight)
        assert len(outcome.history["objective"]) == ITERATIONS
        images.append(host(outcome.image)[..., : run.operator.padded_grid.shape[2]])
    assert images[1].dtype == images[0].dtype
    assert distance(images[1], images[0]) < (SINGLE if precision == "single" else DOUBLE)


@pytest.mark.parametrize("name", ["tv", "fansi-tgv", "rts", "ndi", "medi"])
def test_a_start_is_taken(name, problem):
    solver = make_solver(name, **settings(name, max_iterations=5, precision="double"))
    start = (0.1 * problem.field_ppm).astype(np.float32)
    here = solver.solve(problem, start_ppm=start)
    there = solver.solve(problem, start_ppm=start, device=TORCH_CPU)
    assert distance(there.susceptibility_ppm, here.susceptibility_ppm) < 2e-7


@pytest.mark.parametrize("name", ["fansi", "tgv"])
def test_a_series_goes_on(name, problem):
    """With the device of the process, as commands set it."""
    solver, maps = make_solver(name, max_iterations=10, precision="double").resolved(problem), []
    for device in ("cpu", TORCH_CPU):
        set_device(device)
        try:
            series = solver.series(problem)
            series.solve(solver)
            maps.append(series.solve(replace(solver, regularisation_weight=0.5 * solver.main_value())))
        finally:
            set_device("cpu")
    assert distance(maps[1].susceptibility_ppm, maps[0].susceptibility_ppm) < 2e-7


@pytest.mark.parametrize(
    ("name", "further"),
    [
        ("medi", {"merit": True}),
        ("medi", {"circulant": False}),
        ("medi", {"smv_radius": 3.0}),
        ("ndi", {"method": "gradient"}),
        ("ndi", {"hold_turns": False}),
        ("tfi", {"preconditioner": "adaptive"}),
        ("tfi", {"background": "present"}),
        ("tv", {"regularisation_weighting": "magnitude"}),
        ("fansi", {"convex_iterations": 2}),
        ("admm", {"regulariser": "tgv", "fidelity": "l1", "harmonic_weight": 100.0}),
        ("mctfi", {"model": "reduced"}),
    ],
    ids=str,
)
def test_other_settings(name, further, problem):
    solver = make_solver(name, **settings(name, max_iterations=6, precision="double"), **further)
    here, there = solver.solve(problem), solver.solve(problem, device=TORCH_CPU)
    assert there.iterations == here.iterations
    assert distance(there.susceptibility_ppm, here.susceptibility_ppm) < 2e-7


@pytest.mark.parametrize("name", ["fansi", "fansi-tgv", "l1qsm", "wh-qsm", "rts", "ndi"])
def test_no_array_leaves_or_enters_the_device_while_it_iterates(name, problem, monkeypatch):
    moved, iterating = [], []

    def spy(owner, attribute):
        usual = getattr(owner, attribute)

        def call(*arguments, **named):
            if iterating:
                moved.append((attribute, arguments[0].size if hasattr(arguments[0], "ndim") else 1))
            return usual(*arguments, **named)

        monkeypatch.setattr(owner, attribute, call)

    for attribute in ("numpy", "cpu", "tolist", "item"):
        usual = getattr(torch.Tensor, attribute)

        def call(tensor, *arguments, _usual=usual, _name=attribute):
            if iterating:
                moved.append((_name, tensor.numel()))
            return _usual(tensor, *arguments)

        monkeypatch.setattr(torch.Tensor, attribute, call)
    spy(arrays, "on_device")
    spy(transform, "on_device")

    def callback(state):
        iterating[:] = [True] if state.iteration < 9 else []

    endless = {"tolerance": 0.0, "residual_tolerance": 0.0, "update_tolerance": 0.0, "automatic_stop": False}
    solver = make_solver(name, **settings(name, max_iterations=9, **endless))
    result = solver.solve(problem, callback=callback, device=TORCH_CPU)
    assert result.iterations == 9
    assert moved
    assert max(size for _, size in moved) <= 10, "more than the sums of a kernel"
    assert len(moved) / 8 <= 16, "the device is waited for too often"


def test_no_torch_is_imported_where_it_is_not_asked_for():
    code = (
        "import sys, numpy as np; from qsm_recon import Grid, Problem, make_solver\n"
        "problem = Problem(np.eye(8, dtype='f4')[:, :, None] * np.ones(8, 'f4'), np.ones((8, 8, 8), bool),"
        " Grid((8, 8, 8), (1, 1, 1), (0, 0, 1)), field_kind='local')\n"
        "make_solver('tv', max_iterations=2).solve(problem)\n"
        "make_solver('tkd').solve(problem, device='cpu')\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=os.environ, capture_output=True, text=True, check=False)
    assert done.stdout == "False\n", done.stderr


def test_an_unknown_device_is_refused_before_anything_is_done(problem):
    with pytest.raises(ParameterError, match="found 'gpu'"):
        make_solver("tkd").solve(problem, device="gpu")
