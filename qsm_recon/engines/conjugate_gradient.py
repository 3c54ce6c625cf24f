"""Conjugate gradient for  (D W² D + alpha ∇ᵀ V ∇ + beta C) p = b,  four real Fourier transforms per iteration.

Two forms of the same method:

- :class:`ImageConjugateGradient` keeps its vectors in image space; preconditioned by voxelwise scaling P² it is
  plain conjugate gradient in y where p = P y.
- :class:`SpectralConjugateGradient` keeps them in k-space, where a circulant preconditioner is a multiplication: the
  inverse of the same system with W² and V replaced by numbers.

Like the ADMM engine both work on pieces that stay in a processor's cache: the step length is known before the last
transform of an iteration, since <d, A d> is a sum of squares that earlier sweeps see.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.arrays import mean
from qsm_recon.backend.fft import FourierTransform
from qsm_recon.terms.morphology import EdgeWeightedVariation, UniformRegion
from qsm_recon.terms.regulariser import squared_symbols

MEAN_FLOOR = 1e-3
"""Keeps the circulant preconditioner finite at zero frequency, relative to the largest D²."""


@dataclass(eq=False)
class NormalSystem:
    """The parts of the linear system.

    Parameters
    ----------
    transform
        Of the padded grid.
    dipole
        Kernel D in a half-image buffer.
    squared_weight
        W² in an image buffer.
    variation
        alpha and V.
    region
        beta and C, or none.
    """

    transform: FourierTransform
    dipole: NDArray
    squared_weight: NDArray
    variation: EdgeWeightedVariation
    region: UniformRegion | None = None

    def filter_rows(self, spectrum: NDArray) -> None:
        """Half-transformed planes in, those of D times the image out."""
        from qsm_recon.backend.kernels.spectral import multiply_dipole

        scale = self.transform.dtype.type(1.0 / self.transform.n_voxels)
        half = self.transform.half

        def work(_slab: int, _start: int, a: int, b: int) -> None:
            blocks = self.transform.blocks()
            rows = spectrum[:, a:b]
            blocks.forward_columns(rows)
            multiply_dipole(spectrum, self.dipole, a, b, half, scale)
            blocks.inverse_columns(rows)

        self.transform.for_rows(work)

    def smooth_planes(self, image: NDArray, first: int, last: int, out: NDArray) -> float:
        """Fill planes with (alpha ∇ᵀ V ∇ + beta C) d; returns their share of the quadratic form."""
        total = self.variation.apply(image, first, last, out)
        if self.region is not None:
            total += self.region.add(out, image, first)
        return total


@dataclass(frozen=True)
class LinearOutcome:
    """How a linear solve ended: number of iterations and final residual relative to the first."""

    iterations: int
    relative_residual: float


Stop = Callable[[], bool]
Monitor = Callable[[int, float], bool]
"""Told iteration and relative residual; True to give up."""


class ImageConjugateGradient:
    """Conjugate gradient with vectors in image space.

    Parameters
    ----------
    system
        The linear system; its weights may change between solves.
    scaling
        None, or (nx, ny, nz) the diagonal P > 0; the padding has ``outside``.
    outside
        P of the padding.
    """

    def __init__(self, system: NormalSystem, scaling: NDArray | None = None, outside: float = 1.0) -> None:
        transform = system.transform
        self._system = system
        self._direction = transform.empty_image()
        self._smooth = transform.empty_image()
        self._solution = transform.empty_image()
        self._spectrum = transform.empty_spectrum()
        self._slabs = transform.slabs()
        self._work = [transform.empty_block() for _ in self._slabs]
        self._scaling = transform.empty_image()[:0]
        if scaling is not None:
            self._scaling = transform.empty_image()
            self._scaling[...] = outside
            nx, ny, nz = scaling.shape
            self._scaling[:nx, :ny, :nz] = transform.array(scaling)
            self._scaling *= self._scaling

    def solve(
        self,
        residual: NDArray,
        tolerance: float,
        limit: int,
        stop: Stop | None = None,
        monitor: Monitor | None = None,
    ) -> tuple[NDArray, LinearOutcome]:
        """Solve from zero.

        Parameters
        ----------
        residual
            Right-hand side in an image buffer; overwritten by the residual.
        tolerance
            Stop when the residual's norm (after preconditioning) has fallen to this fraction; not before one iteration.
        limit
            The most iterations.
        stop
            Asked after every iteration whether to give up.
        monitor
            The same, with the state of the solve.

        Returns
        -------
        solution
            Image buffer, reused by the next solve.
        outcome
            How it ended.
        """
        real = self._system.transform.dtype.type
        self._solution[...] = 0
        self._direction[...] = 0
        delta = first = self._advance(residual, real(0))
        beta, iterations = 0.0, 0
        while iterations < limit and (iterations == 0 or delta > tolerance**2 * first) and delta > 0:
            curvature = self._apply(residual, real(beta))
            if not curvature > 0:
                break
            previous, delta = delta, self._advance(residual, real(delta / curvature), apply=True)
            beta = delta / previous
            iterations += 1
            if stop is not None and stop():
                break
            if monitor is not None and monitor(iterations, math.sqrt(delta / first)):
                break
        return self._solution, LinearOutcome(iterations, math.sqrt(delta / first) if first > 0 else 0.0)

    def _apply(self, residual: NDArray, beta: np.floating) -> float:
        """Next direction d; leaves A d in two parts, returns <d, A d>."""
        from qsm_recon.backend.kernels.morphology import multiply_planes, next_direction

        system, transform, direction = self._system, self._system.transform, self._direction
        spectrum = transform.spectrum_view(self._spectrum)
        nz = transform.shape[2]

        def send(_slab: int, _start: int, a: int, b: int) -> None:
            next_direction(a, b, residual, self._scaling, nz, beta, direction)
            transform.blocks().forward_planes(direction[a:b, :, :nz], spectrum[a:b])

        def weight(slab: int, _start: int, a: int, b: int) -> float:
            blocks, work = transform.blocks(), self._work[slab][: b - a]
            blocks.inverse_planes(spectrum[a:b], work[..., :nz])
            energy = multiply_planes(work, system.squared_weight, a, nz)
            blocks.forward_planes(work[..., :nz], spectrum[a:b])
            return energy + system.smooth_planes(direction, a, b, self._smooth[a:b])

        transform.for_planes(send, self._slabs)
        system.filter_rows(self._spectrum)
        if system.region is not None:
            system.region.prepare(direction)
        energy = sum(transform.for_planes(weight, self._slabs))
        system.filter_rows(self._spectrum)
        return float(energy)

    def _advance(self, residual: NDArray, step: np.floating, *, apply: bool = False) -> float:
        """Update solution and residual; returns the squared norm of the residual."""
        from qsm_recon.backend.kernels.morphology import advance_solution

        transform = self._system.transform
        spectrum = transform.spectrum_view(self._spectrum)
        nz = transform.shape[2]

        def receive(slab: int, _start: int, a: int, b: int) -> float:
            work = self._work[slab][: b - a]
            if apply:
                transform.blocks().inverse_planes(spectrum[a:b], work[..., :nz])
            else:
                work[...] = 0
            return advance_solution(
                work, self._smooth, self._direction, self._scaling, a, nz, step, self._solution, residual
            )

        return float(sum(transform.for_planes(receive, self._slabs)))


class SpectralConjugateGradient:
    """Conjugate gradient with vectors in k-space and a circulant preconditioner.

    Parameters
    ----------
    system
        The linear system; its weights may change between solves.
    """

    def __init__(self, system: NormalSystem) -> None:
        transform = system.transform
        self._system = system
        self._direction_image = transform.empty_image()
        self._smooth, self._data, self._solution, self._residual, self._direction = (
            transform.empty_spectrum() for _ in range(5)
        )
        self._inverse = transform.empty_half_image()
        self._symbols = squared_symbols(transform, system.variation.spacing)
        self._slabs = transform.slabs()
        self._work = [transform.empty_block() for _ in self._slabs]

    def solve(
        self, residual: NDArray, tolerance: float, limit: int, stop: Stop | None = None
    ) -> tuple[NDArray, LinearOutcome]:
        """Solve from zero; as :meth:`ImageConjugateGradient.solve`."""
        transform = self._system.transform
        real = transform.dtype.type
        self._prepare()
        transform.forward(residual, self._residual)
        self._solution[...] = 0
        self._direction[...] = 0
        delta = first = self._advance(real(0), transformed=False)
        beta, iterations = 0.0, 0
        while iterations < limit and (iterations == 0 or delta > tolerance**2 * first) and delta > 0:
            curvature = self._apply(real(beta))
            # Sums over k-space are n_voxels times those over the image.
            step = delta / transform.n_voxels / curvature if curvature > 0 else math.nan
            if not math.isfinite(step):
                break
            previous, delta = delta, self._advance(real(step))
            beta = delta / previous
            iterations += 1
            if stop is not None and stop():
                break
        self._solution /= transform.n_voxels
        solution = transform.inverse(self._solution, self._direction_image)
        return solution, LinearOutcome(iterations, math.sqrt(delta / first) if first > 0 else 0.0)

    def _prepare(self) -> None:
        """Take the preconditioner from the present weights."""
        from qsm_recon.backend.kernels.spectral import circulant_inverse

        system, transform = self._system, self._system.transform
        real = transform.dtype.type
        weight = mean(system.squared_weight)
        weight *= system.squared_weight.shape[2] / transform.shape[2]
        values = real(weight), real(system.variation.typical_smoothness()), real(MEAN_FLOOR * weight)
        transform.for_planes(
            lambda _slab, _start, a, b: circulant_inverse(
                system.dipole, *self._symbols, a, b, transform.half, *values, self._inverse
            )
        )
        # No term sees a constant: what a residual holds of one is rounding, and would be divided by next to nothing.
        transform.spectrum_view(self._inverse)[0, 0, 0] = 0

    def _apply(self, beta: np.floating) -> float:
        """Next direction d; leaves A d in two parts, returns <d, A d>."""
        from qsm_recon.backend.kernels.morphology import multiply_planes
        from qsm_recon.backend.kernels.spectral import spectral_direction

        system, transform, image = self._system, self._system.transform, self._direction_image
        smooth, data = transform.spectrum_view(self._smooth), transform.spectrum_view(self._data)
        nz = transform.shape[2]
        scale = transform.dtype.type(1.0 / transform.n_voxels)

        def rows(_slab: int, _start: int, a: int, b: int) -> None:
            spectral_direction(
                self._residual, self._inverse, system.dipole, a, b, transform.half, beta, scale,
                self._direction, self._smooth, self._data,
            )  # fmt: skip
            transform.blocks().inverse_columns(self._smooth[:, a:b])
            transform.blocks().inverse_columns(self._data[:, a:b])

        def receive(_slab: int, _start: int, a: int, b: int) -> None:
            transform.blocks().inverse_planes(smooth[a:b], image[a:b, :, :nz])

        def weight(slab: int, _start: int, a: int, b: int) -> float:
            blocks, work = transform.blocks(), self._work[slab][: b - a]
            energy = system.smooth_planes(image, a, b, work)
            blocks.forward_planes(work[..., :nz], smooth[a:b])
            blocks.inverse_planes(data[a:b], work[..., :nz])
            energy += multiply_planes(work, system.squared_weight, a, nz)
            blocks.forward_planes(work[..., :nz], data[a:b])
            return energy

        transform.for_rows(rows)
        transform.for_planes(receive, self._slabs)
        if system.region is not None:
            system.region.prepare(image)
        return float(sum(transform.for_planes(weight, self._slabs)))

    def _advance(self, step: np.floating, *, transformed: bool = True) -> float:
        """Update solution and residual; returns the preconditioned squared norm of the residual."""
        from qsm_recon.backend.kernels.spectral import spectral_advance

        transform = self._system.transform
        single_last = transform.shape[2] % 2 == 0

        def rows(_slab: int, _start: int, a: int, b: int) -> float:
            if transformed:
                transform.blocks().forward_columns(self._smooth[:, a:b])
                transform.blocks().forward_columns(self._data[:, a:b])
            return spectral_advance(
                self._smooth, self._data, self._system.dipole, self._inverse, self._direction, a, b, transform.half,
                single_last, step, self._solution, self._residual,
            )  # fmt: skip

        return float(sum(transform.for_rows(rows)))
