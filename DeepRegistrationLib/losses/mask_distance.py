"""How far the masks of two scans differ."""

from __future__ import annotations

import torch


def mask_distance(fixed: torch.Tensor, moved: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """1/2 sum_x w sum_s (b_F - b_M)^2 / sum_x w: half the mean squared difference of masks.

    fixed, moved  (B, S, [Z,] Y, X) 0..1;  weight  (B, 1, [Z,] Y, X) or None for 1 everywhere
    Hering et al.: Enhancing label-driven deep deformable image registration with local distance metrics, BVM 2019,
    doi:10.1007/978-3-658-25326-4_69.
    """
    apart = (fixed - moved).square().sum(dim=1, keepdim=True)
    if weight is None:
        return 0.5 * apart.mean()
    return 0.5 * (weight * apart).sum() / weight.sum().clamp_min(1e-6)
