"""Normalised gradient field: where the edges of an image point, whatever their contrast.

    n(x) = grad I(x) / sqrt(|grad I(x)|^2 + eta^2)

Haber and Modersitzki, Intensity gradient based registration and fusion of multi-modal images, MICCAI 2006,
doi:10.1007/11866763_89.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from .gradients import spatial_gradient


def edge_level(
    gradient: torch.Tensor, weight: torch.Tensor | None = None, share: float = 1.0
) -> torch.Tensor:
    """eta = share * mean |grad I| of each channel, the mean taken with `weight`: edges well below it count
    as noise.

    gradient  (d, C, [Z,] Y, X); weight (1, [Z,] Y, X) or None
    returns   (C, [1,] 1, 1), never 0, so that flat images stay harmless
    """
    size = gradient.square().sum(dim=0).sqrt()
    axes = tuple(range(1, size.dim()))
    if weight is None:
        mean = size.mean(dim=axes, keepdim=True)
    else:
        mean = (size * weight).sum(dim=axes, keepdim=True) / weight.sum().clamp_min(1e-12)
    return (share * mean).clamp_min(1e-6)


def normalised_gradient(
    data: torch.Tensor, spacing: Sequence[float], eta: float | torch.Tensor
) -> torch.Tensor:
    """n of `data` (C, [Z,] Y, X) -> (d, C, [Z,] Y, X), each vector shorter than 1; eta in intensity per mm,
    one number or one a channel (C, [1,] 1, 1)."""
    g = spatial_gradient(data, spacing)
    return g / (g.square().sum(dim=0, keepdim=True) + eta * eta).sqrt()


def edge_tensor(n: torch.Tensor) -> torch.Tensor:
    """(d, C, ...) -> (d (d+1)/2 * C, ...): the distinct entries of n n^T, scaled so that

        <edge_tensor(a), edge_tensor(b)> = sum_c <a_c, b_c>^2

    which turns the squared inner product of NGF into an ordinary correlation (and so into one a Fourier
    transform can do for every translation at once).
    """
    d = n.shape[0]
    rows = []
    for i in range(d):
        for j in range(i, d):
            rows.append(n[i] * n[j] * (1.0 if i == j else 2.0**0.5))
    return torch.cat(rows)
