"""Putting a case together: what is known of the acquisition, and the parts of the problem as they are read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qsm_recon.datasets.case import Case, Truth
from qsm_recon.datasets.images import root_sum_of_squares
from qsm_recon.errors import DataError, ParameterError
from qsm_recon.field import EchoSeries, estimate_field
from qsm_recon.io import Image
from qsm_recon.operators.grid import Grid
from qsm_recon.problem import FieldKind, Problem, check_echo_times

ESTIMATED_MAPS = ("initial_phase_rad", "residual", "m0", "bipolar_phase_rad")
"""What is estimated with the field and no solver needs."""


@dataclass(frozen=True)
class Acquisition:
    """What the files of a case do not say themselves.

    Parameters
    ----------
    b0_tesla
        Field strength in T.
    echo_times_s
        Echo times in s, increasing.
    b0_direction
        Direction of the main field in voxel axes; None derives it from the affine.
    """

    b0_tesla: float | None = None
    echo_times_s: tuple[float, ...] = ()
    b0_direction: ArrayLike | None = None

    def __post_init__(self) -> None:
        """Check the echo times."""
        object.__setattr__(self, "echo_times_s", check_echo_times(tuple(self.echo_times_s)))

    def grid(self, image: Image) -> Grid:
        """Geometry of an image.

        Raises
        ------
        DataError
            If its affine is degenerate (naming the file), or the direction is no vector.
        """
        nx, ny, nz = image.data.shape[:3]
        try:
            return Grid.from_affine((nx, ny, nz), image.affine, self.b0_direction)
        except DataError as error:
            if str(error).startswith("affine"):
                raise DataError(f"{image.path}: {error}") from error
            raise


@dataclass(eq=False)
class Assembly:
    """What has been gathered so far: the arguments of the problem, where they came from, what was done to them."""

    acquisition: Acquisition
    parts: dict[str, NDArray] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    field_estimate: dict[str, Any] | None = None
    field_kind: FieldKind = "unknown"
    stages: dict[str, NDArray] = field(default_factory=dict)

    def add_echoes(
        self, magnitude: NDArray[np.floating], phase_rad: NDArray[np.floating], mask: NDArray[np.bool_]
    ) -> EchoSeries:
        """Keep magnitude and phase of the echoes, both (nx, ny, nz, n), as complex signal and combined magnitude.

        Raises
        ------
        ParameterError
            If field strength or echo times are unknown.
        DataError
            If the echoes do not fit together.
        """
        if self.acquisition.b0_tesla is None or not self.acquisition.echo_times_s:
            raise ParameterError("phase: the field strength in T (--b0) and the echo times in s (--te) are needed")
        series = EchoSeries(magnitude, phase_rad, self.acquisition.echo_times_s, self.acquisition.b0_tesla)
        self.parts.update(mask=mask, magnitude=root_sum_of_squares(series.magnitude), echoes=_complex_signal(series))
        return series

    def add_estimated_field(self, series: EchoSeries, method: str) -> None:
        """Estimate the field, its noise and R2* from echoes that :meth:`add_echoes` returned.

        Raises
        ------
        DataError
            If no voxel of the mask has enough signal.
        """
        mask = self.parts["mask"]
        estimate = estimate_field(series, mask, method)
        if not estimate.mask.any():
            raise DataError("phase: no voxel of the mask has signal that determines a field; check mask and magnitude")
        lost = int(np.count_nonzero(mask & ~estimate.mask))
        if lost:
            self.notes.append(f"mask: {lost} voxels without signal that determines a field were taken out")
        self.parts.update(field_ppm=estimate.field_ppm, mask=estimate.mask, field_noise_ppm=estimate.field_noise_ppm)
        if estimate.r2star_per_s is not None:
            self.parts["r2star_per_s"] = estimate.r2star_per_s
        further = {name: getattr(estimate, name) for name in ESTIMATED_MAPS}
        self.stages.update({name: image for name, image in further.items() if image is not None})
        self.field_estimate = dict(estimate.report)
        self.notes.append(
            f"field: estimated from {series.echo_count} echo(es), method {method}; noise level "
            f"{estimate.report['noise_sigma_from']}"
        )

    def finish(self, reference: Image, name: str, truth: Truth | None = None) -> Case:
        """Validate and return the case.

        Parameters
        ----------
        reference
            The image that gives shape and affine.
        name
            Name of the case.
        truth
            Where known.

        Raises
        ------
        DataError
            If the parts do not make a valid problem; the message names the file.
        """
        grid = self.acquisition.grid(reference)
        with named(self.sources):
            problem = Problem(
                grid=grid,
                echo_times_s=self.acquisition.echo_times_s,
                b0_tesla=self.acquisition.b0_tesla,
                field_kind=self.field_kind,
                **self.parts,
            )
        origin = "from the affine" if self.acquisition.b0_direction is None else "as given"
        x, y, z = (round(b, 3) + 0.0 for b in grid.b0_direction)  # the sum turns -0 into 0
        direction = (
            f"B0 direction ({x:.3f}, {y:.3f}, {z:.3f}) in voxel axes, {origin}, {grid.b0_angle_deg:.1f}° from the "
            "nearest image axis"
        )
        notes = (*self.notes, direction)
        affine = np.asarray(reference.affine, dtype=float)
        return Case(problem, affine, name, truth, dict(self.sources), notes, self.field_estimate, dict(self.stages))


def _complex_signal(series: EchoSeries) -> NDArray[np.complex64]:
    signal = np.empty(series.magnitude.shape, np.complex64)
    for index in range(series.echo_count):
        amplitude, angle = series.magnitude[..., index], series.phase_rad[..., index]
        signal[..., index].real = amplitude * np.cos(angle)
        signal[..., index].imag = amplitude * np.sin(angle)
    return signal


@contextmanager
def named(sources: dict[str, str]) -> Iterator[None]:
    """Put the file in front of an error that begins with the name of the argument it came from."""
    try:
        yield
    except DataError as error:
        text = str(error)
        argument = text.replace("field_ppm", "field").split(":")[0].split(" ")[0]
        if argument in sources and not text.startswith(sources[argument]):
            raise DataError(f"{sources[argument]}: {text}") from error
        raise
