"""How rough a displacement or velocity is."""

from __future__ import annotations

import torch


def diffusion(field: torch.Tensor) -> torch.Tensor:
    """mean |grad u|^2 of (B, d, [Z,] Y, X) voxels, by differences of neighbours; dimensionless.

    The mean over voxels and pairs of the sum over components and axes.
    """
    total = field.new_zeros(())
    for axis in range(2, field.dim()):
        if field.shape[axis] > 1:
            total = total + field.diff(dim=axis).square().mean() * field.shape[1]
    return total
