"""Gaussian smoothing by separable convolution."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F


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


def gaussian_smooth(data: torch.Tensor, sigma: float | Sequence[float]) -> torch.Tensor:
    """(C, [Z,] Y, X) convolved with a Gaussian of `sigma` = one or (x, y[, z]) voxels; the edge value is
    held outside.

    Differentiable; constants are kept.
    """
    d = data.dim() - 1
    sigmas = (float(sigma),) * d if isinstance(sigma, (int, float)) else tuple(float(s) for s in sigma)
    for axis, s in enumerate(sigmas):
        kernel = gaussian_kernel(s, data.dtype, data.device)
        if kernel.numel() > 1:
            data = _convolve(data, kernel, data.dim() - 1 - axis)
    return data


def _convolve(data: torch.Tensor, kernel: torch.Tensor, axis: int) -> torch.Tensor:
    radius = kernel.numel() // 2
    last = data.movedim(axis, -1)
    lines = last.reshape(-1, 1, last.shape[-1])
    out = F.conv1d(F.pad(lines, (radius, radius), mode="replicate"), kernel.view(1, 1, -1))
    return out.reshape(last.shape).movedim(-1, axis)
