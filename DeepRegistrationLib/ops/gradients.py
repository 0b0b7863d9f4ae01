"""Finite differences of sampled images."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def spatial_gradient(data: torch.Tensor, spacing: Sequence[float]) -> torch.Tensor:
    """Derivatives along the index axes, per mm.

    data     (C, [Z,] Y, X)
    spacing  mm along x, y[, z]
    returns  (d, C, [Z,] Y, X), component k = d data / d (x, y[, z])_k; central differences, one-sided at the
             border, 0 along an axis of one voxel

    The axes are those of the grid: turn with its direction matrix for derivatives along world axes. Inner
    products of two gradients taken on one grid do not need that.
    """
    d = data.dim() - 1
    return torch.stack([axis_derivative(data, data.dim() - 1 - k) / float(spacing[k]) for k in range(d)])


def axis_derivative(data: torch.Tensor, axis: int) -> torch.Tensor:
    """Derivative per voxel along one tensor axis, same shape; see `spatial_gradient` for the border."""
    n = data.shape[axis]
    if n < 2:
        return torch.zeros_like(data)
    first = data.narrow(axis, 1, 1) - data.narrow(axis, 0, 1)
    if n == 2:
        return torch.cat([first, first], dim=axis)
    inner = (data.narrow(axis, 2, n - 2) - data.narrow(axis, 0, n - 2)) / 2
    last = data.narrow(axis, n - 1, 1) - data.narrow(axis, n - 2, 1)
    return torch.cat([first, inner, last], dim=axis)
