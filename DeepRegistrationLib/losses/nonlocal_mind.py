"""Dissimilarity of MIND features at keypoints, under one displacement each or under a distribution of displacements.

    nonlocal = mean_(k, c) (F_c(x_k) - sum_delta P_k(delta) M_c(x_k + delta))^2
    warping  = mean_(k, c) (F_c(x_k) - M_c(x_k + u_k))^2

The gradient of the first one knows the whole range of displacements, that of the second one what lies next to
x_k + u_k. Heinrich, Hansen: VoxelMorph++, WBIR 2022, doi:10.1007/978-3-031-11203-4_10.
"""

from __future__ import annotations

import torch

from ..core.sampling import sample_batch


def nonlocal_mind(
    fixed: torch.Tensor, moving: torch.Tensor, points: torch.Tensor, heat: torch.Tensor, lattice: torch.Tensor
) -> torch.Tensor:
    """Scalar; differentiable in `heat`.

    fixed, moving  (B, C, [Z,] Y, X) features
    points         (B, K, d) index coordinates x, y[, z] on their grid
    heat           P (B, K, D), 1 in sum over D
    lattice        (D, d) displacements, cells of their grid
    """
    there = sample_batch(moving, points[:, :, None] + lattice)
    warped = torch.einsum("bkq,bckq->bck", heat, there)
    return (sample_batch(fixed, points) - warped).square().mean()


def warped_mind(
    fixed: torch.Tensor, moving: torch.Tensor, points: torch.Tensor, displacement: torch.Tensor
) -> torch.Tensor:
    """Scalar; differentiable in `displacement` (B, K, d), cells of the features' grid."""
    return (sample_batch(fixed, points) - sample_batch(moving, points + displacement)).square().mean()
