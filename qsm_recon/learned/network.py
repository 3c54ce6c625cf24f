"""The network: a small three-dimensional U-Net that corrects a closed form, as functions of its weights.

Full resolution enters and leaves as eight channels at half of it, which makes a convolution eight times as cheap and
lets it reach twice as far.  Without normalisation layers the result does not depend on what else is in a volume.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from qsm_recon.learned.inputs import CHANNELS

if TYPE_CHECKING:
    from torch import Tensor

WIDTHS = (32, 64, 96)
"""Channels at 1/2, 1/4 and 1/8 of the resolution."""
MULTIPLE = 8
"""Sizes of volumes have to be multiples of this."""
SLOPE = 0.1
"""Of the rectifiers for negative values."""
REACH = 44
"""Voxels, in each direction, that a voxel of the result depends on beyond the closed forms."""


def shapes(widths: tuple[int, int, int] = WIDTHS) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the weights.

    Parameters
    ----------
    widths
        Channels at each of the three levels.
    """
    kernels = {"enter": (widths[0], 8 * len(CHANNELS), 3), "leave": (8, widths[0], 3)}
    for level, width in enumerate(widths):
        for way in ("in", "out") if level < 2 else ("in",):
            kernels |= {f"{way}{level}.{part}": (width, width, 3) for part in ("first", "second")}
    for level in (0, 1):
        kernels[f"down{level}"] = (widths[level + 1], widths[level], 2)
        kernels[f"up{level}"] = (widths[level], widths[level + 1], 1)
    weights = {f"{name}.weight": (out, into, size, size, size) for name, (out, into, size) in kernels.items()}
    return {**weights, **{f"{name}.bias": (out,) for name, (out, _, _) in kernels.items()}}


def initial_weights(seed: int, widths: tuple[int, int, int] = WIDTHS) -> dict[str, Tensor]:
    """Random weights to start training from; the network begins as the closed form.

    Parameters
    ----------
    seed
        Of the random numbers.
    widths
        Channels at each of the three levels.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in shapes(widths).items():
        fan_in = torch.Size(shape[1:]).numel()
        small = 0.0 if name.startswith("leave") else 0.3 if "second" in name else 1.0
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
        (batch, 4, nx, ny, nz); sizes are multiples of ``MULTIPLE``.

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

    folded = _folded(channels).contiguous(memory_format=torch.channels_last_3d)
    half = block("in0", convolution("enter", folded, padding=1))
    quarter = block("in1", convolution("down0", half, stride=2))
    eighth = block("in2", convolution("down1", quarter, stride=2))
    quarter = block("out1", up("up1", eighth, quarter))
    half = block("out0", up("up0", quarter, half))
    correction = _unfolded(convolution("leave", functional.leaky_relu(half, SLOPE), padding=1))
    base, mask = channels[:, CHANNELS.index("base")], channels[:, CHANNELS.index("mask")]
    return (base + correction.to(base.dtype)) * mask


def _folded(image: Tensor) -> Tensor:
    """(b, c, 2x, 2y, 2z) to (b, 8c, x, y, z)."""
    b, c, x, y, z = image.shape
    parts = image.reshape(b, c, x // 2, 2, y // 2, 2, z // 2, 2)
    return parts.permute(0, 1, 3, 5, 7, 2, 4, 6).reshape(b, 8 * c, x // 2, y // 2, z // 2)


def _unfolded(image: Tensor) -> Tensor:
    """(b, 8, x, y, z) to (b, 2x, 2y, 2z)."""
    b, _, x, y, z = image.shape
    parts = image.reshape(b, 2, 2, 2, x, y, z)
    return parts.permute(0, 4, 1, 5, 2, 6, 3).reshape(b, 2 * x, 2 * y, 2 * z)
