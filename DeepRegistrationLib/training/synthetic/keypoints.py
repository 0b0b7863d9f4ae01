"""Matching points: voxels of the fixed image, mostly on surfaces, and where the truth takes them."""

from __future__ import annotations

import torch

from .draws import Draws

_OFFERED = 24


def keypoints(
    draws: Draws, tissues: torch.Tensor, displacement: torch.Tensor, region: torch.Tensor, count: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """(count, d) index coordinates x, y[, z] in the fixed and in the moving image.

    tissues       ([Z,] Y, X) of the fixed image: points where a neighbour is of another kind come first, then points
                  of any kind but 0, then any
    displacement  (d, [Z,] Y, X) voxels;  region  ([Z,] Y, X), points lie where it is over 0.5
    """
    d = tissues.dim()
    size = torch.tensor(tissues.shape)
    offered = (torch.rand(_OFFERED * count, d, generator=draws.generator) * size).long().to(tissues.device)
    here = tuple(offered.T)
    kind = tissues[here]
    edge = torch.zeros_like(kind, dtype=torch.bool)
    for axis in range(d):
        beside = list(here)
        beside[axis] = (offered[:, axis] + 1).clamp(max=tissues.shape[axis] - 1)
        edge |= tissues[tuple(beside)] != kind
    rank = 4 * (region[here] > 0.5).int() + 2 * edge.int() + (kind != 0).int()
    best = torch.argsort(rank, descending=True, stable=True)[:count]
    chosen = offered[best]
    fixed = chosen.flip(1).to(torch.float32)
    return fixed, fixed + displacement[(slice(None), *chosen.T)].T
