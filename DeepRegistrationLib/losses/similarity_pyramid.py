"""Local correlation of two scans at several resolutions at once.

    S(F, M) = sum_i w_i (1 - LNCC_i(F_i, M_i)) / sum_i w_i,     w_i = 2^-(i-1),  i = 1 ... levels

F_1 is the scan itself, each next one its mean over blocks of 2^d voxels; windows shrink with the scans, from
2 levels + 1 voxels to 3. Mok, Chung, 2021, doi:10.1007/978-3-030-71827-5_7.

Differs from the paper: the weights sum to one, so that smoothness weighs the same at every stage; correlation is
squared, so that it does not matter which of two tissues is brighter.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from .lncc import local_correlation


def similarity_pyramid(
    fixed: torch.Tensor, moved: torch.Tensor, levels: int, weight: torch.Tensor | None = None
) -> torch.Tensor:
    """S of (B, 1, [Z,] Y, X) scans, 0..1, differentiable in `moved`; weight (B, 1, [Z,] Y, X) of each voxel."""
    pool = F.avg_pool2d if fixed.dim() == 4 else F.avg_pool3d
    total, shares = fixed.new_zeros(()), 0.0
    for i in range(levels):
        if i > 0:
            fixed, moved = pool(fixed, 2), pool(moved, 2)
            weight = None if weight is None else pool(weight, 2)
        share = 0.5**i
        likeness = local_correlation(fixed[:, 0], moved[:, 0], radius=levels - i)
        if weight is None:
            mean = likeness.mean()
        else:
            mean = (likeness * weight[:, 0]).sum() / weight.sum().clamp_min(1e-8)
        total, shares = total + share * (1 - mean), shares + share
    return total / shares
