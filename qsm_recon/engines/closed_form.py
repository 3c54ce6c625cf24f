"""Reconstructions that are one multiplication in k-space."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.arrays import host
from qsm_recon.operators.dipole import DipoleOperator


def apply_filter(operator: DipoleOperator, field: NDArray, k_space_filter: NDArray) -> NDArray:
    """Multiply the transform of a field by a filter.

    Parameters
    ----------
    operator
        Gives the transform and the padded grid.
    field
        (nx, ny, nz) field.
    k_space_filter
        Real filter in a half-image buffer of the operator's transform.

    Returns
    -------
    ndarray
        (nx, ny, nz) in the unit of the field times that of the filter.
    """
    transform = operator.transform
    image = transform.load_image(field)
    return _filtered(operator, transform.forward(image, transform.empty_spectrum()), k_space_filter, image)


def _filtered(operator: DipoleOperator, spectrum: NDArray, k_space_filter: NDArray, image: NDArray) -> NDArray:
    """What a spectrum, which is overwritten as the image buffer is, becomes by a filter."""
    transform = operator.transform
    spectrum *= transform.array(k_space_filter / transform.dtype.type(transform.n_voxels))
    return operator.crop(transform.inverse(spectrum, image))


def filter_with_costs(
    operator: DipoleOperator, field: NDArray, k_space_filter: NDArray, symbol: NDArray | float = 1.0
) -> tuple[NDArray, dict[str, float]]:
    """Multiply the transform of a field by a filter, and tell the costs of the result, before masking.

    Parameters
    ----------
    operator, field, k_space_filter
        As for :func:`apply_filter`.
    symbol
        Squared symbol of the operator R in the regulariser, in a half-image buffer or a number.

    Returns
    -------
    susceptibility
        As by :func:`apply_filter`.
    costs
        ``fidelity``, ½‖D χ - φ‖² over the padded grid, and ``regularisation``, ½‖R χ‖².
    """
    transform = operator.transform
    image = transform.load_image(field)
    spectrum = transform.forward(image, transform.empty_spectrum())
    costs = _costs(operator, host(spectrum), k_space_filter, symbol)
    return _filtered(operator, spectrum, k_space_filter, image), costs


def _costs(
    operator: DipoleOperator, spectrum: NDArray, k_space_filter: NDArray, symbol: NDArray | float
) -> dict[str, float]:
    """Costs of a filtered field from its spectrum, plane by plane: whole volumes of squares take twice as long."""
    transform = operator.transform
    view, kernel = transform.spectrum_view, host(operator.kernel)
    weights = half_spectrum_weights(operator) / transform.n_voxels
    fidelity = regularisation = 0.0
    for i in range(len(spectrum)):
        plane, inverse = view(spectrum[i]), view(k_space_filter[i])
        power = np.square(plane.real, dtype=np.float64) + np.square(plane.imag, dtype=np.float64)
        power *= weights
        misfit = 1 - view(kernel[i]) * inverse
        squared_symbol = view(symbol[i]) if isinstance(symbol, np.ndarray) else symbol
        fidelity += float(np.sum(power * misfit * misfit))
        regularisation += float(np.sum(power * (inverse * inverse * squared_symbol)))
    return {"fidelity": 0.5 * fidelity, "regularisation": 0.5 * regularisation}


def half_spectrum_weights(operator: DipoleOperator) -> NDArray[np.float64]:
    """How many frequencies each plane of the half-spectrum stands for."""
    n = operator.padded_grid.shape[2]
    weights = np.full(n // 2 + 1, 2.0)
    weights[0] = 1.0
    if n % 2 == 0:
        weights[-1] = 1.0
    return weights


def truncated_inverse(kernel: NDArray, threshold: float, *, fill: bool) -> NDArray:
    """1/D where |D| exceeds a threshold; elsewhere sign(D)/threshold (``fill``) or zero."""
    large = np.abs(kernel) > threshold
    inside = np.sign(kernel) / kernel.dtype.type(threshold) if fill else np.zeros_like(kernel)
    return np.divide(1, kernel, out=inside, where=large)


def regularised_inverse(kernel: NDArray, penalty: NDArray | float) -> NDArray:
    """D / (D² + penalty), zero where both vanish (zero frequency)."""
    denominator = kernel * kernel + penalty
    return np.divide(kernel, denominator, out=np.zeros_like(kernel), where=denominator > 0)


def point_spread_amplitude(operator: DipoleOperator, k_space_filter: NDArray) -> float:
    """Mean over all of k-space of filter times kernel: the fraction of a point's susceptibility that is returned.

    Schweser et al., Magn Reson Med 69:1582-1594 (2013), doi 10.1002/mrm.24405.
    """
    view, weights, kernel = operator.transform.spectrum_view, half_spectrum_weights(operator), host(operator.kernel)
    total = 0.0
    for inverse, dipole in zip(k_space_filter, kernel, strict=True):  # plane by plane, as the costs are
        total += float((view(inverse) * view(dipole)).sum(axis=0, dtype=np.float64) @ weights)
    return total / operator.padded_grid.n_voxels
