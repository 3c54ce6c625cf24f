"""A plug-in that brings a regulariser: total variation whose corner at zero is rounded off."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from qsm_recon.backend.jit import inline, kernel
from qsm_recon.backend.kernels.gradient import gradient_sweep, incoming_sweep
from qsm_recon.backend.scalars import limited, smaller
from qsm_recon.terms.regulariser import TotalVariation

HALF = np.float32(0.5)


@inline
def dual(u, threshold, numbers):
    """What the proximal map of t f takes away from u."""
    return limited(u * threshold / (numbers[0] + threshold), threshold)


@inline
def rounded(difference, numbers):
    """d² / 2k up to the knee k, beyond |d| - k/2."""
    near = smaller(abs(difference), numbers[0])
    return abs(difference) - near + HALF * near * near / numbers[0]


@kernel
def incoming(image, u, weights, plane, h, old, new, ratio, relaxation, numbers, out):
    """What a slab begins with."""
    incoming_sweep(dual, image, u, weights, plane, h, old, new, ratio, relaxation, numbers, out)


@kernel
def shrink(image, u, weights, first, last, nz, h, old, new, ratio, relaxation, numbers, carried, ahead, out):
    """The step itself."""
    return gradient_sweep(
        dual, rounded, image, u, weights, first, last, nz, h, old, new, ratio, relaxation, numbers, carried, ahead, out
    )


@dataclass(frozen=True)
class RoundedTV(TotalVariation):
    """alpha Σ f(∂χ), f a parabola below the knee."""

    name: ClassVar[str] = "rounded-tv"
    knee: float = 0.005

    def kernels(self):
        """See the base class."""
        return incoming, shrink

    def numbers(self, scale):
        """See the base class; in ppm/mm."""
        return (self.knee * scale,)
