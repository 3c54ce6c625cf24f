"""The dipole operator and the Fourier transform that every method is built on."""

from __future__ import annotations

import numpy as np

SIZES = (48, 96)


class Dipole:
    """The field of a map, the kernel made once."""

    params = SIZES
    param_names = ("edge",)

    def setup(self, edge: int) -> None:
        """Make map and operator, and compile."""
        from qsm_recon import DipoleOperator, Grid
        from qsm_recon.backend.threads import set_thread_count

        set_thread_count(1)
        self.grid = Grid((edge, edge, edge))
        self.image = np.random.default_rng(0).standard_normal(self.grid.shape).astype(np.float32)
        self.operator = DipoleOperator(self.grid, padding=8)
        self.operator.forward(self.image)

    def time_forward(self, _edge: int) -> None:
        """Two transforms and a product."""
        self.operator.forward(self.image)

    def time_kernel(self, _edge: int) -> None:
        """Make the operator: grid, kernel, plans."""
        from qsm_recon import DipoleOperator

        DipoleOperator(self.grid, padding=8)

    def peakmem_forward(self, _edge: int) -> None:
        """Memory of the process, interpreter and libraries with it."""
        self.operator.forward(self.image)


class Transform:
    """A real transform there and back."""

    params = SIZES
    param_names = ("edge",)

    def setup(self, edge: int) -> None:
        """Make buffers, and plan."""
        from qsm_recon.backend.fft import FourierTransform
        from qsm_recon.backend.threads import set_thread_count

        set_thread_count(1)
        self.transform = FourierTransform((edge, edge, edge))
        self.image, self.spectrum = self.transform.empty_image(), self.transform.empty_spectrum()
        self.time_there_and_back(edge)

    def time_there_and_back(self, _edge: int) -> None:
        """Forward and inverse."""
        self.transform.forward(self.image, self.spectrum)
        self.transform.inverse(self.spectrum, self.image)
