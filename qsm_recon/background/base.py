"""The shape every background removal has, and what comes out of it."""

from __future__ import annotations

import dataclasses
import math
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from qsm_recon.errors import DataError, ParameterError
from qsm_recon.operators.grid import Grid
from qsm_recon.operators.padding import padded_shape, voxels_in
from qsm_recon.parameters import Method
from qsm_recon.problem import Problem, require_problem
from qsm_recon.region import Region
from qsm_recon.result import Callback, StopReason, plainly_answered
from qsm_recon.terms.weights import data_weight
from qsm_recon.units import rad_per_ppm


@dataclass(frozen=True, eq=False)
class LocalField:
    """A field without its background, and how it came about.

    Parameters
    ----------
    field_ppm
        (nx, ny, nz) float32, the field of the sources inside the mask, in ppm; zero outside ``mask``.
    mask
        (nx, ny, nz) the voxels in which it is valid: the mask given, or less.
    method
        Name of the removal.
    parameters
        Its parameters by name, as used.
    converged
        Whether its stopping rule was met (always true for a closed form).
    stop_reason
        Why it stopped: a :class:`qsm_recon.result.StopReason`, or words.
    iterations
        Number of iterations; 0 for a closed form.
    history
        Monitored numbers by name, one entry per iteration.
    details
        Further facts for the report.
    seconds
        It took.
    """

    field_ppm: NDArray[np.float32]
    mask: NDArray[np.bool_]
    method: str
    parameters: dict[str, Any]
    converged: bool = True
    stop_reason: str = StopReason.CLOSED_FORM
    iterations: int = 0
    history: dict[str, list[float]] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True)
class BackgroundRemoval(Method, ABC):
    """A method that takes the field of sources outside a mask out of a total field; its fields are its parameters."""

    erodes: ClassVar[bool] = True
    """Whether the result is valid in a smaller mask than that given."""

    def memory_volumes(self) -> float:
        """Estimate of the memory needed, in float32 volumes of the padded box around the mask."""
        return 16.0

    def margin(self) -> float:
        """How far around the mask is computed, in mm, as far as the image goes."""
        return 0.0

    def padding(self) -> float:
        """Zeros around that at least, in mm."""
        return 0.0

    def memory_bytes(self, problem: Problem) -> float:
        """Memory that removing a problem's background takes."""
        shape = Region.around(problem, self.margin()).shape
        padding = tuple(voxels_in(self.padding(), size) for size in problem.grid.voxel_size_mm)
        return 4 * self.memory_volumes() * math.prod(padded_shape(shape, padding))  # type: ignore[arg-type]

    def remove(
        self,
        total_field_ppm: NDArray[np.floating],
        mask: NDArray[np.bool_],
        grid: Grid,
        *,
        weight: NDArray[np.floating] | None = None,
        callback: Callback | None = None,
    ) -> LocalField:
        """Remove the background.

        Parameters
        ----------
        total_field_ppm
            (nx, ny, nz) unwrapped total field in ppm of the main field; it counts inside the mask only.
        mask
            (nx, ny, nz) boolean, where the field is known; sources inside it are kept, those outside removed.
        grid
            Geometry.
        weight
            (nx, ny, nz) how much each voxel's field is trusted, any scale, such as the inverse of its standard
            deviation; methods that take none ignore it, and say so in :attr:`LocalField.details`.
        callback
            Called after every iteration; returning False stops.

        Returns
        -------
        LocalField
            The local field and the mask it is valid in.

        Raises
        ------
        DataError
            If the images do not fit together, or hold impossible values.
        ParameterError
            If the parameters leave nothing of the mask, or the method returns images of another shape.
        """
        problem = Problem(total_field_ppm, mask, grid, weight=weight)
        began = time.perf_counter()
        region = Region.around(problem, self.margin())
        part = region.cut_problem(problem)
        # A constant is no background worth the iterations, and costs digits.
        offset = float(part.field_ppm[part.mask].mean(dtype=np.float64))
        found = self._remove(
            dataclasses.replace(part, field_ppm=np.where(part.mask, part.field_ppm - offset, 0).astype(np.float32)),
            plainly_answered(callback),
        )
        for name, image in {"field_ppm": found.field_ppm, "mask": found.mask}.items():
            if np.shape(image) != region.shape:
                raise ParameterError(
                    f"'{self.name}' returned {name} of shape {np.shape(image)}, expected {region.shape}"
                )
        if not np.isfinite(found.field_ppm).all():
            raise DataError(f"{self.name}: the local field is not finite; {found.stop_reason}")
        return dataclasses.replace(
            found,
            field_ppm=region.embed(np.where(found.mask, found.field_ppm, 0).astype(np.float32)),
            mask=region.embed(found.mask),
            seconds=time.perf_counter() - began,
        )

    @abstractmethod
    def _remove(self, problem: Problem, callback: Callback | None) -> LocalField:
        """Do the work of :meth:`remove` on the box around the mask; the field's mean in the mask is zero."""

    def _result(self, field_ppm: NDArray, mask: NDArray[np.bool_], **facts: Any) -> LocalField:
        return LocalField(field_ppm, mask, self.name, self.parameters(), **facts)


def trust(problem: Problem) -> tuple[NDArray[np.floating], str]:
    """Weight for the removal of a problem's background, and what it is: its own weight, else the inverse of the noise.

    Else the magnitude, else the mask.  A steep background field takes the signal of late echoes, which the combined
    magnitude hardly shows: so the noise comes first.
    """
    if problem.weight is None and problem.field_noise_ppm is not None:
        return data_weight(problem, "noise")
    return data_weight(problem)


def without_background(
    problem: Problem, removal: BackgroundRemoval, callback: Callback | None = None
) -> tuple[Problem, LocalField]:
    """Take the background out of a problem.

    Parameters
    ----------
    problem
        With its total field.
    removal
        How.
    callback
        See :meth:`BackgroundRemoval.remove`.

    Returns
    -------
    problem
        The same measurement with the local field, in the mask that this is valid in; the background's phase is taken
        off the echoes as well.
    local
        What the removal returned.

    Raises
    ------
    QSMError
        See :meth:`BackgroundRemoval.remove`.
    """
    require_problem(problem)
    weight, origin = trust(problem)
    local = removal.remove(problem.field_ppm, problem.mask, problem.grid, weight=weight, callback=callback)
    local = dataclasses.replace(local, details={"weighting": origin, **local.details})
    echoes = problem.echoes
    if echoes is not None and problem.b0_tesla is not None:
        background = np.where(local.mask, problem.field_ppm - local.field_ppm, 0)
        echoes = echoes.copy()
        for index, time_s in enumerate(problem.echo_times_s):
            echoes[..., index] *= np.exp(-1j * rad_per_ppm(problem.b0_tesla, time_s) * background)
    changes: dict[str, Any] = {
        "field_ppm": local.field_ppm,
        "mask": local.mask,
        "echoes": echoes,
        "field_kind": "local",
    }
    return dataclasses.replace(problem, **changes), local
