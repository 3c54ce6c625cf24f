"""Descent for  fidelity(D χ) + ½ damping ‖χ‖²,  stopped early; two real Fourier transforms per iteration.

χ, its gradient and the search direction stay in k-space, where D is a multiplication and inner products are sums as in
image space; only fields are transformed.  Steps need no line search: the quadratic with the fidelity's curvature W²
lies above it, so that its minimum along a direction lowers the objective.

References
----------
Polak et al., NMR Biomed 33:e4271 (2020), doi 10.1002/nbm.4271: the functional, gradient descent, early stopping.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.arrays import host
from qsm_recon.backend.fft import FourierTransform
from qsm_recon.engines.interrupt import Interruption
from qsm_recon.engines.loop import Loop, Outcome
from qsm_recon.result import Callback, StopReason
from qsm_recon.terms.field_model import FieldModel

TINY = 1e-30
LEAST_AUTOMATIC_ITERATIONS = 4
# Bands of |D| whose amplitudes the automatic stop compares, and the radii they are taken from.
CONE_BAND, OUTER_BAND, RADII = (0.15, 0.20), (0.225, 0.275), (0.65, 0.95)


@dataclass(frozen=True)
class DescentSettings:
    """How the loop runs.

    Parameters
    ----------
    conjugate
        Whether directions are conjugate (Polak and Ribière) with optimal steps, or gradients with a fixed step.
    damping
        Factor of ½‖χ‖².
    step
        Step of gradient descent over max W² + 9/4 damping, so that 4.5 is the limit of stability.
    max_iterations
        The most iterations done.
    update_tolerance
        Stop when ‖χ - χ_old‖ / ‖χ‖ falls below this fraction; 0 for never.
    automatic_stop
        Stop once amplitudes near the zero cone of D have grown to those further away (:class:`ConeMonitor`).
    """

    conjugate: bool = True
    damping: float = 1e-6
    step: float = 2.0
    max_iterations: int = 200
    update_tolerance: float = 0.0
    automatic_stop: bool = True


class ConeMonitor:
    """Ratio of mean amplitudes of high frequencies with |D| in 0.15 … 0.20 to those with |D| in 0.225 … 0.275.

    Frequencies count whose distance from the origin, each axis in units of its own Nyquist frequency, is 0.65 … 0.95.
    Descent recovers the frequencies of large |D| first; what grows later, near the cone D = 0, is noise divided by
    little.  The FANSI toolbox stops where the ratio passes one.

    Parameters
    ----------
    transform
        Fourier transform of the padded grid.
    dipole
        Dipole kernel in a half-image buffer.
    """

    def __init__(self, transform: FourierTransform, dipole: NDArray) -> None:
        self._transform = transform
        x, y, z = (np.square(2 * np.fft.fftfreq(n)) for n in transform.shape)
        radius = np.sqrt(x[:, None, None] + y[:, None] + z[: transform.half])
        size = np.abs(transform.spectrum_view(host(dipole)))
        ring = (radius >= RADII[0]) & (radius <= RADII[1])
        bands = np.zeros(dipole.shape, np.uint8)
        view = transform.spectrum_view(bands)
        for mark, (low, high) in enumerate((CONE_BAND, OUTER_BAND), start=1):
            view[ring & (size >= low) & (size <= high)] = mark
        # Elsewhere one frequency of a pair ±k is there: no axis may count for more than another.
        for plane in {0, transform.half - 1} if transform.shape[2] % 2 == 0 else {0}:
            view[..., plane][_second_of_pair(transform.shape[:2])] = 0
        self._counts = [int((bands == mark).sum()) for mark in (1, 2)]
        self._bands = transform.array(bands)

    @property
    def usable(self) -> bool:
        """Whether the grid is large enough for frequencies in both bands."""
        return min(self._counts) > 0

    def ratio(self, spectrum: NDArray) -> float:
        """Mean amplitude near the cone over that further away."""
        from qsm_recon.backend.kernels.descent import band_sums

        half = self._transform.half
        parts = self._transform.for_rows(lambda _slab, _start, a, b: band_sums(spectrum, self._bands, a, b, half))
        inner, outer = np.sum(parts, axis=0)
        return float(inner / self._counts[0] / max(outer / self._counts[1], TINY))


def _second_of_pair(shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Frequencies of a plane that is a spectrum of its own whose opposites come before them."""
    nx, ny = shape
    place = np.arange(nx)[:, None] * ny + np.arange(ny)
    opposite = (-np.arange(nx) % nx)[:, None] * ny + -np.arange(ny) % ny
    return place > opposite


