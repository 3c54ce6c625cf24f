"""The alternating direction method of multipliers for every method of the FANSI type.

Minimises  fidelity(D χ) + regulariser(∇χ)  with splittings z1 ≈ ∇χ (penalty mu1) and z2 ≈ D χ (penalty mu2).
One iteration is two sweeps over memory:

- rows of k-space: transform along x, solve for χ and D χ frequency by frequency, transform back;
- planes of the image: transform back, shrinkage, proximal step and dual updates, transform forth.

Each piece stays in a processor's cache through its whole sweep, so an iteration costs little more than the four
real Fourier transforms that it holds (two forward, two inverse).

References
----------
Boyd et al., Found Trends Mach Learn 3:1-122 (2011), doi 10.1561/2200000016: residuals, balancing, over-relaxation.
Milovic et al., MRM 80:814-821 (2018), doi 10.1002/mrm.27073: the splitting.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.fft import PLANES_PER_BLOCK, FourierTransform
from qsm_recon.backend.frequency_kernels import solve_susceptibility
from qsm_recon.engines.interrupt import interruptible
from qsm_recon.result import Callback, IterationState
from qsm_recon.terms.fidelity import Fidelity
from qsm_recon.terms.regulariser import TotalVariation

TINY = 1e-30
WINDOW = 20


@dataclass(frozen=True)
class ADMMSettings:
    """How the loop runs.

    Parameters
    ----------
    gradient_penalty
        mu1 at the start.
    field_penalty
        mu2.
    max_iterations
        The most iterations done.
    tolerance
        Relative change of the objective over :data:`WINDOW` iterations to stop at.  The objective is evaluated at
        χ itself, not at the splittings, and once it falls slowly about as much remains as the last window brought.
    residual_tolerance
        Relative primal and dual residuals that must have been reached as well.
    update_tolerance
        Also stop when ‖χ - χ_old‖ / ‖χ‖ falls below this fraction; 0 switches it off.
    relaxation
        Over-relaxation factor in [1, 2); 1 for none.
    units_per_ppm
        Internal units of χ and the field per ppm; what is monitored is reported in ppm.
    balance
        Whether mu1 is adapted so that primal and dual residuals of the gradient stay comparable.
    """

    gradient_penalty: float
    field_penalty: float = 1.0
    max_iterations: int = 500
    tolerance: float = 5e-4
    residual_tolerance: float = 0.03
    update_tolerance: float = 0.0
    relaxation: float = 1.8
    balance: bool = False
    units_per_ppm: float = 1.0


@dataclass(eq=False)
class ADMMOutcome:
    """Where the loop ended: χ in a padded image buffer (unit of the field), history, and why it stopped."""

    image: NDArray
    history: dict[str, list[float]]
    converged: bool
    stop_reason: str


class ADMM:
    """The loop, its buffers, and nothing of any particular method.

    Parameters
    ----------
    transform
        Fourier transform of the padded grid.
    dipole
        Dipole kernel in a half-image buffer of that transform.
    fidelity, regulariser
        The two terms.
    settings
        How to run.
    """

    def __init__(
        self,
        transform: FourierTransform,
        dipole: NDArray,
        fidelity: Fidelity,
        regulariser: TotalVariation,
        settings: ADMMSettings,
    ) -> None:
        self._transform = transform
        self._dipole = dipole
        self._fidelity = fidelity
        self._regulariser = regulariser
        self._settings = settings
        self._penalty = settings.gradient_penalty
        self._image = transform.empty_image()
        self._image_spectrum = transform.empty_spectrum()
        self._field_spectrum = transform.empty_spectrum()
        self._slabs = transform.slabs()
        self._work = [transform.empty_image(PLANES_PER_BLOCK) for _ in self._slabs]

    def run(self, start: NDArray | None = None, callback: Callback | None = None) -> ADMMOutcome:
        """Iterate until convergence, the iteration limit, a callback's veto or Ctrl-C.

        Parameters
        ----------
        start
            (nx, ny, nz) susceptibility to start from (zero dual variables); zero where absent.
        callback
            See :data:`qsm_recon.result.Callback`.
        """
        history: dict[str, list[float]] = {}
        reason, converged = "the iteration limit was reached", False
        self._begin(start)
        with interruptible() as interruption:
            for iteration in range(1, self._settings.max_iterations + 1):
                self._solve_rows()
                values = self._step_planes(self._settings.relaxation)
                for name, value in values.items():
                    history.setdefault(name, []).append(value)
                if not math.isfinite(values["objective"]):
                    reason = f"the objective is not finite at iteration {iteration}"
                    break
                if self._is_converged(history):
                    reason, converged = "objective and residuals are within their tolerances", True
                elif iteration > 1 and values["update"] < self._settings.update_tolerance:
                    reason, converged = "the update is below its tolerance", True
                vetoed = callback is not None and (
                    callback(IterationState(iteration, self._settings.max_iterations, values)) is False
                )
                if converged:
                    break
                if vetoed or interruption.requested:
                    reason = "the callback asked to stop" if vetoed else "interrupted by the user"
                    break
                self._balance(iteration, values)
        return ADMMOutcome(self._image, history, converged, reason)

    def _begin(self, start: NDArray | None) -> None:
        """Fill the right-hand sides of the first linear solve."""
        transform = self._transform
        scratch = transform.empty_image()
        self._fidelity.start(self._settings.field_penalty, scratch)
        if start is None:
            valid, spectrum = transform.image_view(scratch), transform.spectrum_view(self._field_spectrum)
            transform.for_planes(
                lambda _slab, _start, a, b: transform.blocks().forward_planes(valid[a:b], spectrum[a:b])
            )
            return
        nx, ny, nz = start.shape
        self._image[:nx, :ny, :nz] = start
        spectrum = transform.forward(self._image, self._image_spectrum)
        spectrum /= transform.n_voxels
        np.multiply(spectrum, self._dipole, out=self._field_spectrum)

        def back(_slab: int, _start: int, a: int, b: int) -> None:
            transform.blocks().inverse_columns(self._image_spectrum[:, a:b])
            transform.blocks().inverse_columns(self._field_spectrum[:, a:b])

        transform.for_rows(back)
        self._step_planes(relaxation=1.0)

    def _solve_rows(self) -> None:
        """Sweep k-space: both right-hand sides in, the half-transformed χ and D χ out."""
        real = self._transform.dtype.type
        symbol_x, symbol_y, symbol_z = self._regulariser.symbols
        image, field = self._image_spectrum, self._field_spectrum
        mu1, mu2 = real(self._penalty), real(self._settings.field_penalty)
        scale = real(1.0 / self._transform.n_voxels)
        half = self._transform.half

        def work(_slab: int, _start: int, a: int, b: int) -> None:
            blocks = self._transform.blocks()
            image_rows, field_rows = image[:, a:b], field[:, a:b]
            blocks.forward_columns(image_rows)
            blocks.forward_columns(field_rows)
            solve_susceptibility(image, field, self._dipole, symbol_x, symbol_y, symbol_z, a, b, half, mu1, mu2, scale)
            blocks.inverse_columns(image_rows)
            blocks.inverse_columns(field_rows)

        self._transform.for_rows(work)

    def _step_planes(self, relaxation: float) -> dict[str, float]:
        """Sweep the image: χ and D χ out of k-space, splittings and duals updated, right-hand sides back in."""
        from qsm_recon.backend.image_kernels import replace_planes

        transform, settings = self._transform, self._settings
        image_spectrum = transform.spectrum_view(self._image_spectrum)
        field_spectrum = transform.spectrum_view(self._field_spectrum)
        nz = transform.shape[2]

        def receive(slab: int, _start: int, a: int, b: int) -> tuple[float, float]:
            fresh = self._work[slab][: b - a]
            transform.blocks().inverse_planes(image_spectrum[a:b], fresh[..., :nz])
            return replace_planes(self._image, fresh, a, nz)

        change, norm = np.sum(transform.for_planes(receive, self._slabs), axis=0)
        self._regulariser.begin_iteration(self._image, self._slabs, self._penalty, relaxation)

        def advance(slab: int, _start: int, a: int, b: int) -> tuple[float, ...]:
            blocks, work = transform.blocks(), self._work[slab][: b - a]
            valid = work[..., :nz]
            gradient_sums = self._regulariser.step(self._image, slab, a, b, work)
            blocks.forward_planes(valid, image_spectrum[a:b])
            blocks.inverse_planes(field_spectrum[a:b], valid)
            field_sums = self._fidelity.step(work, a, settings.field_penalty, relaxation)
            blocks.forward_planes(valid, field_spectrum[a:b])
            return (*gradient_sums, *field_sums)

        sums = np.sum(transform.for_planes(advance, self._slabs), axis=0)
        self._fidelity.finish_iteration(settings.field_penalty)
        variation, primal1, change1, split1, dual1, fidelity, primal2, change2, split2, dual2 = sums
        unit = settings.units_per_ppm
        return {
            "objective": float(fidelity + self._regulariser.weight * variation) / unit**2,
            "fidelity": float(fidelity) / unit**2,
            "regularisation": float(variation) / unit,
            "primal_residual_gradient": math.sqrt(primal1 / max(split1, TINY)),
            "dual_residual_gradient": math.sqrt(change1 / max(dual1, TINY)),
            "primal_residual_field": math.sqrt(primal2 / max(split2, TINY)),
            "dual_residual_field": math.sqrt(change2 / max(dual2, TINY)),
            "update": math.sqrt(change / max(norm, TINY)),
            "gradient_penalty": float(self._penalty),
        }

    def _is_converged(self, history: dict[str, list[float]]) -> bool:
        objective = history["objective"]
        if len(objective) <= WINDOW:
            return False
        change = abs(objective[-1] - objective[-1 - WINDOW])
        residual = max(values[-1] for name, values in history.items() if "residual" in name)
        return change <= self._settings.tolerance * abs(objective[-1]) and residual <= self._settings.residual_tolerance

    def _balance(self, iteration: int, values: dict[str, float]) -> None:
        """Raise or lower mu1 where one residual is much larger than the other; ever more rarely, so it settles."""
        if not self._settings.balance or iteration & (iteration - 1) or iteration < 4:
            return
        ratio = values["primal_residual_gradient"] / max(values["dual_residual_gradient"], TINY)
        self._penalty *= min(max(math.sqrt(ratio), 0.2), 5.0)
