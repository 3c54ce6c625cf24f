"""The network on a whole volume."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from qsm_recon.learned.device import Arithmetic
from qsm_recon.learned.network import MULTIPLE, correct

if TYPE_CHECKING:
    from torch import Tensor


def predict(weights: Mapping[str, Tensor], channels: NDArray[np.float32], how: Arithmetic) -> NDArray[np.float32]:
    """Susceptibility of a whole volume, in the unit of its channels.

    Parameters
    ----------
    weights
        See :func:`qsm_recon.learned.network.shapes`.
    channels
        (5, nx, ny, nz), see :mod:`qsm_recon.learned.inputs`.
    how
        Where and how to compute.

    Returns
    -------
    ndarray
        (nx, ny, nz), zero outside the mask.
    """
    import torch

    nx, ny, nz = channels.shape[1:]
    with torch.no_grad(), how.autocast():
        placed = {name: how.place(weight) for name, weight in weights.items()}
        found = correct(placed, how.place(padded(channels)))
    return found[0, :nx, :ny, :nz].float().cpu().numpy()


def padded(channels: NDArray[np.float32]) -> Tensor:
    """Channels (1, 5, ...) with zeros after each axis up to sizes that the network takes."""
    import torch

    lacking = [(0, -n % MULTIPLE) for n in channels.shape[1:]]
    return torch.from_numpy(np.pad(channels, [(0, 0), *lacking])[None])
