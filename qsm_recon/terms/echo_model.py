"""The complex signal of all echoes as data fidelity of the Gauss-Newton engine."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.arrays import host
from qsm_recon.backend.fft import FourierTransform
from qsm_recon.terms.turns import TURN, whole_turns
from qsm_recon.units import rad_per_ppm

REACH_RAD = 0.3


class MultiEchoSignal:
    """½ Σ_j |m0 exp(-R2* t_j) exp(i (φ0 + s_j D χ)) - S_j|² / κ, minimised over m0, R2* and φ0 in every voxel.

    κ makes the curvature in the field, once φ0 is eliminated, 1 on average over the mask, so that the regularisation
    weight means what it does for a field map with a weight of root mean square 1.

    Parameters
    ----------
    transform
        Of the padded grid.
    echoes
        (nx, ny, nz, n_echoes) complex signal.
    mask
        (nx, ny, nz) voxels that count.
    echo_times_s, b0_tesla
        Echo times in s and main field in T.
    offset_ppm
        Constant of the field, in ppm, to take out of the echoes.
    field
        (nx, ny, nz) measured field in ppm, from which no turn of the signal is to be lost: further than
        :data:`REACH_RAD` away from it, between the first and the last echo, the functional goes on as the quadratic
        that it is there.
        None for the signal as it is, which is the same for fields a turn apart.
    reliability
        (nx, ny, nz) factor on the signal of each voxel; None for 1 everywhere.
    full
        Whether m0 and R2* are unknowns of every outer iteration.  Otherwise the model takes its magnitude from the
        signal, and φ0 is the only unknown beside the field.
    """

    may_rise = True
    provisional = False

    def __init__(
        self,
        transform: FourierTransform,
        echoes: NDArray[np.complexfloating],
        mask: NDArray[np.bool_],
        echo_times_s: tuple[float, ...],
        b0_tesla: float,
        *,
        offset_ppm: float = 0.0,
        field: NDArray[np.floating] | None = None,
        reliability: NDArray[np.floating] | None = None,
        full: bool = True,
    ) -> None:
        self._transform = transform
        self._full = full
        self._times = np.asarray(echo_times_s, np.float64)
        self._scales = np.array([rad_per_ppm(b0_tesla, t) for t in echo_times_s])
        image_shape = transform.empty_image().shape
        nx, ny, nz = mask.shape
        self._inside = transform.zeros(image_shape, np.uint8)
        self._inside[:nx, :ny, :nz] = transform.array(mask)
        self._signal = transform.zeros((*image_shape, len(echo_times_s)), transform.complex_dtype)
        # Echo by echo: all of them in double precision would be the largest thing in memory.
        total, first, second = np.zeros((3, int(mask.sum())))
        self._reliability = None if reliability is None else np.where(mask, reliability, 0).astype(np.float32)
        factor = mask if self._reliability is None else self._reliability
        for echo, scale in enumerate(self._scales):
            turned = echoes[..., echo] * transform.complex_dtype.type(np.exp(-1j * scale * offset_ppm))
            self._signal[:nx, :ny, :nz, echo] = transform.array(np.where(mask, turned, 0) * factor)
            power = np.square(np.abs(echoes[..., echo][mask]) * factor[mask], dtype=np.float64)
            total += power
            first += scale * power
            second += scale**2 * power
        curvature = second - first**2 / np.maximum(total, 1e-300)
        self._root_kappa = float(np.sqrt(curvature.mean()))
        self._signal /= transform.dtype.type(self._root_kappa)
        self.squared_weight = transform.empty_image()
        self._accepted, self._trial = (transform.zeros((3, *image_shape)) for _ in range(2))
        self._initial = True
        self._field, self._reach = self.squared_weight, np.inf
        if field is not None:
            self._reach = float(REACH_RAD / np.ptp(self._scales))
            step = float(np.min(np.diff(self._scales)))
            wraps = whole_turns(field * step, mask)
            self._field = transform.load_image(field - transform.dtype.type(TURN / step) * wraps)

    def begin_outer(self, iteration: int, predicted: NDArray) -> bool:
        """Nothing to prepare; the functional does not change."""
        return False

    def evaluate(self, predicted: NDArray, first: int, out: NDArray) -> float:
        """See :class:`qsm_recon.terms.field_model.FieldModel`."""
        from qsm_recon.backend.kernels.echo import echo_misfit

        return echo_misfit(
            predicted,
            self._signal,
            self._inside,
            self._field,
            self._reach,
            self._times,
            self._scales,
            first,
            self._transform.shape[2],
            self._full,
            self._initial,
            self._accepted,
            self._trial,
            self.squared_weight,
            out,
        )

    def accept(self) -> None:
        """Take over the voxelwise unknowns of the last evaluation."""
        self._accepted[...] = self._trial
        self._initial = False

    def maps(self, shape: tuple[int, int, int]) -> dict[str, NDArray[np.float32]]:
        """m0 (unit of the signal), R2* (1/s) and φ0 (rad) of the last evaluation, (nx, ny, nz) each."""
        nx, ny, nz = shape
        m0, decay, phase = (part[:nx, :ny, :nz].astype(np.float32) for part in host(self._trial))
        m0 = m0 * np.float32(self._root_kappa)
        if self._reliability is not None:
            m0 = np.divide(m0, self._reliability, out=np.zeros_like(m0), where=self._reliability > 0)
        wrapped = np.angle(np.exp(1j * phase)).astype(np.float32)
        return {"m0": m0, "r2star_per_s": decay, "initial_phase_rad": wrapped}
