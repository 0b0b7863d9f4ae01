"""Divergence and curl of sampled vector fields, and the gradient and curl that are their adjoints.

    3-D:  div u = d_x u_x + d_y u_y + d_z u_z,     curl u = (d_y u_z - d_z u_y, d_z u_x - d_x u_z, d_x u_y - d_y u_x)
    2-D:  curl u = d_x u_y - d_y u_x (one number),  curl g = (d_y g, -d_x g) of such a number

so that  Laplacian u = grad(div u) - curl(curl u)  for both.

Components and derivatives are along the index axes of the grid, per mm: `along_axes` turns a field given along world
axes. The divergence is the same in both; a curl turns like a vector, and changes its sign where the axes are
left-handed.

Derivatives are central differences. boundary `free` takes one-sided ones at the outer voxels, for looking at a field.
boundary `fixed` takes everything outside for 0: then, for inner products over all voxels, exactly

    <grad f, u> = -<f, div u>     and     <curl g, u> = <g, curl u>
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ..core.grid import Grid
from .gradients import axis_derivative
from .poisson import FIXED, FREE


def divergence(field: torch.Tensor, spacing: Sequence[float], boundary: str = FREE) -> torch.Tensor:
    """div of `field` (d, [Z,] Y, X) -> (1, [Z,] Y, X); `spacing` mm along x, y[, z]."""
    total = _derivative(field[:1], 0, spacing, boundary)
    for k in range(1, field.shape[0]):
        total = total + _derivative(field[k : k + 1], k, spacing, boundary)
    return total


def gradient(values: torch.Tensor, spacing: Sequence[float], boundary: str = FREE) -> torch.Tensor:
    """grad of `values` (1, [Z,] Y, X) -> (d, [Z,] Y, X), per mm."""
    return torch.cat([_derivative(values, k, spacing, boundary) for k in range(values.dim() - 1)])


def curl(field: torch.Tensor, spacing: Sequence[float], boundary: str = FREE) -> torch.Tensor:
    """3-D: (3, Z, Y, X) -> the same; 2-D: (2, Y, X) -> (1, Y, X) and (1, Y, X) -> (2, Y, X)."""

    def d(axis: int, component: int) -> torch.Tensor:
        return _derivative(field[component : component + 1], axis, spacing, boundary)

    if field.dim() == 3:
        if field.shape[0] == 1:
            return torch.cat([d(1, 0), -d(0, 0)])
        return d(0, 1) - d(1, 0)
    return torch.cat([d(1, 2) - d(2, 1), d(2, 0) - d(0, 2), d(0, 1) - d(1, 0)])


def along_axes(field: torch.Tensor, grid: Grid) -> torch.Tensor:
    """Components along world axes -> along the index axes of `grid`; (d, [Z,] Y, X), lengths are kept."""
    return _turned(field, np.asarray(grid.direction).T)


def along_world(field: torch.Tensor, grid: Grid) -> torch.Tensor:
    """Components along the index axes of `grid` -> along world axes."""
    return _turned(field, np.asarray(grid.direction))


def _turned(field: torch.Tensor, matrix: np.ndarray) -> torch.Tensor:
    if np.array_equal(matrix, np.eye(len(matrix))):
        return field
    m = torch.as_tensor(matrix, dtype=field.dtype, device=field.device)
    return torch.einsum("ij,j...->i...", m, field)


def _derivative(values: torch.Tensor, k: int, spacing: Sequence[float], boundary: str) -> torch.Tensor:
    """d values / d (x, y[, z])_k per mm."""
    axis = values.dim() - 1 - k
    if boundary == FREE:
        return axis_derivative(values, axis) / float(spacing[k])
    if boundary != FIXED:
        raise ValueError(f"boundary={boundary!r} is neither {FIXED!r} nor {FREE!r}")
    n = values.shape[axis]
    zero = torch.zeros_like(values.narrow(axis, 0, 1))
    wide = torch.cat([zero, values, zero], dim=axis)
    return (wide.narrow(axis, 2, n) - wide.narrow(axis, 0, n)) / (2 * float(spacing[k]))
