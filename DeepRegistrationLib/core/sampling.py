"""Interpolation of a sampled tensor at index coordinates: the only place that calls `grid_sample`.

    out[c, p] = sum_k w_k(p) data[c, k]      inside the grid (up to half a voxel outside the outer centres,
                                             where the edge voxel is held), `outside` elsewhere

This is ITK's rule (`IsInsideBuffer` with linear or nearest neighbour interpolation), so that results agree
with `SimpleITK.Resample` voxel by voxel.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from .grid import ALIGN_CORNERS


def sample_index(
    data: torch.Tensor,
    index: torch.Tensor,
    *,
    nearest: bool = False,
    outside: float | None = 0.0,
) -> torch.Tensor:
    """Values of `data` (C, [Z,] Y, X) at `index` (..., d) with components x, y[, z] -> (C, ...).

    outside  value given to points outside the grid; None holds the edge value there.
    Differentiable in data and, for linear interpolation, in index.
    """
    d = index.shape[-1]
    if data.dim() != d + 1:
        raise ValueError(f"data of shape {tuple(data.shape)} does not fit {d}-D coordinates")
    size = torch.tensor(data.shape[:0:-1], device=index.device, dtype=index.dtype)
    where = index.reshape(-1, d)
    if nearest:
        values = _gather_nearest(data, where)
    else:
        normalised = ((2 * where + 1) / size - 1).to(data.dtype)
        flat = normalised.reshape((1,) * d + (-1, d))
        values = F.grid_sample(
            data[None], flat, mode="bilinear", padding_mode="border", align_corners=ALIGN_CORNERS
        )[0].reshape(data.shape[0], -1)
    if outside is not None:
        inside = ((where >= -0.5) & (where < size - 0.5)).all(dim=-1)
        values = torch.where(inside, values, torch.as_tensor(outside, dtype=values.dtype, device=values.device))
    return values.reshape(data.shape[:1] + index.shape[:-1])


def _gather_nearest(data: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    # floor(i + 0.5) rounds halves up, as ITK does; torch.round would go to even
    rounded = torch.floor(where + 0.5).long()
    flat = torch.zeros(where.shape[0], dtype=torch.long, device=where.device)
    stride = 1
    for axis in range(where.shape[-1]):
        n = data.shape[-1 - axis]
        flat += rounded[:, axis].clamp(0, n - 1) * stride
        stride *= n
    return data.reshape(data.shape[0], -1)[:, flat]
