"""What the laws of terms share on tensors, where torch is there; it is imported when a law is checked, not before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec

import numpy as np
from numpy.typing import ArrayLike

from qsm_recon.backend.device import TORCH_CPU
from qsm_recon.backend.fft import FourierTransform
from qsm_recon.backend.transforms import fourier_transform
from qsm_recon.errors import ParameterError
from qsm_recon.testing.laws import BrokenLawError, require_close

PRECISIONS = (("float32", 2e-5), ("float64", 1e-9))
"""Precisions, and how far what was computed in two ways may be apart."""


def require_the_same_on_tensors(
    compute: Callable[[FourierTransform], Sequence[ArrayLike]], shape: tuple[int, int, int], names: Sequence[str]
) -> None:
    """Require that something gives the same with a transform whose buffers are torch's as with arrays.

    Where torch is not installed nothing is required.  Nor is it of a term that says, with a ParameterError, that it is
    there for the CPU only: one whose kernels have loops over voxels of their own.

    Parameters
    ----------
    compute
        Returns arrays of numpy's.
    shape
        Of the transform.
    names
        What the arrays are.

    Raises
    ------
    BrokenLawError
        If it does not.
    """
    if find_spec("torch") is None:
        return
    for precision, largest in PRECISIONS:
        expected = compute(FourierTransform(shape, np.dtype(precision)))
        try:
            found = compute(fourier_transform(shape, precision, TORCH_CPU))
        except ParameterError:
            return
        except Exception as error:
            raise BrokenLawError(
                f"on tensors it raises {type(error).__name__}: {error}; write its scalar functions with "
                "qsm_recon.backend.scalars, which take whole arrays, too"
            ) from error
        for name, one, other in zip(names, found, expected, strict=True):
            require_close(one, other, largest, f"{name} on tensors in {precision}")
