"""A background field that is weakly harmonic inside the mask, for the ADMM engine."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.fft import FourierTransform
from qsm_recon.backend.kernels.harmonic import masked_decay_step
from qsm_recon.operators.gradient import Spacing
from qsm_recon.terms.regulariser import squared_symbols


class WeakHarmonic:
    """½ beta ‖M Δh‖² on a field h that is added to D χ, with the splitting zh ≈ -Δh.

    Parameters
    ----------
    transform
        Of the padded grid.
    spacing
        Distance between voxels that differences are divided by.
    mask
        (nx, ny, nz) where h must be harmonic; it is free elsewhere.
    weight
        beta, in the fourth power of the unit of the spacing.
    penalty
        muh, in the same unit.
    balance
        Whether the engine may adapt muh to the residuals.  The dual is beta / muh · M zh whatever muh is.

    Attributes
    ----------
    side_penalty
        muh that the right-hand side on its way was made with; the engine keeps it.

    References
    ----------
    Milovic et al., Magn Reson Med 81:1399-1411 (2019), doi 10.1002/mrm.27483.  Here χ and h are solved for together in
    every iteration; the toolbox alternates between them and masks χ each time.
    """

    name: ClassVar[str] = "laplacian"
    citation: ClassVar[str] = "Milovic et al., Magn Reson Med 81:1399-1411 (2019), doi 10.1002/mrm.27483"

    def __init__(
        self,
        transform: FourierTransform,
        spacing: Spacing,
        mask: NDArray,
        weight: float,
        penalty: float,
        *,
        balance: bool = False,
    ) -> None:
        self._transform = transform
        self.weight = weight
        self.penalty = self.side_penalty = penalty
        self.balance = balance
        self._mask = transform.load_image(mask.astype(transform.dtype))
        self._split = transform.empty_image()
        self.total_field = transform.empty_image()
        self.spectrum = transform.empty_spectrum()
        self.symbols = squared_symbols(transform, spacing)

    def step(self, laplacian: NDArray, first: int, relaxation: float) -> tuple[float, ...]:
        """Proximal step and dual update on planes; ``laplacian`` (-Δh) is replaced by zh - sh.

        Returns sums of M|Δh|², |-Δh - zh|², |zh - zh_old|², |zh|² and |sh|².
        """
        real = self._transform.dtype.type
        sums: tuple[float, ...] = masked_decay_step(
            laplacian,
            self._split,
            self._mask,
            first,
            self._transform.shape[2],
            real(self.weight / self.penalty),
            real(relaxation),
        )
        return sums

    def field(self, dipole_field: NDArray) -> NDArray[np.floating]:
        """Background field: what of the last iteration's total field is not that of χ."""
        return self.total_field - dipole_field
