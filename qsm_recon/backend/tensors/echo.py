"""Tensors for :mod:`qsm_recon.backend.kernels.echo`; voxels run along the first axis, echoes along the last."""

from __future__ import annotations

import torch
from numpy.typing import NDArray
from torch import Tensor

from qsm_recon.backend.kernels.echo import LARGEST_DECAY, SMALL


def echo_misfit(
    predicted: Tensor,
    signal: Tensor,
    inside: Tensor,
    measured: Tensor,
    reach: float,
    times: NDArray,
    scales: NDArray,
    first: int,
    nz: int,
    full: bool,
    initial: bool,
    accepted: Tensor,
    trial: Tensor,
    squared_weight: Tensor,
    out: Tensor,
) -> float:
    """See the kernel."""
    last = first + predicted.shape[0]
    here = inside[first:last, :, :nz] != 0
    t, s = (torch.as_tensor(values, dtype=torch.float64, device=predicted.device) for values in (times, scales))
    echoes = signal[first:last, :, :nz][here].to(torch.complex128)
    if initial:
        m0, decay = _initial(echoes, t)
    else:
        m0, decay = (accepted[q, first:last, :, :nz][here].double() for q in (0, 1))
    field = predicted[..., :nz][here].double()
    centre = measured[first:last, :, :nz][here].double()
    beyond = field - torch.minimum(torch.maximum(field, centre - reach), centre + reach)
    field = field - beyond
    model = m0[:, None] * torch.exp(-decay[:, None] * t) if full else echoes.abs()
    turned = echoes * torch.exp(-1j * s * field[:, None])
    phase = torch.atan2((model * turned.imag).sum(dim=1), (model * turned.real).sum(dim=1))
    turned = turned * torch.exp(-1j * phase)[:, None]  # the signal turned by the model's phase
    along, across = turned.real, turned.imag
    if full:
        m0, decay = _improved(along, t, m0, decay)
        model = m0[:, None] * torch.exp(-decay[:, None] * t)
    misfit = 0.5 * ((model - along) ** 2 + across**2).sum(dim=1)
    gp, gf = -(model * across).sum(dim=1), -(s * model * across).sum(dim=1)
    power = model * model
    hpp, hpf, hff = power.sum(dim=1), (s * power).sum(dim=1), (s * s * power).sum(dim=1)
    for q, values in enumerate((m0, decay, phase)):
        trial[q, first:last, :, :nz][here] = values.to(trial.dtype)
    coupling = hpf / (hpp + SMALL)
    curvature, slope = (hff - coupling * hpf).clamp(min=0.0), gf - coupling * gp
    squared_weight[first:last, :, :nz][here] = curvature.to(squared_weight.dtype)
    valid = out[..., :nz]
    valid.zero_()
    valid[here] = (slope + curvature * beyond).to(out.dtype)
    return (misfit + (slope + 0.5 * curvature * beyond) * beyond).sum().item()


def _improved(along: Tensor, times: Tensor, m0: Tensor, decay: Tensor) -> tuple[Tensor, Tensor]:
    """m0 and R2* after one Gauss-Newton step, or as they were where that does not lower the misfit."""
    shape = torch.exp(-decay[:, None] * times)
    model = m0[:, None] * shape
    residual = model - along
    before = (residual * residual).sum(dim=1)
    g0, g1 = (shape * residual).sum(dim=1), -(times * model * residual).sum(dim=1)
    h00, h11 = (shape * shape).sum(dim=1), (times * times * model * model).sum(dim=1)
    h01 = -(times * model * shape).sum(dim=1)
    determinant = h00 * h11 - h01 * h01
    regular = determinant > 1e-9 * h00 * h11
    new_m0 = torch.where(regular, (m0 - (h11 * g0 - h01 * g1) / determinant).clamp(min=0.0), m0)
    new_decay = torch.where(regular, (decay - (h00 * g1 - h01 * g0) / determinant).clamp(0.0, LARGEST_DECAY), decay)
    better = ((new_m0[:, None] * torch.exp(-new_decay[:, None] * times) - along) ** 2).sum(dim=1) < before
    return torch.where(better, new_m0, m0), torch.where(better, new_decay, decay)


def _initial(echoes: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
    """m0 and R2* by a log-linear fit weighted with the squared magnitude."""
    size = echoes.abs()
    w = size * size
    logarithm = torch.log(torch.where(size > 0, size, torch.ones_like(size)))
    weight, first, second = w.sum(dim=1), (w * times).sum(dim=1), (w * times * times).sum(dim=1)
    log_sum, cross = (w * logarithm).sum(dim=1), (w * times * logarithm).sum(dim=1)
    spread = weight * second - first * first
    slope = ((first * log_sum - weight * cross) / spread).clamp(0.0, LARGEST_DECAY)
    decay = torch.where(spread > 1e-9 * weight * second, slope, torch.zeros_like(slope))
    level = torch.exp((log_sum + decay * first) / weight)
    return torch.where(weight > 0, level, torch.zeros_like(level)), decay
