"""The challenge's learned systems: a network (``qsminvnet``), and its weights edited for each scan (``fine``).

Both need the extra ``qsm_recon[torch]``.  What they compute is in :mod:`qsm_recon.learned`, which alone imports torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.device import CPU, device_name, torch_name
from qsm_recon.errors import ParameterError
from qsm_recon.operators.grid import Grid
from qsm_recon.problem import Problem
from qsm_recon.region import Region
from qsm_recon.result import Callback, IterationState, Reconstruction, heed
from qsm_recon.solvers.base import Solver
from qsm_recon.solvers.default_weights import TOTAL_VARIATION_RULE, total_variation_weight
from qsm_recon.solvers.iterative import padding_or
from qsm_recon.solvers.parameters import parameter
from qsm_recon.solvers.total_variation import LinearTV
from qsm_recon.terms.weights import data_weight, fidelity_of_noise

if TYPE_CHECKING:
    from qsm_recon.learned.editing import Edited, EditSettings
    from qsm_recon.learned.heads import TrainingHead

SMALLEST_NOISE_PPM = 1e-5


@dataclass(frozen=True)
class _Learned(Solver):
    """What both share: the network, and where it is computed."""

    warm_starts: ClassVar[bool] = False
    starts_from_map: ClassVar[bool] = False
    odd: ClassVar[bool] = False  # veins are paramagnetic in all heads that it was trained on
    extra: ClassVar[str] = "torch"
    needs: ClassVar[tuple[str, ...]] = ("torch", "safetensors")

    device: str = parameter(
        "auto", "1", "where to compute; auto takes the device of the run, else a GPU if there is one",
        choices=("auto", "cpu", "cuda"),
    )  # fmt: skip
    arithmetic: str = parameter(
        "single", "1", "precision of the network's convolutions; auto takes bfloat16 where the hardware has it",
        choices=("single", "bfloat16", "auto"),
    )  # fmt: skip
    weighting: str = parameter(
        "auto", "1", "data weight W of the fit; auto takes the given weight, else the magnitude, else the mask",
        choices=("auto", "mask", "magnitude", "magnitude-squared", "noise", "given"),
    )  # fmt: skip

    def region(self, problem: Problem) -> Region:
        """See :class:`Solver`."""
        return Region.around(problem, 0.0)

    def grid_padding(self, mask: NDArray[np.bool_], grid: Grid) -> tuple[int, int, int]:
        """See :class:`Solver`."""
        return padding_or(None, mask, grid)

    def remarks(self, problem: Problem) -> list[str]:
        """See :meth:`Solver.remarks`: what of the problem is unlike everything that the network was trained on."""
        from qsm_recon.learned.domain import outside_domain
        from qsm_recon.learned.weights import chosen_weights, facts_of

        return outside_domain(problem, facts_of(chosen_weights()))

    def _device(self) -> str:
        """Where to compute, as the network's own setting has it; cores of a run say nothing of a network."""
        chosen = device_name()
        return self.device if self.device != "auto" or chosen == CPU else torch_name(chosen).partition(":")[0]

    def _settings(self, problem: Problem, weight: NDArray[np.floating]) -> EditSettings:
        """How the weights are edited."""
        raise NotImplementedError

    def _first_map(self, problem: Problem) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """The map that the network corrects, and what is to be known of it."""
        found = LinearTV(weighting=self.weighting).solve(problem)
        heed(found.stop_reason)
        facts = {
            "first_map": found.solver,
            "first_map_iterations": found.iterations,
            "first_map_ended": found.stop_reason,
        }
        return found.susceptibility_ppm, facts

    def _weights(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Weights of the network, and what is known of them."""
        from qsm_recon.learned.weights import chosen_weights, load_weights

        path = chosen_weights()
        weights, facts = load_weights(path)
        return weights, {"weights": path.name, "trained_steps": facts.get("step")}

    def _solve(self, problem: Problem, callback: Callback | None, start_ppm: NDArray | None) -> Reconstruction:
        from qsm_recon.learned.device import arithmetic
        from qsm_recon.learned.editing import Scan, edit
        from qsm_recon.learned.inputs import prepare

        if start_ppm is not None:
            raise ParameterError(f"start_ppm: '{self.name}' starts from the map of its network; leave it out")
        weights, facts = self._weights()
        order = _field_last(problem.grid)
        weight, origin = data_weight(problem, self.weighting)
        settings = self._settings(problem, weight)
        turned = _transposed_grid(problem.grid, order)
        field, mask, weight = problem.field_ppm.transpose(order), problem.mask.transpose(order), weight.transpose(order)
        first, before = self._first_map(problem)
        inputs = prepare(field, first.transpose(order), mask, turned)
        nonlinear = getattr(self, "fidelity", "nonlinear") == "nonlinear"
        scan = Scan(np.where(mask, field, 0), weight, problem.phase_scale, nonlinear)

        def report(iteration: int, values: dict[str, float]) -> bool:
            state = IterationState(iteration, settings.iterations, values)
            return callback is None or callback(state) is not False

        edited = edit(weights, inputs, scan, settings, arithmetic(self._device(), self.arithmetic), report)
        back = tuple(np.argsort(order))
        return self._result(
            problem, edited, back, {**facts, **before, "weighting": origin, "unit_ppm": inputs.scale_ppm}
        )

    def _result(self, problem: Problem, edited: Edited, back: tuple[int, ...], facts: dict[str, Any]) -> Reconstruction:
        history = {name: values[1:] for name, values in edited.history.items()}
        before = {f"{name}_before": values[0] for name, values in edited.history.items()}
        last = {name: values[-1] for name, values in edited.history.items()} if not self.iterative else {}
        return Reconstruction(
            susceptibility_ppm=np.ascontiguousarray(edited.susceptibility_ppm.transpose(back)),
            mask=problem.mask,
            solver=self.name,
            parameters=self.parameters(),
            converged=edited.converged if self.iterative else True,
            stop_reason=edited.stop_reason if self.iterative else "the network has no iterations",
            iterations=len(history["fidelity"]),
            history=history if self.iterative else {},
            details={**facts, **last, **(before if self.iterative else {})},
            fitted_field_ppm=np.ascontiguousarray(edited.fitted_field_ppm.transpose(back)),
        )


def first_map_of(head: TrainingHead) -> NDArray[np.float32]:
    """The map that the network corrects, of a head to train on."""
    noise = np.maximum(head.noise_ppm, np.float32(SMALLEST_NOISE_PPM))
    weight = np.where(head.mask, 1 / noise, 0).astype(np.float32)
    problem = Problem(head.field_ppm, head.mask, head.grid, weight=weight, field_noise_ppm=noise, field_kind="local")
    found = LinearTV().solve(problem)
    heed(found.stop_reason)
    return found.susceptibility_ppm


def _field_last(grid: Grid) -> tuple[int, int, int]:
    """Axes in the order of how far they are along the main field, which the network was trained to find last."""
    x, y, z = np.argsort(np.round(np.abs(grid.b0_direction), 6), kind="stable").tolist()
    return (x, y, z)


def _transposed_grid(grid: Grid, order: tuple[int, int, int]) -> Grid:
    """The same geometry with its axes in another order."""
    shape, size, direction = (
        tuple(values[axis] for axis in order) for values in (grid.shape, grid.voxel_size_mm, grid.b0_direction)
    )
    return Grid(shape, size, direction)  # type: ignore[arg-type]


@dataclass(frozen=True)
class LearnedInversion(_Learned):
    """The map of total variation, and what a three-dimensional U-Net takes to be wrong with it."""

    name: ClassVar[str] = "qsminvnet"
    title: ClassVar[str] = "Learned inversion by a U-Net"
    citation: ClassVar[str] = "Bollmann et al., NeuroImage 195:373-383 (2019), doi 10.1016/j.neuroimage.2019.03.060"
    iterative: ClassVar[bool] = False

    correction: float = parameter(
        1.0,
        "1",
        "share of the network's correction that is applied; 0 leaves the map of tv",
        low=0,
        high=2,
        main=True,
    )

    def memory_volumes(self) -> float:
        """See :class:`Solver`."""
        return 66.0

    def _weights(self) -> tuple[dict[str, Any], dict[str, Any]]:
        weights, facts = super()._weights()
        last = {name: self.correction * value for name, value in weights.items() if name.startswith("leave.")}
        return {**weights, **last}, facts

    def _settings(self, problem: Problem, weight: NDArray[np.floating]) -> EditSettings:
        from qsm_recon.learned.editing import EditSettings

        return EditSettings(iterations=0)


@dataclass(frozen=True)
class NetworkEdit(_Learned):
    """½‖W (exp(i s D χ) - exp(i s φ))‖² / s² + alpha ‖∇χ‖₁, minimised over the weights of the network that gives χ.

    It starts from the weights that the package brings.  The published method has alpha = 0.
    """

    name: ClassVar[str] = "fine"
    title: ClassVar[str] = "Fidelity-imposed network edit"
    citation: ClassVar[str] = "Zhang et al., NeuroImage 211:116579 (2020), doi 10.1016/j.neuroimage.2020.116579"
    default_rule: ClassVar[str] = TOTAL_VARIATION_RULE

    regularisation_weight: float | None = parameter(
        None, "ppm·mm", "weight alpha of the total variation; 0 is the published method", low=0, high=1e3, kind=float,
        main=True,
    )  # fmt: skip
    max_iterations: int = parameter(8, "1", "most iterations", low=1, high=10_000)
    step: float = parameter(
        0.003, "1", "size of a step of the weights; it falls to zero over the second half of the iterations",
        low=1e-6, high=0.1,
    )  # fmt: skip
    tolerance: float = parameter(
        2e-3, "1", "relative fall of the objective in an iteration, over the last five, to end at", low=0, high=0.5
    )
    noise_factor: float = parameter(
        0.0, "1", "data term to end at, over that of the field's noise where that is known; 0 for none", low=0, high=100
    )
    fidelity: str = parameter("nonlinear", "1", "data fidelity", choices=("nonlinear", "linear"))

    def memory_volumes(self) -> float:
        """See :class:`Solver`."""
        return 178.0

    def default_weight(self, problem: Problem) -> float:
        """See :class:`Solver`."""
        return total_variation_weight(problem)

    def noise_fidelity(self, problem: Problem) -> float | None:
        """See :class:`Solver`."""
        weight, _ = data_weight(problem, self.weighting)
        return fidelity_of_noise(problem, weight)

    def _settings(self, problem: Problem, weight: NDArray[np.floating]) -> EditSettings:
        from qsm_recon.learned.editing import EditSettings

        noise = fidelity_of_noise(problem, weight) or 0.0
        return EditSettings(
            iterations=self.max_iterations,
            rate=self.step,
            smoothing=self.main_value(),
            tolerance=self.tolerance,
            target=self.noise_factor * noise,
        )


SOLVERS = (LearnedInversion, NetworkEdit)
