"""One iteration of the alternating direction method as two sweeps over memory.

- Rows of k-space: transform along x, solve frequency by frequency for χ and everything coupled to it, transform back.
- Planes of the image: transform back, shrinkage, proximal step and dual updates, transform forth.

Each piece stays in a processor's cache through its whole sweep, so an iteration costs little more than the real Fourier
transforms that it holds: four for total variation, two more for a background field, six more for a vector field.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.fft import FourierTransform
from qsm_recon.backend.kernels.frequency import solve_susceptibility, solve_with_background
from qsm_recon.backend.kernels.image import replace_planes
from qsm_recon.terms.background import WeakHarmonic
from qsm_recon.terms.fidelity import FieldSplitting
from qsm_recon.terms.regulariser import GradientSplitting


class FieldSweeps:
    """Buffers of an iteration and the two sweeps over them.

    Parameters
    ----------
    transform
        Fourier transform of the padded grid.
    dipole
        Dipole kernel in a half-image buffer of that transform.
    fidelity, regulariser, background
        The terms; no background where None.
    """

    def __init__(
        self,
        transform: FourierTransform,
        dipole: NDArray,
        fidelity: FieldSplitting,
        regulariser: GradientSplitting,
        background: WeakHarmonic | None = None,
    ) -> None:
        self.transform = transform
        self.image = transform.empty_image()
        self._dipole = dipole
        self._fidelity = fidelity
        self.field_energy = fidelity.field_energy
        self.regulariser = regulariser
        self.background = background
        self._field_spectrum = transform.empty_spectrum()
        self._slabs = transform.slabs()
        self._work = [transform.empty_block() for _ in self._slabs]
        further = [] if background is None else [background.spectrum]
        self._spectra = [*regulariser.spectra, self._field_spectrum, *further]

    @property
    def provisional(self) -> bool:
        """Whether another function stands in for the fidelity in the next iteration."""
        return self._fidelity.provisional

    def run_on(self) -> None:
        """Prepare for another regularisation weight; all buffers stay as they are."""
        self._fidelity.run_on()

    def weigh(self, data_weight: NDArray) -> None:
        """Take another data weight W (nx, ny, nz) from here on; the state stays."""
        self._fidelity.weigh(data_weight)

    def begin(self, field_penalty: float) -> None:
        """Fill the right-hand sides of a start from nothing."""
        transform = self.transform
        scratch = transform.empty_image()
        self._fidelity.start(field_penalty, scratch)
        valid, spectrum = transform.image_view(scratch), transform.spectrum_view(self._field_spectrum)
        transform.for_planes(lambda _slab, _start, a, b: transform.blocks().forward_planes(valid[a:b], spectrum[a:b]))

    def load(self, start: NDArray) -> None:
        """Take a map (nx, ny, nz) into the image."""
        self.transform.reload_image(start, self.image)

    def begin_from_image(self, gradient_penalty: float, field_penalty: float) -> None:
        """Fill the right-hand sides of a start from the image, with zero duals."""
        transform = self.transform
        spectrum = transform.forward(self.image, self.regulariser.spectra[0])
        spectrum /= transform.n_voxels
        self._field_spectrum[...] = spectrum
        self._field_spectrum *= self._dipole
        scratch = transform.empty_spectrum()
        scratch[...] = self._field_spectrum
        self._fidelity.start_from(transform.inverse(scratch, transform.empty_image()))
        del scratch

        def back(_slab: int, _start: int, a: int, b: int) -> None:
            for part in (spectrum, self._field_spectrum):
                transform.blocks().inverse_columns(part[:, a:b])

        transform.for_rows(back)
        self.planes(gradient_penalty, field_penalty, relaxation=1.0)

    def rows(self, gradient_penalty: float, field_penalty: float) -> None:
        """Sweep k-space: right-hand sides in; χ, the field and what is coupled to them out, half transformed.

        The penalties are those that the right-hand sides were made with.
        """
        transform, regulariser = self.transform, self.regulariser

        def work(_slab: int, _start: int, a: int, b: int) -> None:
            blocks = transform.blocks()
            for spectrum in self._spectra:
                blocks.forward_columns(spectrum[:, a:b])
            regulariser.reduce_rows(a, b, gradient_penalty)
            self._solve(a, b, gradient_penalty, field_penalty)
            regulariser.restore_rows(a, b, gradient_penalty)
            for spectrum in self._spectra:
                blocks.inverse_columns(spectrum[:, a:b])

        transform.for_rows(work)

    def _solve(self, first: int, last: int, gradient_penalty: float, field_penalty: float) -> None:
        transform, regulariser, background = self.transform, self.regulariser, self.background
        real = transform.dtype.type
        scale = real(1.0 / transform.n_voxels)
        mu1, coupling, mu2 = real(gradient_penalty), real(regulariser.coupling), real(field_penalty)
        where = (first, last, transform.half)
        image, field = regulariser.spectra[0], self._field_spectrum
        if background is None:
            solve_susceptibility(image, field, self._dipole, *regulariser.symbols, *where, mu1, coupling, mu2, scale)
        else:
            solve_with_background(
                image, field, background.spectrum, self._dipole, *regulariser.symbols, *background.symbols,
                *where, mu1, coupling, mu2, real(background.side_penalty), scale,
            )  # fmt: skip

    def planes(self, gradient_penalty: float, field_penalty: float, relaxation: float) -> dict[str, NDArray[Any]]:
        """Sweep the image: χ and the field out of k-space, splittings and duals updated, right-hand sides back in.

        Returns
        -------
        dict
            For ``image`` the sums of squares of the change of χ and of χ; for every splitting its five sums: value of
            the term, |d - z|², |z - z_old|², |z|² and |s|².
        """
        transform, regulariser, background = self.transform, self.regulariser, self.background
        image_spectrum = transform.spectrum_view(regulariser.spectra[0])
        field_spectrum = transform.spectrum_view(self._field_spectrum)
        nz = transform.shape[2]

        def receive(slab: int, _start: int, a: int, b: int) -> tuple[float, float]:
            fresh = self._work[slab][: b - a]
            transform.blocks().inverse_planes(image_spectrum[a:b], fresh[..., :nz])
            regulariser.receive(slab, a, b)
            return replace_planes(self.image, fresh, a, nz)

        image_sums = np.sum(transform.for_planes(receive, self._slabs), axis=0)
        regulariser.begin_iteration(self.image, self._slabs, gradient_penalty, relaxation)

        def advance(slab: int, _start: int, a: int, b: int) -> tuple[float, ...]:
            blocks, work = transform.blocks(), self._work[slab][: b - a]
            valid = work[..., :nz]
            sums = regulariser.step(self.image, slab, a, b)
            blocks.inverse_planes(field_spectrum[a:b], valid)
            if background is not None:
                background.total_field[a:b] = work
            sums += self._fidelity.step(work, a, field_penalty, relaxation)
            blocks.forward_planes(valid, field_spectrum[a:b])
            if background is not None:
                spectrum = transform.spectrum_view(background.spectrum)
                blocks.inverse_planes(spectrum[a:b], valid)
                sums += background.step(work, a, relaxation)
                blocks.forward_planes(valid, spectrum[a:b])
            return sums

        sums = np.sum(transform.for_planes(advance, self._slabs), axis=0).reshape(-1, 5)
        self._fidelity.finish_iteration(field_penalty)
        names = [*regulariser.groups, "field"] + ([] if background is None else [background.name])
        return {"image": image_sums, **dict(zip(names, sums, strict=True))}
