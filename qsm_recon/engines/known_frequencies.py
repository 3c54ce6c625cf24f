"""Total variation where the image is known at some frequencies:  ½‖M F(χ - χ₁)‖² + regulariser(∇χ).

The data term lives in k-space, so it needs no splitting: two real Fourier transforms per iteration.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.fft import FourierTransform
from qsm_recon.backend.kernels.descent import solve_known_frequencies
from qsm_recon.backend.kernels.image import replace_planes
from qsm_recon.terms.background import WeakHarmonic
from qsm_recon.terms.regulariser import GradientSplitting


class KnownFrequencySweeps:
    """One iteration as two sweeps over memory; see :class:`qsm_recon.engines.sweeps.FieldSweeps`, whose place it takes.

    Parameters
    ----------
    transform
        Fourier transform of the padded grid.
    dipole
        Dipole kernel in a half-image buffer.
    known
        χ₁ in a padded image buffer.
    threshold
        Frequencies count as known where |D| exceeds this.
    regulariser
        Splitting of the gradient.
    """

    provisional = False
    background: WeakHarmonic | None = None
    field_energy = 0.0

    def __init__(
        self,
        transform: FourierTransform,
        dipole: NDArray,
        known: NDArray,
        threshold: float,
        regulariser: GradientSplitting,
    ) -> None:
        self.transform = transform
        self.image = transform.empty_image()
        self._dipole = dipole
        self._threshold = transform.dtype.type(threshold)
        self.regulariser = regulariser
        self._known = transform.forward(known, transform.empty_spectrum())
        self._known /= transform.n_voxels
        self._misfit = 0.0
        self._slabs = transform.slabs()
        self._work = [transform.empty_block() for _ in self._slabs]

    def run_on(self) -> None:
        """See :class:`qsm_recon.engines.admm.Sweeps`; nothing to prepare."""

    def begin(self, field_penalty: float) -> None:
        """Start from z = s = 0: right-hand sides are zero already."""

    def load(self, start: NDArray) -> None:
        """Take a map (nx, ny, nz) into the image."""
        self.transform.reload_image(start, self.image)

    def begin_from_image(self, gradient_penalty: float, field_penalty: float) -> None:
        """Fill the right-hand side of a start from the image, with zero duals."""
        transform = self.transform
        spectrum = transform.forward(self.image, self.regulariser.spectra[0])
        spectrum /= transform.n_voxels
        transform.for_rows(lambda _slab, _start, a, b: transform.blocks().inverse_columns(spectrum[:, a:b]))
        self.planes(gradient_penalty, field_penalty, relaxation=1.0)

    def rows(self, gradient_penalty: float, field_penalty: float) -> None:
        """Sweep k-space: right-hand side in, χ out, half transformed."""
        transform, spectrum = self.transform, self.regulariser.spectra[0]
        real = transform.dtype.type
        numbers = self._threshold, real(gradient_penalty), real(1.0 / transform.n_voxels)
        where = transform.half, transform.shape[2] % 2 == 0

        def work(_slab: int, _start: int, a: int, b: int) -> float:
            transform.blocks().forward_columns(spectrum[:, a:b])
            misfit = solve_known_frequencies(
                spectrum, self._known, self._dipole, *self.regulariser.symbols, a, b, *where, *numbers
            )
            transform.blocks().inverse_columns(spectrum[:, a:b])
            return misfit

        self._misfit = 0.5 * transform.n_voxels * float(sum(transform.for_rows(work)))

    def planes(self, gradient_penalty: float, field_penalty: float, relaxation: float) -> dict[str, NDArray]:
        """Sweep the image: χ out of k-space, splitting and dual updated, right-hand side back in."""
        transform, regulariser = self.transform, self.regulariser
        spectrum, nz = transform.spectrum_view(regulariser.spectra[0]), transform.shape[2]

        def receive(slab: int, _start: int, a: int, b: int) -> tuple[float, float]:
            fresh = self._work[slab][: b - a]
            transform.blocks().inverse_planes(spectrum[a:b], fresh[..., :nz])
            return replace_planes(self.image, fresh, a, nz)

        image_sums = np.sum(transform.for_planes(receive, self._slabs), axis=0)
        regulariser.begin_iteration(self.image, self._slabs, gradient_penalty, relaxation)
        steps = transform.for_planes(lambda slab, _start, a, b: regulariser.step(self.image, slab, a, b), self._slabs)
        return {"image": image_sums, "gradient": np.sum(steps, axis=0), "field": np.array([self._misfit])}
