"""The fused engine against the naive oracle, iterate by iterate, and against stored outputs of the FANSI toolbox."""

import itertools

import numpy as np
import pytest
from oracles import relative_error
from oracles.fields import dipole_kernel
from oracles.total_variation import Model, admm

from qsm_recon.engines.admm import ADMM, ADMMSettings
from qsm_recon.engines.sweeps import FieldSweeps
from qsm_recon.operators.dipole import DipoleOperator
from qsm_recon.operators.grid import Grid
from qsm_recon.terms.fidelity import NonlinearFidelity, QuadraticFidelity
from qsm_recon.terms.regulariser import TotalVariation

SHAPE, VOXEL_SIZE, DIRECTION = (12, 15, 10), (0.9, 1.0, 1.6), (0.2, -0.3, 0.9)
ALPHA, MU1, MU2 = 0.02, 0.3, 1.2


def fixed_iterations(n, mu1=MU1, mu2=MU2, relaxation=1.0, **others):
    settings = {"tolerance": 0, "residual_tolerance": 0, "balance": False, **others}
    return ADMMSettings(mu1, mu2, n, relaxation=relaxation, **settings)


def measurement():
    """A noisy field in rad, a weight that vanishes in places, and voxel weights of the regulariser."""
    rng = np.random.default_rng(5)
    chi = np.zeros(SHAPE)
    chi[3:8, 4:9, 2:7], chi[6:11, 9:13, 5:9] = 1.5, -1.0
    kernel = dipole_kernel("continuous", SHAPE, VOXEL_SIZE, DIRECTION)
    field = np.fft.ifftn(kernel * np.fft.fftn(chi)).real + 0.05 * rng.standard_normal(SHAPE)
    weight = rng.uniform(0.2, 1, SHAPE)
    weight[:2] = 0
    return kernel, field, weight, rng.uniform(0, 2, (3, *SHAPE))


@pytest.mark.parametrize("nonlinear", [False, True])
@pytest.mark.parametrize("relaxation", [1.0, 1.8])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), VOXEL_SIZE])
@pytest.mark.parametrize("components", [0, 1, 3])
def test_iterates_equal_those_of_the_oracle(nonlinear, relaxation, spacing, components):
    kernel, field, weight, voxel_weights = measurement()
    w = {0: None, 1: voxel_weights[0], 3: voxel_weights}[components]
    model = Model(kernel, field, weight, ALPHA, spacing, 1.0 if w is None else w, nonlinear)
    expected = admm(model, 50, MU1, MU2, relaxation)
    operator = DipoleOperator(Grid(SHAPE, VOXEL_SIZE, DIRECTION), dtype=np.float64)
    fidelity = (NonlinearFidelity if nonlinear else QuadraticFidelity)().on(operator.transform, field, weight)
    regulariser = TotalVariation().on(operator.transform, spacing, ALPHA, w)
    sweeps = FieldSweeps(operator.transform, operator.kernel, fidelity, regulariser)
    engine = ADMM(sweeps, fixed_iterations(50, relaxation=relaxation))
    iterates = []
    outcome = engine.run(callback=lambda _state: iterates.append(operator.crop(engine.image)))
    assert len(iterates) == 50
    for found, naive in zip(iterates, expected, strict=True):
        assert relative_error(found, naive) < 1e-10
    assert relative_error(operator.crop(outcome.image), expected[-1]) < 1e-10
    assert outcome.history["objective"] == pytest.approx([model.objective(x) for x in expected], rel=1e-10)
    assert outcome.history["fidelity"] == pytest.approx([model.fidelity(x) for x in expected], rel=1e-10)
    assert outcome.history["regularisation"] == pytest.approx([model.variation(x) for x in expected], rel=1e-10)
    changes = [relative_error(a, b) for a, b in itertools.pairwise(expected)]
    assert outcome.history["update"][1:] == pytest.approx(changes, rel=1e-8)


# ---- the FANSI toolbox ----

TOOLBOX = {"alpha": 5e-4, "mu1": 0.05, "mu2": 1.0}


@pytest.fixture(scope="module")
def toolbox(small_case, shared_folder):
    """Inputs and stored outputs; the operator has the toolbox's D(0) = 1/3."""
    grid = Grid(small_case["phase"].shape, (3.75, 3.75, 3.0))
    operator = DipoleOperator(grid, dtype=np.float64)
    operator.kernel[0, 0, 0] = 1 / 3
    stored = operator.transform.spectrum_view(operator.kernel)
    assert np.allclose(stored, small_case["kernel"][..., : stored.shape[2]], rtol=0, atol=1e-9)
    with np.load(shared_folder / "reference" / "small_case_fansi.npz") as outputs:
        return small_case, operator, dict(outputs)


def run_as_the_toolbox(inputs, operator, fidelity, settings, voxel_weights=None):
    transform = operator.transform
    regulariser = TotalVariation().on(transform, (1.0, 1.0, 1.0), TOOLBOX["alpha"], voxel_weights)
    data_term = fidelity().on(transform, inputs["phase"], inputs["weight"])
    engine = ADMM(FieldSweeps(transform, operator.kernel, data_term, regulariser), settings)
    iterates = {}

    def keep(state):
        if state.iteration in (1, 10, 50):
            iterates[state.iteration] = operator.crop(engine.image)

    return engine.run(callback=keep), iterates


@pytest.mark.parametrize(
    ("name", "fidelity"), [("wTV", QuadraticFidelity), ("nlTV", NonlinearFidelity), ("wTV_rwc", QuadraticFidelity)]
)
def test_iterates_equal_those_of_the_toolbox(toolbox, name, fidelity):
    inputs, operator, outputs = toolbox
    voxel_weights = np.moveaxis(inputs["regweight_cont"], -1, 0) if name.endswith("rwc") else None
    settings = fixed_iterations(50, TOOLBOX["mu1"], TOOLBOX["mu2"])
    _, iterates = run_as_the_toolbox(inputs, operator, fidelity, settings, voxel_weights)
    for column, iteration in enumerate(outputs["iterations"]):
        assert relative_error(iterates[int(iteration)], outputs[name][..., column]) < 1e-5


def test_stops_where_the_toolbox_stops(toolbox):
    inputs, operator, outputs = toolbox
    settings = fixed_iterations(300, TOOLBOX["mu1"], TOOLBOX["mu2"], update_tolerance=0.01)
    outcome, _ = run_as_the_toolbox(inputs, operator, QuadraticFidelity, settings)
    assert outcome.converged
    assert outcome.stop_reason == "the update is below its tolerance"
    assert len(outcome.history["objective"]) == outputs["wTV_tol1_iterations"]
    assert relative_error(operator.crop(outcome.image), outputs["wTV_tol1"]) < 1e-5