class Descent(Loop):
    """The loop.

    Parameters
    ----------
    transform
        Fourier transform of the padded grid.
    dipole
        Dipole kernel in a half-image buffer of that transform.
    model
        Data fidelity; its curvature must not exceed its squared weight.
    settings
        How to run.
    """

    def __init__(
        self, transform: FourierTransform, dipole: NDArray, model: FieldModel, settings: DescentSettings
    ) -> None:
        self._transform, self._dipole, self._model, self._settings = transform, dipole, model, settings
        self._solution, self._residual = transform.empty_spectrum(), transform.empty_spectrum()
        self._slabs = transform.slabs()
        self._work = [transform.empty_block() for _ in self._slabs]
        self._largest = float(model.squared_weight.max())
        self._slope = 0.0
        if settings.conjugate:
            self._gradient, self._direction = transform.empty_spectrum(), transform.empty_spectrum()
            self._field, self._direction_field = transform.empty_image(), transform.empty_image()
        monitor = ConeMonitor(transform, dipole) if settings.automatic_stop else None
        self._monitor = monitor if monitor is not None and monitor.usable else None

    @property
    def image(self) -> NDArray:
        """Current χ in a padded image buffer; a fresh one."""
        spectrum = self._solution / self._transform.dtype.type(self._transform.n_voxels)
        return self._transform.inverse(spectrum, self._transform.empty_image())

    def run(self, start: NDArray | None = None, callback: Callback | None = None) -> Outcome:
        """Iterate until a stopping rule, the iteration limit, a callback's veto or Ctrl-C.

        Parameters
        ----------
        start
            (nx, ny, nz) susceptibility to start from; zero where absent.
        callback
            See :data:`qsm_recon.result.Callback`.
        """
        self._begin(start)
        return self._loop(self._settings.max_iterations, callback)

    def _step(self, iteration: int, interruption: Interruption) -> dict[str, float]:
        """See :class:`Loop`."""
        values = self._conjugate_step() if self._settings.conjugate else self._gradient_step()
        if self._monitor is not None:
            values["cone_ratio"] = self._monitor.ratio(self._solution)
        return values

    def _reason_to_stop(
        self, iteration: int, values: dict[str, float], history: dict[str, list[float]], provisional: bool
    ) -> StopReason | None:
        """See :class:`Loop`."""
        if values.get("cone_ratio", 0.0) > 1 and iteration >= LEAST_AUTOMATIC_ITERATIONS:
            return StopReason.CONE
        if iteration > 1 and values["update"] <= self._settings.update_tolerance:
            return StopReason.UPDATE
        return None

    def _begin(self, start: NDArray | None) -> None:
        """Fill the residual's spectrum (columns not yet transformed) at the starting point."""
        transform = self._transform
        if start is None:
            self._solution[...] = 0
        else:
            transform.forward(transform.load_image(start), self._solution)
        self._residual[...] = self._solution
        self._residual *= self._dipole / transform.dtype.type(transform.n_voxels)
        transform.for_rows(lambda _slab, _start, a, b: transform.blocks().inverse_columns(self._residual[:, a:b]))
        self._residual_planes()

    def _row_settings(self) -> tuple[int, bool]:
        return self._transform.half, self._transform.shape[2] % 2 == 0

    def _gradient_step(self) -> dict[str, float]:
        """Take x ← x - step (D r + damping x)."""
        from qsm_recon.backend.kernels.descent import descend

        transform, settings = self._transform, self._settings
        real = transform.dtype.type
        step = settings.step / (self._largest + 2.25 * settings.damping)
        numbers = real(step), real(settings.damping), real(1.0 / transform.n_voxels)

        def rows(_slab: int, _start: int, a: int, b: int) -> tuple[float, float]:
            part = self._residual[:, a:b]
            transform.blocks().forward_columns(part)
            sums = descend(self._residual, self._dipole, a, b, *self._row_settings(), *numbers, self._solution)
            transform.blocks().inverse_columns(part)
            return sums

        slope, norm = np.sum(transform.for_rows(rows), axis=0)
        return self._values(self._residual_planes(), step**2 * slope, norm)

    def _conjugate_step(self) -> dict[str, float]:
        """Next conjugate direction, and the step to the minimum of the quadratic above the objective along it."""
        from qsm_recon.backend.kernels import descent as kernels

        transform, damping, single = self._transform, self._settings.damping, self._row_settings()
        real = transform.dtype.type

        def gradient(_slab: int, _start: int, a: int, b: int) -> tuple[float, float]:
            transform.blocks().forward_columns(self._residual[:, a:b])
            return kernels.renew_gradient(
                self._residual, self._dipole, self._solution, a, b, *single, real(damping), self._gradient
            )

        slope, product = np.sum(transform.for_rows(gradient), axis=0)
        beta = max(0.0, (slope - product) / self._slope) if self._slope > 0 else 0.0
        self._slope = float(slope)

        def direction(_slab: int, _start: int, a: int, b: int) -> tuple[float, float]:
            sums = kernels.renew_direction(
                self._gradient, self._dipole, a, b, *single, real(beta), real(1.0 / transform.n_voxels),
                self._direction, self._residual,
            )  # fmt: skip
            transform.blocks().inverse_columns(self._residual[:, a:b])
            return sums

        length, descent = np.sum(transform.for_rows(direction), axis=0)
        spectrum, nz = transform.spectrum_view(self._residual), transform.shape[2]

        def energy(_slab: int, _start: int, a: int, b: int) -> float:
            planes = self._direction_field[a:b]
            transform.blocks().inverse_planes(spectrum[a:b], planes[..., :nz])
            return kernels.weighted_energy(planes, self._model.squared_weight, a, nz)

        # Sums over k-space are n_voxels times those over the image.
        curvature = sum(transform.for_planes(energy, self._slabs)) * transform.n_voxels + damping * length
        step = -descent / curvature if curvature > 0 else 0.0

        def move(_slab: int, _start: int, a: int, b: int) -> float:
            return kernels.advance(self._direction, a, b, *single, real(step), self._solution)

        norm = sum(transform.for_rows(move))
        return self._values(self._residual_planes(step), step**2 * length, norm)

    def _residual_planes(self, step: float | None = None) -> float:
        """Field to the fidelity's derivative, back into k-space; returns the fidelity.

        The field comes out of k-space, or with a step is the one kept plus that step times the direction's.
        """
        from qsm_recon.backend.kernels.descent import step_planes

        transform = self._transform
        spectrum, nz = transform.spectrum_view(self._residual), transform.shape[2]
        number = transform.dtype.type(0 if step is None else step)

        def work(slab: int, _start: int, a: int, b: int) -> float:
            planes = self._work[slab][: b - a]
            if step is None:
                transform.blocks().inverse_planes(spectrum[a:b], planes[..., :nz])
                if self._settings.conjugate:
                    self._field[a:b] = planes
            else:
                step_planes(self._field, self._direction_field, a, nz, number, planes)
            value = self._model.evaluate(planes, a, planes)
            transform.blocks().forward_planes(planes[..., :nz], spectrum[a:b])
            return value

        return float(sum(transform.for_planes(work, self._slabs)))

    def _values(self, fidelity: float, change: float, norm: float) -> dict[str, float]:
        """What is monitored; sums over k-space in."""
        energy = 0.5 * norm / self._transform.n_voxels
        return {
            "objective": fidelity + self._settings.damping * energy,
            "fidelity": fidelity,
            "regularisation": float(energy),
            "update": math.sqrt(change / max(norm, TINY)),
        }
