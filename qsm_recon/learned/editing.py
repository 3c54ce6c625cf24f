"""Editing the network's weights for one scan, so that the dipole model of its map fits the scan's own field.

References
----------
Zhang J, Liu Z, Zhang S, et al. Fidelity imposed network edit (FINE) for solving ill-posed image reconstruction.
NeuroImage 2020;211:116579. doi:10.1016/j.neuroimage.2020.116579
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from qsm_recon.learned.device import Arithmetic
from qsm_recon.learned.inputs import Inputs
from qsm_recon.learned.network import correct
from qsm_recon.learned.prediction import padded
from qsm_recon.learned.steps import descend, zero_momenta

if TYPE_CHECKING:
    from torch import Tensor

MONITORED = ("objective", "fidelity", "regularisation")
WINDOW = 5
"""Iterations over which the fall of the data term is judged."""
ROUNDING, SMALLEST_UNIT_PPM = 0.02, 1e-9
"""Difference at which the total variation is rounded off, in the unit of the inputs."""


@dataclass(frozen=True)
class Scan:
    """What a map has to fit.

    Parameters
    ----------
    field_ppm
        (nx, ny, nz) local field, ppm.
    weight
        (nx, ny, nz) data weight W, zero outside the mask.
    phase_scale
        rad per ppm.
    nonlinear
        Whether the phases count as points on a circle, ‖W (exp(i s D χ) - exp(i s φ))‖², or s W (D χ - φ).
    """

    field_ppm: NDArray[np.floating]
    weight: NDArray[np.floating]
    phase_scale: float
    nonlinear: bool = True


@dataclass(frozen=True)
class EditSettings:
    """How weights are edited.

    Parameters
    ----------
    iterations
        At most.
    rate
        Size of a step, see :func:`qsm_recon.learned.steps.descend`.
    smoothing
        Weight of the total variation of the map, ppm·mm.
    tolerance
        Editing ends where an iteration lowers the objective by less than this part of it, in the mean of the last
        five.
    target
        Data term at which editing ends; zero for none.
    """

    iterations: int
    rate: float = 0.01
    smoothing: float = 0.0
    tolerance: float = 0.0
    target: float = 0.0

    def rate_of(self, iteration: int) -> float:
        """Size of the step of an iteration, counted from 0: it stays for a half of them, and falls to zero."""
        return self.rate * min(1.0, 2 * (1 - iteration / self.iterations))


@dataclass
class Edited:
    """What came of it.

    Parameters
    ----------
    susceptibility_ppm, fitted_field_ppm
        (nx, ny, nz) the map of the last weights, zero outside the mask, and its field with the constant that fits.
    history
        By name, of the first weights, then after every iteration: ``fidelity``, the data term over s², in ppm²;
        ``regularisation``, the total variation, in ppm/mm, without its weight; ``objective``, both.
    converged
        Whether the tolerance or the target was reached.
    stop_reason
        Why it ended.
    """

    susceptibility_ppm: NDArray[np.float32]
    fitted_field_ppm: NDArray[np.float32]
    history: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in MONITORED})
    converged: bool = False
    stop_reason: str = "reached the iteration limit"


def edit(
    weights: Mapping[str, Tensor],
    inputs: Inputs,
    scan: Scan,
    settings: EditSettings,
    how: Arithmetic,
    report: Callable[[int, dict[str, float]], bool],
) -> Edited:
    """Minimise the data term over the weights of the network, from those given, which are left as they are.

    Parameters
    ----------
    weights
        To start from.
    inputs
        What the network is given, which stays the same.
    scan
        The data.
    settings
        Iterations, rate and when to end; with no iterations the result is the network's own map.
    how
        Where and how to compute.
    report
        Called after every iteration with its number and what is monitored; False ends.
    """
    import torch

    own = {
        name: how.place(value.detach().clone()).requires_grad_(settings.iterations > 0)
        for name, value in weights.items()
    }
    momenta = zero_momenta(own)
    channels, model = how.place(padded(inputs.channels)), _Model(inputs, scan, how)
    outcome = Edited(np.zeros(0, np.float32), np.zeros(0, np.float32))
    for iteration in range(settings.iterations + 1):
        last = iteration == settings.iterations
        with torch.set_grad_enabled(not last), how.autocast():
            map_ppm, fitted, data = model.cost(correct(own, channels)[0].float())
            variation = model.variation(map_ppm)
            fidelity = data / scan.phase_scale**2
            cost = fidelity + settings.smoothing * variation
        values = dict(zip(MONITORED, (float(part.detach()) for part in (cost, fidelity, variation)), strict=True))
        for name, value in values.items():
            outcome.history[name].append(value)
        outcome.susceptibility_ppm, outcome.fitted_field_ppm = _array(map_ppm), _array(fitted)
        if iteration and not report(iteration, values):
            outcome.stop_reason = "stopped by the callback"
            break
        outcome.converged, reason = _ended(outcome.history, settings)
        if outcome.converged and iteration:
            outcome.stop_reason = reason
            break
        if not last:
            cost.backward()
            descend(own, momenta, settings.rate_of(iteration))
    return outcome


def _array(tensor: Tensor) -> NDArray[np.float32]:
    return tensor.detach().cpu().numpy()


def _ended(history: dict[str, list[float]], settings: EditSettings) -> tuple[bool, str]:
    """Whether to end, and why."""
    if history["fidelity"][-1] <= settings.target:
        return True, "the data term is that of the noise"
    objective = history["objective"]
    if len(objective) > WINDOW and objective[-WINDOW - 1] - objective[-1] < WINDOW * settings.tolerance * objective[-1]:
        return True, "the objective falls by less than its tolerance"
    return False, ""


class _Model:
    """The data term of a map."""

    def __init__(self, inputs: Inputs, scan: Scan, how: Arithmetic) -> None:
        import torch

        operator = inputs.operator
        self.shape, self.padded_shape = operator.grid.shape, operator.padded_grid.shape
        kernel = np.ascontiguousarray(operator.transform.spectrum_view(operator.kernel))
        self.kernel = torch.from_numpy(kernel).to(how.device)
        self.scan, self.scale_ppm = scan, inputs.scale_ppm
        self.field, self.weight = (
            torch.from_numpy(np.ascontiguousarray(image, np.float32)).to(how.device)
            for image in (scan.field_ppm, scan.weight)
        )
        self.mask = torch.from_numpy(inputs.channels[-1].copy()).to(how.device)
        self.spacing = operator.grid.voxel_size_mm
        self.constants = [self.mask, self.forward(self.mask)]
        self.basis = [self.weight * image for image in self.constants]
        gram = torch.tensor([[float((a * b).sum()) for b in self.basis] for a in self.basis], dtype=torch.float64)
        self.solve = torch.linalg.pinv(gram, hermitian=True, rtol=1e-6)

    def forward(self, image: Tensor) -> Tensor:
        """Dipole field of an image, as :class:`qsm_recon.operators.dipole.DipoleOperator` computes it."""
        import torch

        spectrum = torch.fft.rfftn(image, s=self.padded_shape) * self.kernel
        nx, ny, nz = self.shape
        return torch.fft.irfftn(spectrum, s=self.padded_shape)[:nx, :ny, :nz]

    def variation(self, map_ppm: Tensor) -> Tensor:
        """Total variation of a map between neighbours that both are in the mask, rounded off, in ppm/mm."""
        total = map_ppm.new_zeros(())
        for axis, size in enumerate(self.spacing):
            n = map_ppm.shape[axis] - 1
            both = self.mask.narrow(axis, 0, n) * self.mask.narrow(axis, 1, n)
            step = (map_ppm.narrow(axis, 1, n) - map_ppm.narrow(axis, 0, n)) * both
            rounding = ROUNDING * max(self.scale_ppm, SMALLEST_UNIT_PPM)
            total = total + ((step**2 + rounding**2) ** 0.5 - rounding).sum() / size
        return total

    def cost(self, found: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The map in ppm, its field and the data term of what the network found.

        The constants of susceptibility and field, which the network is not asked for, are those that fit best.
        """
        import torch

        nx, ny, nz = self.shape
        own = found[:nx, :ny, :nz] * self.scale_ppm
        residual = self.field - self.forward(own)
        with torch.no_grad():
            sides = [float((self.weight * residual * image).sum()) for image in self.basis]
            constant, level = (self.solve @ torch.tensor(sides, dtype=torch.float64)).tolist()
        residual = residual - constant * self.constants[0] - level * self.constants[1]
        phase = self.scan.phase_scale * residual
        distance = 2 * torch.sin(phase / 2) if self.scan.nonlinear else phase
        cost = 0.5 * torch.sum((self.weight * distance) ** 2)
        return own + level * self.mask, (self.field - residual) * self.mask, cost
