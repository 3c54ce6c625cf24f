"""What every regulariser for the ADMM engine must do."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.arrays import host
from qsm_recon.backend.fft import FourierTransform
from qsm_recon.terms.regulariser import GradientSplitting, Regulariser
from qsm_recon.testing.laws import Laws, law, require, require_close
from qsm_recon.testing.tensor_laws import require_the_same_on_tensors

SHAPE, SPACING, WEIGHT, PENALTY = (6, 5, 8), (1.0, 0.9, 1.4), 0.2, 0.7


class RegulariserLaws(Laws):
    """The laws for one regulariser.

    Parameters
    ----------
    regulariser
        With its parameters.
    """

    def __init__(self, regulariser: Regulariser) -> None:
        self._regulariser = regulariser
        self._image = np.random.default_rng(9).uniform(-1, 1, SHAPE)

    def _sums(self, image: NDArray, weight: float = WEIGHT, steps: int = 1, pieces: int = 1) -> NDArray:
        """Sums of the last of some steps at an image, one row for each splitting."""
        return self._run(image, weight, steps, pieces)[1]

    def _run(self, image: NDArray, weight: float, steps: int, pieces: int) -> tuple[GradientSplitting, NDArray]:
        transform = FourierTransform(SHAPE, np.float64)
        splitting = self._regulariser.on(transform, SPACING, weight)
        buffer = transform.load_image(image)
        edges = np.linspace(0, SHAPE[0], pieces + 1).astype(int)
        slabs = [(int(a), int(b)) for a, b in itertools.pairwise(edges)]
        for _ in range(steps):
            splitting.begin_iteration(buffer, slabs, PENALTY, 1.0)
            sums = np.zeros(5 * len(splitting.groups))
            for index, (first, last) in enumerate(slabs):
                for plane in range(first, last):
                    sums += splitting.step(buffer, index, plane, plane + 1)
        return splitting, sums.reshape(-1, 5)

    def _value(self, image: NDArray) -> float:
        """The regulariser at an image, over the first of its weights."""
        splitting, sums = self._run(image, WEIGHT, 1, 1)
        return float(sum(w * s[0] for w, s in zip(splitting.weights, sums, strict=True))) / splitting.weights[0]

    @law
    def describes_itself(self) -> None:
        """A name in lower case, a docstring, a penalty and memory that can be."""
        regulariser = self._regulariser
        require(regulariser.name == regulariser.name.lower() and regulariser.name, f"name: '{regulariser.name}'")
        require(type(regulariser).__doc__, "it has no docstring")
        require(regulariser.field_penalty > 0, f"field_penalty: {regulariser.field_penalty} is not positive")
        require(regulariser.memory_volumes >= 0, f"memory_volumes: {regulariser.memory_volumes} is negative")

    @law
    def is_zero_for_a_constant_and_positive_elsewhere(self) -> None:
        """The zero of susceptibility means nothing."""
        constant = self._value(np.full(SHAPE, 0.3))
        require(abs(constant) < 1e-10, f"its value at a constant is {constant:g}")
        require(self._value(self._image) > 0, "its value elsewhere is not positive")
        require_close(self._value(self._image + 5.0), self._value(self._image), 1e-9, "with a constant added")

    @law
    def does_not_depend_on_the_sign(self) -> None:
        """Nothing prefers positive susceptibility."""
        require_close(self._value(-self._image), self._value(self._image), 1e-9, "sign changed")

    @law
    def does_not_depend_on_how_the_image_is_cut_into_slabs(self) -> None:
        """As many as there are threads."""
        whole = self._sums(self._image, steps=3)
        for pieces in (2, 3):
            require_close(self._sums(self._image, steps=3, pieces=pieces), whole, 1e-9, f"{pieces} slabs")

    @law
    def shrinks_to_nothing_with_a_large_weight(self) -> None:
        """Z of the gradient is zero, and the dual holds all of it."""
        _, primal, _, split, dual = self._sums(self._image, weight=1e6)[0]
        require(split <= 1e-9 * primal, f"|z|² is {split:g} of {primal:g}")
        require_close(dual, primal, 1e-9, "|s|² with a large weight")

    @law
    def leaves_the_gradient_alone_with_a_small_weight(self) -> None:
        """Z is the gradient."""
        _, primal, _, split, _ = self._sums(self._image, weight=1e-9)[0]
        require(primal <= 1e-12 * split, f"|∇χ - z|² is {primal:g} of {split:g}")

    @law
    def rescaling_keeps_shrinkage_thresholds(self) -> None:
        """A weight and a penalty multiplied alike leave the state where it is."""
        transform = FourierTransform(SHAPE, np.float64)
        buffer, results = transform.load_image(self._image), []
        for factor in (1.0, 2.5):
            splitting = self._regulariser.on(transform, SPACING, WEIGHT)
            penalty = PENALTY
            for _ in range(2):
                splitting.begin_iteration(buffer, [(0, SHAPE[0])], penalty, 1.0)
                sums = np.zeros(5 * len(splitting.groups))
                for plane in range(SHAPE[0]):
                    sums += splitting.step(buffer, 0, plane, plane + 1)
                splitting.rescale(factor)
                splitting.spectra[...] = 0  # no frequencies are solved for here: what is coupled to χ stays zero
                penalty *= factor
            results.append(sums)
        require_close(results[1], results[0], 1e-9, "rescaled between two steps")

    @law
    def tensors_give_what_arrays_do(self) -> None:
        """Where torch is there: the same sums and right-hand sides, in both precisions."""

        def steps(transform: FourierTransform) -> list[NDArray]:
            splitting = self._regulariser.on(transform, SPACING, WEIGHT)
            buffer, slabs, sums = transform.load_image(self._image), transform.slabs(), []
            for _ in range(3):
                splitting.begin_iteration(buffer, slabs, PENALTY, 1.6)
                parts = transform.for_planes(lambda slab, _start, a, b: splitting.step(buffer, slab, a, b), slabs)
                sums.append(np.sum(parts, axis=0))
            spectra = np.stack([host(transform.spectrum_view(one)) for one in splitting.spectra])
            return [np.array(sums), spectra.real, spectra.imag]

        require_the_same_on_tensors(steps, SHAPE, ("the sums", "right-hand sides", "their imaginary parts"))
