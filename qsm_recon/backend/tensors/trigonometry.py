"""Tensors for :mod:`qsm_recon.backend.trigonometry`."""

from __future__ import annotations

import torch
from torch import Tensor


def sine_cosine(x: Tensor) -> tuple[Tensor, Tensor]:
    """See the scalar."""
    return torch.sin(x), torch.cos(x)
