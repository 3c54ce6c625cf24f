"""What every data fidelity for the ADMM engine must do: laws of proximal steps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.arrays import host
from qsm_recon.backend.fft import FourierTransform
from qsm_recon.backend.jit import Kernel
from qsm_recon.terms.fidelity import Fidelity, FieldSplitting
from qsm_recon.testing.laws import Laws, law, relative_error, require, require_close
from qsm_recon.testing.tensor_laws import require_the_same_on_tensors

SHAPE, PENALTY = (6, 5, 8), 1.3


class FidelityLaws(Laws):
    """The laws for one fidelity.

    Parameters
    ----------
    fidelity
        With its parameters.
    """

    def __init__(self, fidelity: Fidelity) -> None:
        self._fidelity = fidelity
        rng = np.random.default_rng(7)
        # Residuals of up to half a radian, or half a ppm: where published functions of phase are convex.
        self._measured = rng.uniform(-0.4, 0.4, SHAPE)
        self._weight = rng.uniform(0.2, 1.0, SHAPE)
        self._weight[2, 1] = 0.0
        self._predicted = self._measured + rng.uniform(-0.5, 0.5, SHAPE)

    def _splitting(self, dtype: type = np.float64, weight: NDArray | None = None) -> tuple[FieldSplitting, NDArray]:
        """A splitting that a map was given to, and z - s there."""
        transform = FourierTransform(SHAPE, dtype)
        return self._splitting_on(transform, self._weight if weight is None else weight), transform.empty_image()

    def _splitting_on(self, transform: FourierTransform, weight: NDArray) -> FieldSplitting:
        dtype = transform.dtype
        splitting = self._fidelity.on(transform, self._measured.astype(dtype), weight.astype(dtype))
        splitting.start_from(transform.load_image(self._measured.astype(dtype)))
        return splitting

    def _step(
        self, splitting: FieldSplitting, predicted: NDArray, relaxation: float = 1.0
    ) -> tuple[NDArray, tuple[float, ...]]:
        """Take a step; returns z - s and the sums."""
        transform = splitting.transform
        block = transform.load_image(predicted.astype(transform.dtype))
        sums = splitting.step(block, 0, PENALTY, relaxation)
        splitting.finish_iteration(PENALTY)
        return host(transform.image_view(block)).copy(), sums

    def _value(self, predicted: NDArray) -> float:
        """The fidelity at a field."""
        return float(self._step(self._splitting()[0], predicted)[1][0])

    @law
    def describes_itself(self) -> None:
        """A name in lower case, a docstring, and a power of 1 or 2."""
        fidelity = self._fidelity
        require(fidelity.name and fidelity.name == fidelity.name.lower(), f"name: '{fidelity.name}' is not lower case")
        require(type(fidelity).__doc__, "it has no docstring")
        require(fidelity.power in (1, 2), f"power: expected 1 or 2, found {fidelity.power}")

    @law
    def is_zero_at_the_measured_field_and_positive_elsewhere(self) -> None:
        """Where there is weight."""
        at = self._value(self._measured)
        require(abs(at) < 1e-12, f"its value at D χ = φ is {at:g}")
        require(self._value(self._predicted) > 0, "its value elsewhere is not positive")

    @law
    def grows_with_its_power(self) -> None:
        """For small residuals: doubled, the value grows by 2 to that power."""
        small = 1e-4 * (self._predicted - self._measured)
        ratio = self._value(self._measured + 2 * small) / self._value(self._measured + small)
        expected = 2.0**self._fidelity.power
        require(
            abs(ratio / expected - 1) < 1e-3, f"power {self._fidelity.power}: doubled residuals give {ratio:.4g} times"
        )

    @law
    def a_step_minimises_its_functional(self) -> None:
        """Z minimises value(z) + mu/2 |z - D χ|², the first time, without relaxation: no point nearby is lower."""
        reflected, _ = self._step(self._splitting()[0], self._predicted)
        found = 0.5 * (reflected + self._predicted)  # z - s = 2 z - D χ

        def functional(z: NDArray) -> float:
            return self._value(z) + 0.5 * PENALTY * float(np.sum(np.square(z - self._predicted)))

        least, rng = functional(found), np.random.default_rng(3)
        for size in (1e-1, 1e-2, 1e-3):
            for _ in range(5):
                other = functional(found + size * rng.standard_normal(SHAPE))
                require(other >= least - 1e-9, f"a point {size:g} away is lower by {least - other:.3g}")

    @law
    def repeated_steps_settle_where_the_data_are_fitted(self) -> None:
        """With D χ = φ throughout the state comes to rest at z = φ; the dual of a kink is free there."""
        for relaxation in (1.0, 1.6):
            splitting, _ = self._splitting()
            self._step(splitting, self._predicted, relaxation)
            for _ in range(400):
                _, sums = self._step(splitting, self._measured, relaxation)
            told = f"relaxation {relaxation}: |z - φ|² is {sums[1]:.3g} and |z - z_old|² {sums[2]:.3g} after 400 steps"
            require(max(sums[1], sums[2]) < 1e-12, told)

    @law
    def the_measured_field_does_not_matter_without_weight(self) -> None:
        """Z is D χ there and s = 0."""
        reflected, sums = self._step(self._splitting(weight=np.zeros(SHAPE))[0], self._predicted)
        require_close(reflected, self._predicted, 1e-9, "without weight")
        require(sums[0] == 0, f"without weight its value is {sums[0]:g}")

    @law
    def sums_are_those_of_the_splitting(self) -> None:
        """|D χ - z|² and |s|² of a first step are equal, and |z|² is what z - s tells."""
        reflected, sums = self._step(self._splitting()[0], self._predicted)
        z = 0.5 * (reflected + self._predicted)
        expected = [float(np.sum(np.square(part))) for part in (self._predicted - z, z, self._predicted - z)]
        require_close((sums[1], sums[3], sums[4]), expected, 1e-6, "sums of squares")

    @law
    def compiled_and_plain_kernels_agree(self) -> None:
        """Bit for bit they need not; in both precisions."""
        for dtype, largest in ((np.float32, 2e-5), (np.float64, 1e-9)):
            kernel = self._fidelity.step(dtype)
            require(isinstance(kernel, Kernel), "step does not return a kernel (qsm_recon.backend.jit.kernel)")
            results = []
            for run in (kernel, kernel.plain()):  # type: ignore[attr-defined]
                rng = np.random.default_rng(5)
                block, state, measured, weight = (rng.uniform(-1, 1, SHAPE).astype(dtype) for _ in range(4))
                numbers = tuple(dtype(n) for n in self._fidelity.numbers(1.0))
                sums = run(
                    block, state, measured, np.abs(weight), 0, SHAPE[2], dtype(0.7), dtype(1.3), dtype(1.6), numbers
                )
                results.append((block, state, np.array(sums)))
            for name, one, other in zip(("z - s", "the state", "the sums"), *results, strict=True):
                error = relative_error(one, other)
                require(error <= largest, f"{name} in {np.dtype(dtype)}: {error:.3g} apart")

    @law
    def tensors_give_what_arrays_do(self) -> None:
        """Where torch is there: the same steps on whole volumes, in both precisions."""

        def steps(transform: FourierTransform) -> list[NDArray]:
            splitting = self._splitting_on(transform, self._weight)
            taken = [self._step(splitting, self._predicted, relaxation) for relaxation in (1.0, 1.6, 1.6)]
            return [np.array([part for part, _ in taken]), np.array([sums for _, sums in taken])]

        require_the_same_on_tensors(steps, SHAPE, ("z - s", "the sums"))
