"""Putting a case together: what is known of the acquisition, and the parts of the problem as they are read."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qsm_recon.backend.memory import return_free_memory
from qsm_recon.datasets.case import Case
from qsm_recon.datasets.images import root_sum_of_squares
from qsm_recon.datasets.thickness import check_thickness
from qsm_recon.datasets.truth import Truth
from qsm_recon.errors import DataError, ParameterError
from qsm_recon.field import EchoSeries, FieldEstimate, estimate_field
from qsm_recon.field.order import OrderTest, order_test
from qsm_recon.field.polarity import BipolarTest, bipolar_test, turned_slices
from qsm_recon.io import Image
from qsm_recon.operators.grid import Grid
from qsm_recon.problem import FieldKind, Problem, check_echo_times

ESTIMATED_MAPS = ("initial_phase_rad", "residual", "m0", "bipolar_phase_rad")
"""What is estimated with the field and no solver needs."""

logger = logging.getLogger(__name__)

LARGEST_RESIDUAL = 0.15
"""Median relative residual of the fit above which something is wrong: that of noise alone at an SNR of about 5."""

OPEN_SHARE, OPEN_LINE = 0.6, 1e-3
"""Pairs at fringe lines with an open end, as a share of all open jumps and of the mask's voxels, above which the phase
itself is wrong: strong sources leave a quarter of their jumps like that, coils combined wrongly nearly all."""


@dataclass(frozen=True)
class ScanSettings:
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
            If its affine is degenerate, contradicts the stated voxel size or does not tell the direction (naming the
            file), or the direction is no vector.
        """
        nx, ny, nz = image.data.shape[:3]
        if image.contradiction:
            raise DataError(f"{image.path}: {image.contradiction}; correct the one that is wrong")
        affine = image.affine if image.scanner_affine is None else image.scanner_affine
        if self.b0_direction is None and image.scanner_affine is None:
            raise DataError(
                f"{image.path}: {image.orientation}; give the direction of the main field in voxel axes "
                "(--b0-direction, 0 0 1 where it runs along the third axis)"
            )
        try:
            return Grid.from_affine((nx, ny, nz), affine, self.b0_direction)
        except DataError as error:
            if error.argument == "affine":
                raise DataError(f"{image.path}: {error}") from error
            raise


