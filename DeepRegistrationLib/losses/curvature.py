"""Curvature of a displacement: 0 for every affine map, so that it neither shrinks nor turns anything back."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def curvature(field: torch.Tensor) -> torch.Tensor:
    """1/2 mean sum_k (Laplace u_k)^2 of (B, d, [Z,] Y, X) voxels; per voxel squared, the mean over voxels and pairs.

    Second differences; beyond the border the value there is held along each axis that is looked at.
    Fischer, Modersitzki: Curvature based image registration, J. Math. Imaging Vis. 18, 2003,
    doi:10.1023/A:1021897212261.
    """
    laplace = torch.zeros_like(field)
    d = field.dim() - 2
    for axis in range(2, field.dim()):
        if field.shape[axis] < 2:
            continue
        before_after = [0] * (2 * d)
        behind = 2 * (field.dim() - 1 - axis)
        before_after[behind] = before_after[behind + 1] = 1
        laplace = laplace + F.pad(field, before_after, mode="replicate").diff(n=2, dim=axis)
    return 0.5 * laplace.square().sum(dim=1).mean()
