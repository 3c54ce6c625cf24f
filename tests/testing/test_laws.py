"""The checks that the package ships: terms of its own pass them, and broken ones do not."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import pytest

from qsm_recon.backend.field_sweep import proximal_sweep
from qsm_recon.backend.jit import kernel
from qsm_recon.solvers.base import Solution, Solver
from qsm_recon.solvers.direct import TKD
from qsm_recon.solvers.parameters import parameter
from qsm_recon.terms.fidelity import (
    AbsoluteFidelity,
    HuberFidelity,
    NonlinearAbsoluteFidelity,
    NonlinearFidelity,
    QuadraticFidelity,
)
from qsm_recon.terms.fidelity.absolute import size
from qsm_recon.terms.fidelity.huber import huber_proximal
from qsm_recon.terms.regulariser import TotalGeneralisedVariation, TotalVariation
from qsm_recon.testing import BrokenLawError, check_solver, check_term
from qsm_recon.testing.laws import Laws
from qsm_recon.testing.regulariser_laws import RegulariserLaws
from qsm_recon.testing.solver_laws import SolverLaws
from qsm_recon.testing.term_laws import FidelityLaws

FIDELITIES = [
    QuadraticFidelity(),
    HuberFidelity(0.1),
    AbsoluteFidelity(),
    *(term(iterations) for term in (NonlinearFidelity, NonlinearAbsoluteFidelity) for iterations in (None, 0)),
]


@pytest.mark.parametrize("law", FidelityLaws.names())
@pytest.mark.parametrize("fidelity", FIDELITIES, ids=str)
def test_fidelities(fidelity, law):
    FidelityLaws(fidelity).check(law)


@pytest.mark.parametrize("law", RegulariserLaws.names())
@pytest.mark.parametrize("regulariser", [TotalVariation(), TotalGeneralisedVariation()], ids=str)
def test_regularisers(regulariser, law):
    RegulariserLaws(regulariser).check(law)


@pytest.mark.parametrize("laws", [SolverLaws, FidelityLaws, RegulariserLaws])
def test_laws_are_found_by_their_names(laws: type[Laws]):
    assert len(laws.names()) >= 7
    assert laws.names()[0] == "describes_itself"
    assert not {"names", "check"} & set(laws.names())


def test_a_term_of_another_power_than_it_says_is_found_out():
    @dataclass(frozen=True)
    class Wrong(QuadraticFidelity):
        """Says that it is an l1 norm."""

        power: ClassVar[int] = 1

    with pytest.raises(BrokenLawError, match="grows_with_its_power: power 1: doubled residuals give 4 times"):
        check_term(Wrong())


@kernel
def mismatched_step(
    predicted, state, measured, weight, first, nz, dual_scale, penalty, relaxation, numbers
):  # fmt: skip
    """The proximal map of one function and the value of another."""
    return proximal_sweep(
        huber_proximal, size, predicted, state, measured, weight, first, nz, penalty, relaxation, numbers
    )


def test_a_step_that_is_no_minimiser_is_found_out():
    @dataclass(frozen=True)
    class Wrong(HuberFidelity):
        """Steps as Huber's does, and is valued as an l1 norm."""

        power: ClassVar[int] = 1

        def step(self, dtype: type) -> Callable:
            return mismatched_step

    with pytest.raises(BrokenLawError, match=r"a_step_minimises_its_functional: a point .* away is lower by"):
        check_term(Wrong(0.1))


def test_a_step_that_is_no_kernel_is_found_out():
    @dataclass(frozen=True)
    class Wrong(HuberFidelity):
        """Hides its kernel in a function."""

        def step(self, dtype: type) -> Callable:
            return partial(super().step(dtype))

    with pytest.raises(BrokenLawError, match="compiled_and_plain_kernels_agree: step does not return a kernel"):
        check_term(Wrong(0.1))


@dataclass(frozen=True)
class Half(TKD):
    """Half of the map, of the wrong sign, with ones around it."""

    name: ClassVar[str] = "half"

    strength: float = parameter(0.5, "1", "how much of it", low=0, high=1)

    def _solve(self, problem, callback, start_ppm):
        found = super()._solve(problem, callback, start_ppm)
        return Solution(1e-3 - np.abs(self.strength * found.susceptibility_ppm), found.fitted_field_ppm)


def test_a_solver_that_breaks_laws_is_told_which():
    with pytest.raises(BrokenLawError) as found:
        check_solver(Half)
    text = str(found.value)
    assert text.startswith(f"Half breaks 5 of {len(SolverLaws.names())} laws")
    assert "changing_the_sign_of_the_field_changes_that_of_the_map: sign changed" in text
    assert "zero_field_gives_a_zero_map: expected zero, found 0.001 ppm" in text
    assert "correlation with the truth" in text


def test_a_whole_solver_passes():
    check_solver(TKD)
    assert issubclass(TKD, Solver)
