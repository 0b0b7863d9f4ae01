"""Cost of every displacement in a search window, at every cell of a coarse grid."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F


def displacement_window(half_width: int, d: int, device: torch.device | str = "cpu") -> torch.Tensor:
    """(K, d) whole-cell displacements of the window, K = (2 half_width + 1)^d, components x, y[, z]."""
    axis = torch.arange(-half_width, half_width + 1, device=device, dtype=torch.float32)
    return torch.stack(torch.meshgrid(*[axis] * d, indexing="ij")[::-1], dim=-1).reshape(-1, d)


def cost_volume(
    fixed: torch.Tensor,
    moving: torch.Tensor,
    half_width: int,
    moving_valid: torch.Tensor | None = None,
    smoothing: int = 2,
) -> torch.Tensor:
    """C[k, x] = sum_c (fixed_c(x) - moving_c(x + delta_k))^2, averaged `smoothing` times over 3^d cells.

    fixed, moving  (C, [Z,] Y, X) features
    moving_valid   ([Z,] Y, X) in 0..1; a displacement that leads to unknown ground costs what is typical at that
                   cell (the mean over the known ones), so that leaving the field of view is neither free nor barred
    returns        (K, [Z,] Y, X) float32 in the order of `displacement_window`
    """
    d = fixed.dim() - 1
    shape = fixed.shape[1:]
    width = 2 * half_width + 1
    pad = (half_width,) * (2 * d)
    wide = (
        F.pad(moving[None], pad, mode="replicate")[0]
        if d == 3
        else F.pad(moving[None], pad, mode="replicate")[0]
    )
    valid = torch.ones(shape, device=fixed.device) if moving_valid is None else moving_valid
    known = F.pad(valid.to(torch.float32), pad)
    cost = torch.empty((width**d, *shape), dtype=torch.float32, device=fixed.device)
    seen = torch.empty((width**d, *shape), dtype=torch.float32, device=fixed.device)
    for k, start in enumerate(_starts(width, d)):
        window, mask = wide, known
        for axis in range(d):
            window = window.narrow(axis + 1, start[axis], shape[axis])
            mask = mask.narrow(axis, start[axis], shape[axis])
        torch.sum((fixed - window).square_(), dim=0, out=cost[k])
        seen[k] = mask
    typical = (cost * seen).sum(dim=0, keepdim=True) / seen.sum(dim=0, keepdim=True).clamp(min=1e-3)
    cost.mul_(seen).add_((1 - seen) * typical)
    del seen
    for _ in range(smoothing):
        cost = box_mean(cost)
    return cost


def box_mean(values: torch.Tensor) -> torch.Tensor:
    """Mean over the 3^d neighbourhood, (K, [Z,] Y, X); only neighbours inside the grid count.

    An axis of fewer than three cells is left as it is.
    """
    width = [3 if n >= 3 else 1 for n in values.shape[1:]]
    pool = F.avg_pool3d if values.dim() == 4 else F.avg_pool2d
    margin = [w // 2 for w in width]
    return pool(values[None], width, stride=1, padding=margin, count_include_pad=False)[0]


def _starts(width: int, d: int) -> list[tuple[int, ...]]:
    return list(itertools.product(range(width), repeat=d))
