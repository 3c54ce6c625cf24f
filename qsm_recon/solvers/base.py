"""The shape every solver has."""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.device import CPU, device_name, on_device
from qsm_recon.errors import DataError, ParameterError
from qsm_recon.operators.grid import Grid
from qsm_recon.parameters import Method, Parameter
from qsm_recon.problem import Problem, finite_in_mask, require_problem
from qsm_recon.result import Callback, Reconstruction, StopReason, plainly_answered
from qsm_recon.solvers.default_weights import described_scale
from qsm_recon.solvers.footprint import Footprint
from qsm_recon.solvers.guard import background_in, impossible_range
from qsm_recon.values import floating_image

logger = logging.getLogger(__name__)

OWN_ZERO = "own_zero_reference"
"""Detail of a result whose method gave the map a zero point with a meaning: what is zero, in words."""


@dataclass(eq=False)
class Solution:
    """What a method found on the region that it was given.

    Parameters
    ----------
    susceptibility_ppm
        (nx, ny, nz) χ, masked or not.
    fitted_field_ppm
        (nx, ny, nz) field of it, and of what else was fitted; ``auto`` needs it.
    stop_reason
        Why it stopped; a closed form by default.
    history, details, images
        See :class:`qsm_recon.result.Reconstruction`.  Values of ``objective`` count the iterations; ``fidelity`` and
        ``regularisation``, in the history or the details, are what a parameter is chosen on.
    mask
        (nx, ny, nz) voxels that it covers; those of the problem where None.
    """

    susceptibility_ppm: NDArray
    fitted_field_ppm: NDArray | None = None
    stop_reason: StopReason = StopReason.CLOSED_FORM
    history: dict[str, list[float]] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    images: dict[str, NDArray] = field(default_factory=dict)
    mask: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class Solver(Footprint, Method, ABC):
    """A reconstruction method; its fields are its parameters.

    Subclasses are frozen dataclasses whose fields are made by :func:`qsm_recon.parameters.parameter`.

    Raises
    ------
    ParameterError
        On construction, if a parameter is of the wrong type or out of range.
    """

    expects_local_field: ClassVar[bool] = True
    """Whether the method takes all of the field to come from inside the mask, so that a background must be removed."""
    iterative: ClassVar[bool] = True
    default_rule: ClassVar[str] = ""
    """How the main parameter follows the data where its default is to do so, in one line."""
    scaling_power: ClassVar[int | None] = None
    """With the field times c, the echo time over c and the main parameter times c to this power, the susceptibility is
    c times as large; None where no such law holds."""
    odd: ClassVar[bool] = True
    """Whether the field with the other sign gives the map with the other sign."""
    starts_from_map: ClassVar[bool] = True
    """Whether an iterative method takes a map to start from."""
    warm_starts: ClassVar[bool] = True
    """Whether a converged result does not depend on where it started, so that a sweep may start from a neighbour."""

    extra: ClassVar[str] = ""
    """Extra of the package that brings what the method needs beyond the package itself."""
    needs: ClassVar[tuple[str, ...]] = ()
    """Libraries of that extra, as they are imported."""

    @classmethod
    def missing(cls) -> tuple[str, ...]:
        """Return the libraries that the method needs and that are not installed."""
        return tuple(name for name in cls.needs if find_spec(name) is None)

    @classmethod
    def main_parameter(cls) -> Parameter:
        """Return the main regularisation parameter.

        Raises
        ------
        ParameterError
            If the class declares none.
        """
        for declared in cls.declared().values():
            if declared.main:
                return declared
        raise ParameterError(
            f"{cls.__name__} declares no main parameter; give one of its fields parameter(…, main=True), and the class "
            "@dataclass(frozen=True)"
        )

    @classmethod
    def help_of(cls, declared: Parameter) -> str:
        """See :class:`qsm_recon.parameters.Method`; with the rule that the main parameter follows."""
        follows = declared.main and declared.default is None and cls.default_rule
        return f"{declared.help}: {cls.default_rule}" if follows else declared.help

    def main_value(self) -> float:
        """Return the value of the main regularisation parameter.

        Raises
        ------
        ParameterError
            If it is to follow the data; see :meth:`resolved`.
        """
        name = self.main_parameter().name
        value: float | None = getattr(self, name)
        if value is None:
            raise ParameterError(f"{name} of '{self.name}' follows the data: its value is that of resolved(problem)")
        return value

    def default_weight(self, problem: Problem) -> float:
        """Value of the main parameter for some data, where its default is to follow them."""
        raise ParameterError(f"'{self.name}' has a default of its own for {self.main_parameter().name}")

    def following(self) -> tuple[str, ...]:
        """Names of further parameters that follow the data where they are None."""
        return ()

    def default_of(self, name: str, problem: Problem) -> float:
        """Value of one of these for some data."""
        raise ParameterError(f"'{self.name}' has a default of its own for {name}")

    def resolved(self, problem: Problem) -> Solver:
        """Return the same solver with the parameters that follow the data set for these.

        Parameters
        ----------
        problem
            The measurement.
        """
        solver: Solver = self
        for name in self.following():
            if getattr(self, name) is None:
                solver = solver._with(self.declared()[name], self.default_of(name, problem))
        main = self.main_parameter()
        if getattr(self, main.name) is None:
            solver = solver._with(main, self.default_weight(problem))
        return solver

    def _with(self, parameter: Parameter, value: float) -> Solver:
        """Return the same solver with a value that follows the data: within its range, and as it is printed."""
        rounded = float(f"{value:.4g}")
        bounded = min(max(rounded, parameter.low or 0.0), math.inf if parameter.high is None else parameter.high)
        return dataclasses.replace(self, **{parameter.name: bounded})

    def with_regularisation(self, value: float | None) -> Solver:
        """Return the same solver with another value of its main regularisation parameter."""
        return dataclasses.replace(self, **{self.main_parameter().name: value})

    def takes_total_field(self) -> bool:
        """Whether, with these parameters, the field may hold its background."""
        return not self.expects_local_field

    def check_field(self, problem: Problem) -> str | None:
        """Say what is wrong with a problem's field for this method; None where nothing is.

        Raises
        ------
        DataError
            If the problem says that its field is total, and the method expects a local one.
        """
        found = None if self.takes_total_field() else background_in(problem)
        if found is not None and problem.field_kind == "total":
            raise DataError(
                f"field: {found}, and '{self.name}' expects a local one; remove the background first "
                "(qsm_recon.background), or take 'tfi'"
            )
        return found

    def series(self, problem: Problem) -> Series:
        """Prepare to solve one problem for several parameter values in turn, each from where the one before ended."""
        return Series(problem)

    def transfer(self, grid: Grid) -> NDArray | None:
        """What the method multiplies a field's half-spectrum by, where it is such a filter; None otherwise."""
        return None

    def noise_fidelity(self, problem: Problem) -> float | None:
        """Fidelity (as in the history) that the noise of the field alone would give; None where it is unknown."""
        return None

    def solve(
        self,
        problem: Problem,
        *,
        callback: Callback | None = None,
        start_ppm: NDArray | None = None,
        device: str | None = None,
    ) -> Reconstruction:
        """Reconstruct a susceptibility map.

        A constant in the field has no effect on it (:mod:`qsm_recon.solvers.constant_field`).

        Parameters
        ----------
        problem
            The measurement.
        callback
            Called after every iteration; returning False stops.
        start_ppm
            (nx, ny, nz) susceptibility in ppm to start from; only iterative solvers take one.
        device
            Where to compute; see :func:`qsm_recon.backend.device.set_device`, whose choice holds where None.

        Returns
        -------
        Reconstruction
            The map in ppm and how it came about.

        Raises
        ------
        ParameterError
            If a parameter asks for something the problem lacks, the start does not fit, or there is no such device.
        MissingDependencyError, ResourceError
            If the device needs torch and that is not installed, or it is not there.
        DataError
            If the problem is none, the start is not finite in the mask, or the problem says that its field is total and
            the method expects a local one.  Where it says nothing, a field that looks total gives a warning in the log
            and in ``details``.
        """
        require_problem(problem)
        facts = {"background_in_field": self.check_field(problem)}
        if start_ppm is not None:
            start_ppm = self._checked_start(problem, start_ppm)
        # Heavy, and not needed to know a solver.
        from qsm_recon.solvers.constant_field import with_constant, without_constant

        began = time.perf_counter()
        solver, before, problem = self.resolved(problem), problem.field_offset_ppm, without_constant(problem)
        region = solver.region(problem)
        start = None if start_ppm is None else region.cut(start_ppm)
        part = region.cut_problem(problem)
        with on_device(device):
            found = solver._solve(part, plainly_answered(callback), start)
            result = region.embed_result(solver.reconstruction(part, found))
            if device_name() != CPU:
                facts["device"] = device_name()
        result = with_constant(result, problem.field_offset_ppm - before)
        if self.default_rule and getattr(self, self.main_parameter().name) is None:
            result = result.with_details(default_from=self.default_rule, **described_scale(problem))
        facts["impossible_range"] = None if self.takes_total_field() else impossible_range(result)
        for fact in filter(None, (facts["background_in_field"], facts["impossible_range"])):
            logger.warning("%s expects a local field: %s", self.name, fact)
        result = result.with_details(**{name: fact for name, fact in facts.items() if fact is not None})
        if remarks := self.remarks(problem):
            result = result.with_details(warnings=[*result.details.get("warnings", []), *remarks])
        return dataclasses.replace(result, timings_s={**result.timings_s, "solve": time.perf_counter() - began})

    def _checked_start(self, problem: Problem, start_ppm: NDArray) -> NDArray:
        """Return a map to start from in floating point, where it is not finite outside the mask with zeros."""
        if not self.iterative:
            raise ParameterError(f"start_ppm: '{self.name}' is a closed form and takes no starting point")
        start = floating_image("start_ppm", start_ppm)
        if start.shape != problem.grid.shape:
            raise ParameterError(f"start_ppm: expected shape {problem.grid.shape}, found {start.shape}")
        return finite_in_mask("start_ppm", start, problem.mask, [])

    def reconstruction(self, problem: Problem, found: Solution | Reconstruction) -> Reconstruction:
        """Mask what was found, and say what made it; what is a reconstruction already stays as it is."""
        self._require_images(problem, found)
        if isinstance(found, Reconstruction):
            return found
        mask = problem.mask if found.mask is None else found.mask

        def masked(image: NDArray) -> NDArray[np.float32]:
            return np.where(mask, image, 0).astype(np.float32)

        return Reconstruction(
            susceptibility_ppm=masked(found.susceptibility_ppm),
            mask=mask,
            solver=self.name,
            parameters=self.parameters(),
            converged=found.stop_reason.converged,
            stop_reason=found.stop_reason,
            iterations=len(found.history.get("objective", ())),
            history=found.history,
            details=found.details,
            images=found.images,
            fitted_field_ppm=None if found.fitted_field_ppm is None else masked(found.fitted_field_ppm),
        )

    def _require_images(self, problem: Problem, found: Solution | Reconstruction) -> None:
        """Check what a method gives back: numpy would stretch a plane over the image without a word."""
        if not isinstance(found, (Solution, Reconstruction)):
            raise ParameterError(f"'{self.name}' returned {type(found).__name__}, expected a Solution")
        images = {"susceptibility_ppm": found.susceptibility_ppm, "mask": found.mask, **found.images}
        for name, image in {**images, "fitted_field_ppm": found.fitted_field_ppm}.items():
            if image is not None and np.shape(image) != problem.grid.shape:
                raise ParameterError(
                    f"'{self.name}' returned {name} of shape {np.shape(image)}, expected {problem.grid.shape}"
                )

    def remarks(self, problem: Problem) -> list[str]:
        """Say what a user should know of how the method will take a problem; the result's warnings have it too."""
        return []

    @abstractmethod
    def _solve(
        self, problem: Problem, callback: Callback | None, start_ppm: NDArray | None
    ) -> Solution | Reconstruction:
        """Do the work of :meth:`solve`, on the region, with the constant of the field taken out."""