@dataclass(eq=False)
class Assembly:
    """What has been gathered so far: the arguments of the problem, where they came from, what was done to them."""

    acquisition: ScanSettings
    parts: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    field_estimate: dict[str, Any] | None = None
    field_kind: FieldKind = "unknown"
    stages: dict[str, NDArray] = field(default_factory=dict)
    series: EchoSeries | None = None

    def note_mask(self, mask: NDArray[np.bool_], origin: str) -> None:
        """Say how a mask was made."""
        self.sources["mask"] = f"made {origin}"
        self.notes.append(
            f"mask: none given; made {origin}, {int(mask.sum())} voxels, {100 * mask.mean():.1f} % of the image "
            "(skull and scalp are in it where they have signal; --mask takes another)"
        )

    def add_echoes(
        self, magnitude: NDArray[np.floating], phase_rad: NDArray[np.floating], mask: NDArray[np.bool_]
    ) -> EchoSeries:
        """Keep magnitude and phase of the echoes, both (nx, ny, nz, n), and the combined magnitude.

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
        for axis, turned in turned_slices(series, mask):
            along = np.where(turned, np.float32(np.pi), np.float32(0)).reshape(
                [-1 if a == axis else 1 for a in range(4)]
            )
            series = replace(series, phase_rad=series.phase_rad + along)
            self.notes.append(
                f"phase: {int(turned.sum())} slices along axis {axis + 1} had the opposite sign of their neighbours "
                "and were turned by half a turn"
            )
        self.parts.update(mask=mask, magnitude=root_sum_of_squares(series.magnitude))
        self.series = series
        return series

    def add_estimated_field(self, series: EchoSeries, method: str, grid: Grid, bipolar: str = "auto") -> None:
        """Estimate the field, its noise and R2* from echoes that :meth:`add_echoes` returned, on a grid.

        Parameters
        ----------
        series
            The echoes.
        method
            See :func:`qsm_recon.field.estimate_field`.
        bipolar
            Whether odd and even echoes were read in opposite directions: ``yes``, ``no``, or ``auto`` to find out.

        Raises
        ------
        DataError
            If no voxel of the mask has enough signal, or a bipolar readout is found that the method cannot take.
        """
        mask = self.parts["mask"]
        test, order = bipolar_test(series, mask), order_test(series, mask)
        if order.better_order:  # which looks like a readout to the other test
            test = replace(test, present=False)
        fitted = bipolar == "yes" or (bipolar == "auto" and test.present)
        if fitted and method != "fit" and bipolar == "auto":
            raise DataError(
                f"phase: odd and even echoes differ by {2 * test.phase_rad:.2g} rad (a bipolar readout), which the "
                "difference of echoes cannot take; choose --field-estimate fit, or insist with --bipolar no",
                argument="phase",
            )
        estimate = estimate_field(series, mask, method, bipolar=fitted, grid=grid)
        if not estimate.mask.any():
            raise DataError(
                "phase: no voxel of the mask has signal that determines a field; check mask and magnitude",
                argument="phase",
            )
        lost = int(np.count_nonzero(mask & ~estimate.mask))
        if lost:
            self.notes.append(f"mask: {lost} voxels without signal that determines a field were taken out")
        self.parts.update(field_ppm=estimate.field_ppm, mask=estimate.mask, field_noise_ppm=estimate.field_noise_ppm)
        for name in ("r2star_per_s", "reliability"):
            if getattr(estimate, name) is not None:
                self.parts[name] = getattr(estimate, name)
        further = {name: getattr(estimate, name) for name in ESTIMATED_MAPS}
        self.stages.update({name: image for name, image in further.items() if image is not None})
        self.notes.append(
            f"field: estimated from {series.echo_count} echo(es), method {method}; noise level "
            f"{estimate.report['noise_sigma_from']}"
        )
        self.field_estimate = {**estimate.report, "bipolar_test": asdict(test), "order_test": asdict(order)}
        self._note_order(order)
        self._note_bipolar(series, test, fitted=fitted)
        self._note_residual(estimate)
        self._note_open_fringes(estimate)
        doubt = estimate.report.get("voxels_in_doubt", 0)
        if doubt:
            self.notes.append(
                f"field: {doubt} of {int(estimate.mask.sum())} voxels may be a period "
                f"({estimate.report['ambiguity_hz']:.4g} Hz) off or too dephased to tell; their weight is reduced"
            )

    def _note_order(self, order: OrderTest) -> None:
        if order.suspect:
            self.warn(
                f"echoes: they may be in another order than their times: {order}; check the order of the volumes in "
                "magnitude and phase, and the echo times (--te)"
            )

    def _note_bipolar(self, series: EchoSeries, test: BipolarTest, *, fitted: bool) -> None:
        found = f"odd and even echoes differ by {2 * test.phase_rad:.2g} rad"
        if fitted and test.present:
            self.notes.append(
                f"echoes: bipolar readout, {found}; fitted as well, which takes the residual from {test.residual:.2g} "
                f"to {test.residual_with_term:.2g}"
            )
        elif fitted:
            self.notes.append(f"echoes: a bipolar readout is fitted as asked, though {found} only")
        elif test.present:
            self.warn(f"echoes: {found}, as in a bipolar readout, and this is not fitted (--bipolar no)")
        elif series.echo_count == 2:
            self.notes.append("echoes: two cannot tell a bipolar readout from a field; make sure that it is monopolar")

    def _note_residual(self, estimate: FieldEstimate) -> None:
        """Report how well the echoes follow one frequency, and warn where they do not."""
        assert self.field_estimate is not None
        residual = float(np.median(estimate.residual[estimate.mask]))
        self.field_estimate["median_residual"] = residual
        if residual > LARGEST_RESIDUAL:
            self.warn(
                f"echoes: they do not follow one frequency (median relative residual {residual:.2g}, usually below "
                f"{LARGEST_RESIDUAL:g}); check echo times, the order of the images, the unit of the phase"
            )

    def _note_open_fringes(self, estimate: FieldEstimate) -> None:
        """Warn of a phase that turns around lines, which no unwrapping makes continuous."""
        fringes, jumps = estimate.report["open_fringes"], estimate.report["open_jumps"]
        if fringes > OPEN_SHARE * jumps and fringes > OPEN_LINE * int(estimate.mask.sum()):
            self.warn(
                f"phase: fringe lines with open ends ({fringes} pairs of neighbours are a turn apart), around which "
                "the map is wrong; the phases of the coils were combined wrongly: combine them anew, or give several "
                "echoes, whose differences are free of it"
            )

    def warn(self, text: str) -> None:
        """Note something that the user should not overlook."""
        logger.warning("warning: %s", text)
        self.notes.append(f"warning: {text}")

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
        if self.series is not None:  # only now, from what the estimate took and gives back
            return_free_memory()
            self.parts["echoes"] = _complex_signal(self.series)
            if "bipolar_phase_rad" in self.stages:  # methods that fit the echoes know one phase of all of them only
                _take_out_readout_phase(self.parts["echoes"], self.stages["bipolar_phase_rad"])
        thin = check_thickness(self.parts["mask"], origin=self.sources.get("mask", "mask"))
        if thin is not None:
            self.warn(thin)
        with named(self.sources):
            problem = Problem(
                grid=grid,
                echo_times_s=self.acquisition.echo_times_s,
                b0_tesla=self.acquisition.b0_tesla,
                field_kind=self.field_kind,
                **self.parts,
            )
        origin = f"from {reference.orientation}" if self.acquisition.b0_direction is None else "as given"
        x, y, z = (round(b, 3) + 0.0 for b in grid.b0_direction)  # the sum turns -0 into 0
        direction = (
            f"B0 direction ({x:.3f}, {y:.3f}, {z:.3f}) in voxel axes, {origin}, {grid.b0_angle_deg:.1f}° from the "
            "nearest image axis"
        )
        notes = (*self.notes, direction)
        affine = np.asarray(reference.affine, dtype=float)
        return Case(
            problem, affine, name, truth, dict(self.sources), notes, self.field_estimate, reference.scanner_affine,
            dict(self.stages),
        )  # fmt: skip


def _complex_signal(series: EchoSeries) -> NDArray[np.complex64]:
    signal = np.empty(series.magnitude.shape, np.complex64)
    for amplitude, angle, turned in zip(series.magnitude, series.phase_rad, signal, strict=True):  # plane by plane
        turned.real = amplitude * np.cos(angle)
        turned.imag = amplitude * np.sin(angle)
    return signal


def _take_out_readout_phase(signal: NDArray[np.complex64], phase_rad: NDArray[np.floating]) -> None:
    """Make echoes (nx, ny, nz, n) those of one direction of readout, by half the phase between odd and even ones."""
    back = np.exp(-1j * phase_rad).astype(np.complex64)
    for echo in range(signal.shape[3]):
        signal[..., echo] *= back.conj() if echo % 2 else back


@contextmanager
def named(sources: dict[str, str]) -> Iterator[None]:
    """Put the file in front of an error about an argument that it gave."""
    try:
        yield
    except DataError as error:
        argument = "field" if error.argument == "field_ppm" else error.argument
        if argument in sources and not str(error).startswith(sources[argument]):
            raise DataError(f"{sources[argument]}: {error}") from error
        raise
