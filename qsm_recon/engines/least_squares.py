"""A few iterations of least squares on D χ = φ without weights, where D is diagonal."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from qsm_recon.backend.arrays import host
from qsm_recon.operators.dipole import DipoleOperator


def spectral_least_squares(operator: DipoleOperator, field: NDArray, iterations: int) -> NDArray[np.floating]:
    """LSMR in k-space on the padded grid; stopped early it leaves alone what D hardly sees.

    Parameters
    ----------
    operator
        D.
    field
        (nx, ny, nz) field φ.
    iterations
        Number of iterations.

    Returns
    -------
    ndarray
        (nx, ny, nz) susceptibility in the unit of the field.

    References
    ----------
    Fong, Saunders, SIAM J Sci Comput 33:2950-2971 (2011), doi 10.1137/10079687X.
    """
    from scipy.sparse.linalg import LinearOperator, lsmr

    transform = operator.transform
    image = transform.load_image(field)
    spectrum = transform.forward(image, transform.empty_spectrum())
    values = np.ascontiguousarray(host(transform.spectrum_view(spectrum))).copy()
    # Interior entries of the half-spectrum stand for two frequencies each.
    root = np.full(transform.half, np.sqrt(2.0), transform.dtype)
    root[0] = 1
    if transform.shape[2] % 2 == 0:
        root[-1] = 1
    values *= root
    # Real and imaginary parts; scipy's bookkeeping overflows in single precision.
    diagonal = np.repeat(host(transform.spectrum_view(operator.kernel)).ravel(), 2).astype(np.float64)
    system = LinearOperator(
        (diagonal.size, diagonal.size),
        matvec=lambda x: diagonal * x.ravel(),
        rmatvec=lambda x: diagonal * x.ravel(),
        dtype=np.float64,
    )
    right = values.view(transform.dtype).ravel().astype(np.float64)
    solution = lsmr(system, right, atol=0, btol=0, conlim=0, maxiter=iterations)[0]
    found = solution.astype(transform.dtype).view(transform.complex_dtype).reshape(values.shape)
    transform.spectrum_view(spectrum)[...] = transform.array(found / (root * transform.n_voxels))
    return operator.crop(transform.inverse(spectrum, image))