class Series:
    """Solves of one problem by one method, each starting from the map that the one before left.

    Closed forms, and methods whose result depends on where they start, start anew each time.

    Parameters
    ----------
    problem
        The measurement.
    """

    keeps_state: ClassVar[bool] = False
    """Whether a run goes on from more than the last map, so that a first one from a map is behind the others."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._last_ppm: NDArray | None = None

    def solve(
        self, solver: Solver, callback: Callback | None = None, start_ppm: NDArray | None = None
    ) -> Reconstruction:
        """Reconstruct with other parameter values of the same method.

        Parameters
        ----------
        solver
            The method with its parameters.
        callback
            See :meth:`qsm_recon.solvers.base.Solver.solve`.
        start_ppm
            (nx, ny, nz) map to start the first run from.
        """
        began = time.perf_counter()
        result = self._solve(
            solver.resolved(self._problem),
            plainly_answered(callback),
            start_ppm if self._last_ppm is None else self._last_ppm,
        )
        self._last_ppm = result.susceptibility_ppm
        return dataclasses.replace(result, timings_s={**result.timings_s, "solve": time.perf_counter() - began})

    def _solve(self, solver: Solver, callback: Callback | None, start_ppm: NDArray | None) -> Reconstruction:
        start = start_ppm if solver.iterative and solver.warm_starts else None
        return solver.solve(self._problem, callback=callback, start_ppm=start)
