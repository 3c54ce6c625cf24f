"""What must not change a map: the magnitude's scale, a constant in the field, padding, repetition, another process."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from oracles import relative_error
from oracles.own import own_solvers

from qsm_recon.operators.grid import Grid
from qsm_recon.problem import Problem
from qsm_recon.solvers.registry import make_solver

from .test_equivalence import METHODS, every_method, solved
from .world import scanned

ROOT = Path(__file__).resolve().parents[2]
POINTS_OF_NRMSE = 0.1


@pytest.fixture(scope="module")
def scan():
    return scanned()


@pytest.fixture(scope="module")
def problem_of(scan):
    x, y, z = np.ix_(*(np.linspace(-1, 1, n) for n in scan.mask.shape))
    rng = np.random.default_rng(3)
    noise = 0.001 * rng.standard_normal(scan.mask.shape).astype(np.float32)
    # Noise, or rounding would decide which of many equal slopes of the magnitude are edges.
    uneven = 1 + 0.3 * x - 0.2 * y + 0.1 * z + 0.02 * rng.standard_normal(scan.mask.shape)
    magnitude = np.where(scan.mask, uneven, 0).astype(np.float32)
    field = np.where(scan.mask, scan.field + noise, 0).astype(np.float32)

    def make(**changes):
        known = {"field_ppm": field, "mask": scan.mask, "grid": Grid.from_affine(scan.mask.shape, scan.affine)}
        known |= {"magnitude": magnitude, "field_kind": "local", "b0_tesla": 3.0, "echo_times_s": (0.02,)}
        return Problem(**{**known, **changes})

    return make


@pytest.fixture(scope="module")
def usual(problem_of):
    return {engine: solved(engine, problem_of()) for engine in METHODS}


@every_method
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_the_scale_of_the_magnitude_means_nothing(engine, scale, problem_of, usual):
    magnitude = (problem_of().magnitude * np.float32(scale)).astype(np.float32)
    assert relative_error(solved(engine, problem_of(magnitude=magnitude)), usual[engine]) < 1e-3


@every_method
@pytest.mark.parametrize("constant", [-0.2, 0.05])
def test_a_constant_in_the_field_means_nothing(engine, constant, problem_of, usual):
    """Every method is invariant, as the constant is taken out first: to the rounding of the field, 1e-8 ppm."""
    problem = problem_of()
    shifted = problem_of(field_ppm=problem.field_ppm + np.float32(constant))
    assert relative_error(solved(engine, shifted), usual[engine]) < 1e-3


@every_method
def test_more_padding_means_little(engine, problem_of, usual):
    """What the default padding leaves of the periodic copies' field."""
    name, settings = METHODS[engine]
    found = make_solver(name, **settings, padding=24).solve(problem_of()).susceptibility_ppm
    # Total generalised variation ends up to 1.5 % from its limit on either grid, by other ways.
    assert relative_error(found, usual[engine]) < (0.1 if engine in ("closed form", "ADMM, TGV") else 0.05)


@every_method
def test_an_image_that_is_larger_around_the_same_head_means_nothing(engine, scan, problem_of, usual):
    problem = problem_of()
    images = {name: np.pad(getattr(problem, name), 9) for name in ("field_ppm", "mask", "magnitude")}
    grid = Grid(images["mask"].shape, problem.grid.voxel_size_mm, problem.grid.b0_direction)
    found = solved(engine, problem_of(**images, grid=grid))[9:-9, 9:-9, 9:-9]
    # A filter of the whole image has another grid then; the others compute on the box around the mask.
    assert relative_error(found, usual[engine]) < (0.1 if engine == "closed form" else 0.05)


@every_method
def test_repeats_in_one_process_are_the_same_to_the_last_bit(engine, problem_of, usual):
    assert np.array_equal(solved(engine, problem_of()), usual[engine])


PROCESS = """
import hashlib, sys
from geometry.world import scanned
from qsm_recon import Grid, Problem, make_solver
from qsm_recon.backend.threads import set_thread_count
set_thread_count(int(sys.argv[1]))
scan = scanned()
problem = Problem(scan.field, scan.mask, Grid.from_affine(scan.mask.shape, scan.affine), field_kind="local")
for name in ("tkd", "tv", "medi"):
    chi = make_solver(name).solve(problem).susceptibility_ppm
    print(name, hashlib.sha256(chi.tobytes()).hexdigest())
"""


@pytest.mark.parametrize("threads", [1, 2])
def test_repeats_in_other_processes_are_the_same_to_the_last_bit(threads):
    """With the same cache folder: FFTW's plans, which differ by timing, come from the wisdom that is kept there."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    command = [sys.executable, "-c", PROCESS, str(threads)]
    subprocess.run(command, env=environment, check=True, capture_output=True)  # plans are made
    first, second = (subprocess.run(command, env=environment, check=True, capture_output=True).stdout for _ in range(2))
    assert first == second
    assert len(first.split()) == 6
    assert hashlib.sha256(first).digest()


@pytest.mark.slow
def test_single_precision_is_enough_for_every_method(scan, problem_of, counts):
    """Converged with default settings: the error of a map differs by 0.1 points of NRMSE at most."""
    truth = scan.chi[scan.mask] - scan.chi[scan.mask].mean()
    names = [
        n for n, s in own_solvers().items() if not getattr(s, "needs_echoes", False) and "precision" in s.declared()
    ]
    worst = {}
    for name in names:
        errors = []
        for precision in ("single", "double"):
            found = make_solver(name, precision=precision).solve(problem_of()).susceptibility_ppm[scan.mask]
            errors.append(100 * np.linalg.norm(found - found.mean() - truth) / np.linalg.norm(truth))
        worst[name] = abs(errors[0] - errors[1])
    print({name: float(f"{value:.2g}") for name, value in worst.items()})  # noqa: T201
    assert min(worst.values()) > 0  # they were different computations
    assert max(worst.values()) < POINTS_OF_NRMSE, worst
    counts("single against double precision", len(names), {"within 0.1 points of NRMSE": len(names)})
