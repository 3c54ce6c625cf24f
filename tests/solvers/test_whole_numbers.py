"""Images as scanners store them, in whole numbers, give what the same numbers in floating point give."""

import numpy as np
import pytest
from oracles import relative_error

from qsm_recon.solvers.registry import make_solver
from qsm_recon.testing.measurement import Measurement

USES_OF_THE_MAGNITUDE = [
    ("medi", {"max_iterations": 3}),
    ("tfi", {"max_iterations": 3}),
    ("tv", {"regularisation_weighting": "edges", "max_iterations": 20}),
    ("tv", {"regularisation_weighting": "magnitude", "max_iterations": 20}),
    ("tv", {"weighting": "magnitude-squared", "max_iterations": 20}),
]


@pytest.mark.parametrize(("name", "settings"), USES_OF_THE_MAGNITUDE)
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16])
def test_a_magnitude_of_whole_numbers_means_what_it_says(name, settings, dtype):
    measured = Measurement()
    magnitude = np.rint(250 * measured.magnitude)
    solver = make_solver(name, **settings)
    expected, found = (
        solver.solve(measured.problem(magnitude=magnitude.astype(kind))).susceptibility_ppm
        for kind in (np.float32, dtype)
    )
    assert relative_error(found, expected) < 1e-3


def test_noise_of_whole_numbers_is_a_weight():
    measured = Measurement()
    noise = np.rint(5 * measured.magnitude)
    solver = make_solver("tv", weighting="noise", max_iterations=20)
    expected, found = (
        solver.solve(measured.problem(field_noise_ppm=noise.astype(kind))).susceptibility_ppm
        for kind in (np.float32, np.int16)
    )
    assert relative_error(found, expected) < 1e-3
