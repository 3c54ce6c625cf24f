"""The laws of terms on tensors: those of this package hold them, and a term that cannot take whole arrays is told."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (the extra 'torch'; make test-torch)")

from qsm_recon.backend import jit
from qsm_recon.backend.field_sweep import proximal_sweep
from qsm_recon.backend.jit import inline, kernel
from qsm_recon.backend.tensors.dispatch import twin_of
from qsm_recon.errors import ParameterError
from qsm_recon.terms.fidelity import (
    AbsoluteFidelity,
    HuberFidelity,
    NonlinearAbsoluteFidelity,
    NonlinearFidelity,
    QuadraticFidelity,
)
from qsm_recon.terms.fidelity.absolute import size
from qsm_recon.terms.regulariser import TotalGeneralisedVariation, TotalVariation
from qsm_recon.testing import BrokenLawError
from qsm_recon.testing.regulariser_laws import RegulariserLaws
from qsm_recon.testing.term_laws import FidelityLaws

LAW = "tensors_give_what_arrays_do"
FIDELITIES = [
    QuadraticFidelity(),
    HuberFidelity(0.1),
    AbsoluteFidelity(),
    *(term(iterations) for term in (NonlinearFidelity, NonlinearAbsoluteFidelity) for iterations in (None, 0)),
]


@pytest.mark.parametrize("fidelity", FIDELITIES, ids=str)
def test_fidelities(fidelity):
    FidelityLaws(fidelity).check(LAW)


@pytest.mark.parametrize("regulariser", [TotalVariation(), TotalGeneralisedVariation()], ids=str)
def test_regularisers(regulariser):
    RegulariserLaws(regulariser).check(LAW)


@inline
def branching(argument, threshold, numbers):
    """Right for numbers, and meaningless for arrays."""
    if argument > threshold:
        return argument - threshold
    return argument + threshold if argument < -threshold else argument - argument


@kernel
def branching_step(
    predicted, state, measured, weight, first, nz, dual_scale, penalty, relaxation, numbers
):  # fmt: skip
    return proximal_sweep(branching, size, predicted, state, measured, weight, first, nz, penalty, relaxation, numbers)


@kernel
def looping_step(
    predicted, state, measured, weight, first, nz, dual_scale, penalty, relaxation, numbers
):  # fmt: skip
    total = 0.0
    for i in range(predicted.shape[0]):
        total += predicted[i, 0, 0]
    return total, total, total, total, total


def with_step(found: jit.Kernel) -> AbsoluteFidelity:
    """An l1 norm with another kernel."""

    @dataclass(frozen=True)
    class Own(AbsoluteFidelity):
        """Its kernel is another."""

        def step(self, dtype: type) -> Callable:
            return found

    return Own()


def test_a_step_that_branches_is_found_out():
    with pytest.raises(BrokenLawError, match="on tensors it raises RuntimeError: Boolean value of Tensor"):
        FidelityLaws(with_step(branching_step)).check(LAW)


def test_other_results_on_tensors_are_found_out():
    class Bent(AbsoluteFidelity):
        """Its numbers depend on where it is."""

        def on(self, transform, field, weight, scale=1.0):
            device = type(transform).__module__.rpartition(".")[2]
            return super().on(transform, field, weight * (1.01 if device != "fft" else 1.0), scale)

    with pytest.raises(BrokenLawError, match="z - s on tensors in float32: expected a relative difference of at most"):
        FidelityLaws(Bent()).check(LAW)


def test_a_kernel_with_loops_of_its_own_refuses_tensors_and_breaks_no_law():
    with pytest.raises(ParameterError, match="'looping_step' is there for the CPU only"):
        twin_of(looping_step)
    FidelityLaws(with_step(looping_step)).check(LAW)
    assert np.isfinite(looping_step(*np.ones((4, 2, 2, 2)), 0, 2, 0.1, 1.0, 1.0, ())).all()


def test_importing_the_laws_does_not_import_torch():
    code = "import sys, qsm_recon.testing; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
