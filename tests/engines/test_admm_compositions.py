"""Every composition of fidelity, regulariser and background against the naive oracle, and against the toolboxes."""

from functools import partial

import numpy as np
import pytest
from oracles import relative_error
from oracles.fields import dipole_kernel
from oracles.variational import KNEE, Model, admm

from qsm_recon.engines.admm import ADMM, ADMMSettings
from qsm_recon.engines.sweeps import FieldSweeps
from qsm_recon.operators.dipole import DipoleOperator
from qsm_recon.operators.grid import Grid
from qsm_recon.terms.background import WeakHarmonic
from qsm_recon.terms.fidelity import (
    AbsoluteFidelity,
    HuberFidelity,
    NonlinearAbsoluteFidelity,
    NonlinearFidelity,
    QuadraticFidelity,
)
from qsm_recon.terms.regulariser import TotalVariation
from qsm_recon.terms.regulariser.generalised_variation import VectorSplitting

FIDELITIES = {
    "quadratic": QuadraticFidelity,
    "nonlinear": NonlinearFidelity,
    "l1": AbsoluteFidelity,
    "nonlinear-l1": NonlinearAbsoluteFidelity,
    "huber": partial(HuberFidelity, KNEE),
}
SHAPE, VOXEL_SIZE, DIRECTION = (9, 10, 12), (0.9, 1.0, 1.6), (0.2, -0.3, 0.9)
MU1, MU2, MUH, BETA = 0.3, 1.2, 0.7, 3.0


def fixed_iterations(n, mu1, mu2, relaxation=1.0, power=2):
    return ADMMSettings(mu1, mu2, n, 0.0, 0.0, relaxation=relaxation, fidelity_power=power)


def oracle_model(fidelity, regulariser, background, spacing=VOXEL_SIZE):
    rng = np.random.default_rng(5)
    chi = np.zeros(SHAPE)
    chi[3:7, 4:8, 2:7], chi[5:8, 6:9, 5:9] = 1.0, -0.8
    kernel = dipole_kernel("continuous", SHAPE, VOXEL_SIZE, DIRECTION)
    field = np.fft.ifftn(kernel * np.fft.fftn(chi)).real + 0.05 * rng.standard_normal(SHAPE)
    weight = rng.uniform(0.2, 1, SHAPE)
    weight[:2] = 0
    if fidelity.endswith("l1"):  # voxels that an l1 norm is for, and that a sine cannot tell from their neighbours
        field[4, 4, 4] += 2.0
        field[5, 3, 3] += 2 * np.pi
        weight *= 0.3
    mask = rng.random(SHAPE) < 0.7
    alpha = 0.1 if fidelity.endswith("l1") else 0.02
    return Model(
        kernel, field, weight, alpha, fidelity, regulariser, 1.5 * alpha, BETA if background else 0.0, mask, spacing,
        rng.uniform(0, 2, (3, *SHAPE)),
    )  # fmt: skip


class Watched(VectorSplitting):
    """Notes v, which is taken out of k-space plane by plane and not kept."""

    def _take_vector(self, first, last, out):
        taken = super()._take_vector(first, last, out)
        self.vector = getattr(self, "vector", np.zeros((3, *SHAPE)))
        self.vector[:, first:last] = taken[..., : SHAPE[2]].reshape(3, last - first, *SHAPE[1:])
        return taken


def engine_of(model, operator, settings, ratio):
    transform = operator.transform
    fidelity = FIDELITIES[model.fidelity]().on(transform, model.field, model.weight)
    regulariser = TotalVariation().on(transform, model.spacing, model.alpha1, model.voxel_weights)
    if model.regulariser == "tgv":
        regulariser = Watched(transform, model.spacing, model.alpha1, model.alpha0, ratio, model.voxel_weights)
    background = WeakHarmonic(transform, model.spacing, model.mask, BETA, MUH) if model.beta else None
    sweeps = FieldSweeps(transform, operator.kernel, fidelity, regulariser, background)
    return ADMM(sweeps, settings), regulariser, background


