"""The network: a small three-dimensional U-Net that corrects a map, as functions of its weights.

Without normalisation layers the result does not depend on what else is in a volume.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from qsm_recon.learned.inputs import CHANNELS

if TYPE_CHECKING:
    from torch import Tensor

WIDTHS = (16, 32, 64, 64)
"""Channels at the full resolution, 1/2, 1/4 and 1/8 of it."""
MULTIPLE = 8
"""Sizes of volumes have to be multiples of this."""
SLOPE = 0.1
"""Of the rectifiers for negative values."""
KNEE = 4.0
"""Unit of the inputs beyond which they are compressed: a calcification has a hundred times the values of tissue."""
REACH = 52
"""Voxels, in each direction, that a voxel of the result depends on beyond what its inputs did."""


def shapes(widths: tuple[int, ...] = WIDTHS) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the weights.

    Parameters
    ----------
    widths
        Channels at each level, four of them.
    """
    kernels = {"enter": (widths[0], len(CHANNELS), 3), "leave": (1, widths[0], 3)}
    for level, width in enumerate(widths):
        # At full resolution, where convolutions cost most, there is no block on the way in.
        for way in ("in",) if level == len(widths) - 1 else ("in", "out") if level else ("out",):
            kernels |= {f"{way}{level}.{part}": (width, width, 3) for part in ("first", "second")}
        if level:
            kernels[f"down{level}"] = (width, widths[level - 1], 2)
            kernels[f"up{level}"] = (widths[level - 1], width, 1)
    weights = {f"{name}.weight": (out, into, size, size, size) for name, (out, into, size) in kernels.items()}
    return {**weights, **{f"{name}.bias": (out,) for name, (out, _, _) in kernels.items()}}


def initial_weights(seed: int, widths: tuple[int, ...] = WIDTHS) -> dict[str, Tensor]:
    """Random weights to start training from; the network begins as the map that it corrects.

    Parameters
    ----------
    seed
        Of the random numbers.
    widths
        Channels at each level, four of them.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in shapes(widths).items():
        fan_in = torch.Size(shape[1:]).numel()
        small = 0.0 if name.startswith("leave") or "second" in name else 1.0
        spread = small * (2 / fan_in) ** 0.5 if name.endswith("weight") else 0.0
        weights[name] = spread * torch.randn(shape, generator=generator)
    return weights


def correct(weights: Mapping[str, Tensor], channels: Tensor) -> Tensor:
    """Susceptibility, in the unit of the channels.

    Parameters
    ----------
    weights
        See :func:`shapes`.
    channels
        (batch, 5, nx, ny, nz); sizes are multiples of ``MULTIPLE``.

    Returns
    -------
    Tensor
        (batch, nx, ny, nz): the base of the channels and the network's correction, zero outside the mask.
    """
    import torch
    from torch.nn import functional

    def convolution(name: str, image: Tensor, **options: int) -> Tensor:
        return functional.conv3d(image, weights[f"{name}.weight"], weights[f"{name}.bias"], **options)

    def block(name: str, image: Tensor) -> Tensor:
        inner = convolution(f"{name}.first", functional.leaky_relu(image, SLOPE), padding=1)
        return image + convolution(f"{name}.second", functional.leaky_relu(inner, SLOPE), padding=1)

    def up(name: str, image: Tensor, beside: Tensor) -> Tensor:
        return beside + functional.interpolate(convolution(name, image), scale_factor=2, mode="nearest")

    image = torch.asinh(channels / KNEE) * KNEE
    image = convolution("enter", image.contiguous(memory_format=torch.channels_last_3d), padding=1)
    deepest = sum(name.startswith("down") and name.endswith("weight") for name in weights)
    beside = [image]
    for level in range(1, deepest + 1):
        beside.append(block(f"in{level}", convolution(f"down{level}", beside[-1], stride=2)))
    image = beside.pop()
    for level in range(deepest, 0, -1):
        image = block(f"out{level - 1}", up(f"up{level}", image, beside.pop()))
    correction = convolution("leave", functional.leaky_relu(image, SLOPE), padding=1)[:, 0]
    base, mask = channels[:, CHANNELS.index("base")], channels[:, CHANNELS.index("mask")]
    return (base + slope(base) * correction.to(base.dtype)) * mask


def slope(values: Tensor) -> Tensor:
    """How much smaller a step is after the compression of the inputs, at some values: one where they are small."""
    return (1 + (values / KNEE) ** 2) ** 0.5
