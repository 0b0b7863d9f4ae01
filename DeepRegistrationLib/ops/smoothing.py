"""Gaussian smoothing by separable convolution."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from ..core.progress import Tick, no_tick


def gaussian_kernel(
    sigma: float, dtype: torch.dtype = torch.float32, device: str | torch.device = "cpu"
) -> torch.Tensor:
    """Weights exp(-i^2 / (2 sigma^2)) for |i| <= ceil(3 sigma), sum 1; sigma in voxels; [1] where sigma is
    0."""
    radius = math.ceil(3 * sigma)
    if radius == 0:
        return torch.ones(1, dtype=dtype, device=device)
    i = torch.arange(-radius, radius + 1, dtype=dtype, device=device)
    weights = torch.exp(-0.5 * (i / sigma) ** 2)
    return weights / weights.sum()


def gaussian_smooth(data: torch.Tensor, sigma: float | Sequence[float], tick: Tick = no_tick) -> torch.Tensor:
    """(C, [Z,] Y, X) convolved with a Gaussian of `sigma` = one or (x, y[, z]) voxels; the edge value is
    held outside.

    Differentiable; constants are kept. `tick` is called before every axis.
    """
    d = data.dim() - 1
    sigmas = (float(sigma),) * d if isinstance(sigma, (int, float)) else tuple(float(s) for s in sigma)
    for axis, s in enumerate(sigmas):
        tick()
        k = data.dim() - 1 - axis
        weights = gaussian_kernel(s, torch.float64).tolist()
        if len(weights) > 1 and data.shape[k] > 1:
            data = _convolve(data, weights, k)
    return data


def _convolve(data: torch.Tensor, weights: Sequence[float], axis: int) -> torch.Tensor:
    """A sum of shifted copies: ten times faster than torch's convolution along one axis."""
    radius, n = len(weights) // 2, data.shape[axis]
    repeats = [radius if a == axis else 1 for a in range(data.dim())]
    first, last = data.narrow(axis, 0, 1), data.narrow(axis, n - 1, 1)
    wide = torch.cat([first.repeat(repeats), data, last.repeat(repeats)], dim=axis)
    total = wide.narrow(axis, radius, n) * weights[radius]
    for i in range(1, radius + 1):
        total.add_(wide.narrow(axis, radius - i, n), alpha=weights[radius - i])
        total.add_(wide.narrow(axis, radius + i, n), alpha=weights[radius + i])
    return total
