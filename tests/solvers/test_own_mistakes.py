"""What a method of one's own does wrong is told in words, not as the insides of numpy or of dataclasses."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from qsm_recon.background.base import BackgroundRemoval, LocalField
from qsm_recon.errors import ParameterError
from qsm_recon.operators.grid import Grid
from qsm_recon.parameters import parameter
from qsm_recon.problem import Problem
from qsm_recon.solvers.base import Solution, Solver
from qsm_recon.testing import BrokenLawError, check_solver

SHAPE = (12, 13, 14)


class Halved(Solver):
    """Half the field; ``answer`` makes what is returned."""

    name: ClassVar[str] = "halved"
    title: ClassVar[str] = "Half the field"
    citation: ClassVar[str] = "nobody"
    iterative: ClassVar[bool] = False
    answer = staticmethod(Solution)

    def _solve(self, problem, callback, start_ppm):
        return self.answer(0.5 * problem.field_ppm)


@dataclass(frozen=True)
class Declared(Halved):
    """As it should be."""

    factor: float = parameter(0.5, "1", "what to multiply by", low=0, high=1, main=True)


@dataclass(frozen=True)
class Undeclared(Halved):
    """A plain field."""

    factor: float = 0.5


@dataclass(frozen=True)
class WithoutMain(Halved):
    """No main parameter."""

    factor: float = parameter(0.5, "1", "what to multiply by", low=0, high=1)


class WithoutDataclass(Halved):
    """Its parameter is an attribute only."""

    factor: float = parameter(0.5, "1", "what to multiply by", low=0, high=1, main=True)


@pytest.fixture
def problem():
    field = 0.01 * np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)
    return Problem(field, np.ones(SHAPE, bool), Grid(SHAPE), field_kind="local")


def test_parameters_are_declared(problem):
    with pytest.raises(ParameterError, match="Undeclared: its field 'factor' is no declared parameter; make it by"):
        Undeclared()
    for method in (WithoutMain, WithoutDataclass):
        with pytest.raises(ParameterError, match=f"{method.__name__} declares no main parameter"):
            method().solve(problem)
    left = Declared().solve(problem).susceptibility_ppm - 0.5 * problem.field_ppm
    assert left.std() < 1e-7  # the constant of the field


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda chi: chi, "'halved' returned ndarray, expected a Solution"),
        (lambda _chi: None, "'halved' returned NoneType, expected a Solution"),
        (lambda chi: Solution(chi[:1]), r"returned susceptibility_ppm of shape \(1, 13, 14\), expected \(12, 13, 14\)"),
        (lambda chi: Solution(chi, chi[..., :1]), r"returned fitted_field_ppm of shape \(12, 13, 1\)"),
        (lambda chi: Solution(chi, images={"r2star": chi[0]}), r"returned r2star of shape \(13, 14\)"),
        (lambda chi: Solution(chi, mask=np.ones(14, bool)), r"returned mask of shape \(14,\)"),
    ],
)
def test_what_is_returned_is_a_solution_of_the_shape(problem, monkeypatch, answer, message):
    """A plane was stretched over the whole map."""
    monkeypatch.setattr(Declared, "answer", staticmethod(answer))
    with pytest.raises(ParameterError, match=message):
        Declared().solve(problem)
    with pytest.raises(BrokenLawError, match=r"breaks \d+ of 22 laws(.|\n)*: it raised ParameterError: 'halved'"):
        check_solver(Declared)


@dataclass(frozen=True)
class OnePlane(BackgroundRemoval):
    """A removal that gives back one plane."""

    name: ClassVar[str] = "one-plane"
    title: ClassVar[str] = "One plane"
    citation: ClassVar[str] = "nobody"

    def _remove(self, problem, callback):
        return LocalField(problem.field_ppm[:1], problem.mask, self.name, {})


def test_what_a_removal_returns_has_the_shape(problem):
    with pytest.raises(ParameterError, match=r"'one-plane' returned field_ppm of shape \(1, 13, 14\)"):
        OnePlane().remove(problem.field_ppm, problem.mask, problem.grid)
