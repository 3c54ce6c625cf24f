"""Frequency shifts of white matter that no susceptibility map explains: they depend on the direction of its fibres.

Water between and inside parallel myelin sheaths does not see the field that the mean susceptibility of the voxel makes
by the dipole model.  In the hollow-cylinder model of Wharton and Bowtell the water inside an axon is shifted by

    (3/4) χ_A ln(r_o / r_i) sin²θ

relative to the main field, with χ_A the anisotropic susceptibility of the sheath, r_o and r_i its radii, and θ the
angle between fibre and field; water outside is not shifted in the mean.  Where long inclusions of mean susceptibility
χ_L are described by the dipole model, whose Lorentz sphere knows no direction, water between them is shifted by another
(χ_L / 2) (sin²θ - 2/3) (He and Yablonskiy).  Both go with sin²θ, whose mean over all directions is 2/3; a shift that is
the same in all of white matter is left out:

    shift = A (sin²θ - 2/3)

References
----------
Wharton S, Bowtell R. Fiber orientation-dependent white matter contrast in gradient echo MRI. Proc Natl Acad Sci USA
2012;109:18559-18564. doi:10.1073/pnas.1211075109
He X, Yablonskiy DA. Biophysical mechanisms of phase contrast in gradient echo MRI. Proc Natl Acad Sci USA
2009;106:13558-13563. doi:10.1073/pnas.0904899106
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from qsm_recon.phantom.anatomy.fibres import PAIRS

FloatArray = NDArray[np.floating]

MEAN_SINE_SQUARED = 2 / 3


def orientation_shift(tensor: FloatArray, b0_direction: Sequence[float], amplitude_ppm: float) -> NDArray[np.float32]:
    """Frequency shift A (sin²θ - 2/3), averaged over the fibres of each voxel.

    Parameters
    ----------
    tensor
        (6, ...) mean of n nᵀ over the fibres' directions n: xx, yy, zz, xy, xz, yz.
    b0_direction
        Unit direction of the main field, on the same axes.
    amplitude_ppm
        A, in ppm of the main field; below 0 in white matter.

    Returns
    -------
    ndarray
        (...) shift, ppm.
    """
    b = np.asarray(b0_direction, np.float64)
    factors = [float(b[i] * b[j]) * (1 if i == j else 2) for i, j in PAIRS]
    cosine_squared = sum(np.float32(f) * component for f, component in zip(factors, tensor, strict=True))
    return np.asarray(np.float32(amplitude_ppm) * (np.float32(1 - MEAN_SINE_SQUARED) - cosine_squared), np.float32)
