"""Steps of gradient descent on the weights, of one size in every direction of a layer.

The taps of a convolution see nearly the same, so that their common direction would otherwise be all of a step, and too
much of it (Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

MOMENTUM = 0.9
LAST_LAYER, BIASES = 0.2, 0.1
"""Sizes of the steps of the last layer, which begins as zero, and of the biases, over that of all others."""
SMALLEST = 1e-4
"""Least squared singular value of a step, over the largest, before all are made one."""


def zero_momenta(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What :func:`descend` keeps from step to step, before the first."""
    import torch

    return {name: torch.zeros_like(value) for name, value in weights.items()}


def descend(weights: Mapping[str, Tensor], momenta: Mapping[str, Tensor], rate: float) -> None:
    """Change weights by their gradients, which are forgotten then.

    Parameters
    ----------
    weights
        By name, with gradients; changed in place.
    momenta
        Mean of the gradients so far; changed in place.
    rate
        Size of the step: each singular value of a layer's change.
    """
    import torch

    with torch.no_grad():
        for name, weight in weights.items():
            gradient = weight.grad
            if gradient is None:
                continue
            momentum = momenta[name].mul_(MOMENTUM).add_(gradient)
            factor = BIASES if weight.ndim == 1 else LAST_LAYER if name.startswith("leave") else 1.0
            weight.sub_(rate * factor * levelled(gradient + MOMENTUM * momentum))
            weight.grad = None


def levelled(step: Tensor) -> Tensor:
    """A step of a layer whose singular values are all made one, as a matrix from inputs to outputs.

    Parameters
    ----------
    step
        (outputs, ...) of a layer's weights, or (outputs,) of its biases, which become a unit vector.
    """
    import torch

    matrix = step.reshape(len(step), -1) if step.ndim > 1 else step[None]
    matrix = matrix.to(torch.float64)
    squares, vectors = torch.linalg.eigh(matrix @ matrix.T)
    squares = squares.clamp(min=SMALLEST * float(squares[-1]) + 1e-300)
    return (vectors * squares.rsqrt() @ vectors.T @ matrix).to(step.dtype).reshape(step.shape)