@pytest.mark.parametrize("relaxation", [1.0, 1.8])
@pytest.mark.parametrize("background", [False, True], ids=["", "background"])
@pytest.mark.parametrize("regulariser", ["tv", "tgv"])
@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_iterates_equal_those_of_the_oracle(fidelity, regulariser, background, relaxation):
    model = oracle_model(fidelity, regulariser, background)
    ratio = 1.7
    expected = admm(model, 50, MU1, ratio * MU1, MU2, MUH, relaxation)
    operator = DipoleOperator(Grid(SHAPE, VOXEL_SIZE, DIRECTION), dtype=np.float64)
    power = 1 if fidelity.endswith("l1") else 2
    engine, term, harmonic = engine_of(model, operator, fixed_iterations(50, MU1, MU2, relaxation, power), ratio)
    iterates, vectors, totals = [], [], []

    def keep(_state):
        iterates.append(operator.crop(engine.image))
        if regulariser == "tgv":
            vectors.append(term.vector.copy())
        if background:
            totals.append(operator.crop(harmonic.total_field))

    outcome = engine.run(callback=keep)
    assert len(iterates) == 50
    for n, naive in enumerate(expected):
        assert relative_error(iterates[n], naive[0]) < 1e-8
        if regulariser == "tgv":
            assert relative_error(vectors[n], naive[1:4]) < 1e-8
        if background:
            assert relative_error(totals[n], model.parts(naive)[2]) < 1e-8
    assert outcome.history["objective"] == pytest.approx([model.objective(x) for x in expected], rel=1e-8)


# ---- the toolboxes ----


@pytest.fixture(scope="module")
def toolbox_operator(small_case):
    """An operator with the toolboxes' D(0) = 1/3."""
    operator = DipoleOperator(Grid(small_case["phase"].shape, (3.75, 3.75, 3.0)), dtype=np.float64)
    operator.kernel[0, 0, 0] = 1 / 3
    return operator


@pytest.mark.parametrize(("name", "fidelity"), [("wTGV", QuadraticFidelity), ("nlTGV", NonlinearFidelity)])
def test_iterates_equal_those_of_fansi(small_case, shared_folder, toolbox_operator, name, fidelity):
    operator = toolbox_operator
    sweeps = FieldSweeps(
        operator.transform,
        operator.kernel,
        fidelity().on(operator.transform, small_case["phase"], small_case["weight"]),
        VectorSplitting(operator.transform, (1.0, 1.0, 1.0), 5e-4, 1e-3, 2.0),
    )
    engine = ADMM(sweeps, fixed_iterations(50, 0.05, 1.0))
    iterates = {}

    def keep(state):
        if state.iteration in (1, 10, 50):
            iterates[state.iteration] = operator.crop(engine.image)

    engine.run(callback=keep)
    with np.load(shared_folder / "reference" / "small_case_fansi.npz") as outputs:
        for column, iteration in enumerate(outputs["iterations"]):
            assert relative_error(iterates[int(iteration)], outputs[name][..., column]) < 1e-6


def test_solutions_equal_those_of_hd_qsm(small_case, shared_folder, toolbox_operator):
    operator = toolbox_operator
    transform = operator.transform
    mask, weight, field = small_case["mask"], small_case["weight"], small_case["phase"] * small_case["mask"] / 3
    alpha = 10**-4.785

    def run(fidelity, data_weight, weight_and_penalty, iterations, start=None):
        alpha, penalty = weight_and_penalty
        sweeps = FieldSweeps(
            transform,
            operator.kernel,
            fidelity().on(transform, field, data_weight),
            TotalVariation().on(transform, (1.0, 1.0, 1.0), alpha),
        )
        return operator.crop(ADMM(sweeps, fixed_iterations(iterations, penalty, 1.0)).run(start).image)

    second_stage = np.array([alpha, 10 * alpha])
    first = run(AbsoluteFidelity, weight, np.sqrt(second_stage), 20)
    discrepancy = np.abs(field - operator.forward(first)) * mask
    reduced = weight * (1 - discrepancy / discrepancy.max())
    with np.load(shared_folder / "reference" / "small_case_hdqsm.npz") as outputs:
        for name, iterations in (("HDQSM_stage2_after_1", 1), ("HDQSM", 30)):
            found = run(QuadraticFidelity, reduced, second_stage, iterations, first)
            assert relative_error(found, outputs[name]) < 1e-9
