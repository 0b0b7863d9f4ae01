"""Interpolation of a sampled tensor at index coordinates: the only place that calls `grid_sample`.

    out[c, p] = sum_k w_k(p) data[c, k]      inside the grid (up to half a voxel outside the outer centres,
                                             where the edge voxel is held), `outside` elsewhere

This is ITK's rule (`IsInsideBuffer` with linear or nearest neighbour interpolation), so that results agree
with `SimpleITK.Resample` voxel by voxel.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from .device import has_doubles
from .grid import ALIGN_CORNERS, Grid, apply_matrix_torch

#: points handled at once where memory is to stay small; their coordinates fit a processor's cache
BLOCK = 1 << 18

_WORTH_SHARING = 4096


def precise(device: torch.device) -> torch.dtype:
    """The type for coordinates: float64, but float32 on Apple's mps, which has no other."""
    return torch.float64 if has_doubles(device) else torch.float32


def crossings(positions: Sequence[torch.Tensor]) -> torch.Tensor:
    """The points of a lattice from its positions along each axis, ([z,] y, x) -> ([Z,] Y, X, d) with components
    x, y[, z]."""
    return torch.stack(torch.meshgrid(*positions, indexing="ij")[::-1], dim=-1)


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
    where = index.reshape(-1, d)
    values = _nearest(data, where) if nearest else _linear(data, where)
    if outside is not None:
        filler = torch.as_tensor(outside, dtype=values.dtype, device=values.device)
        values = torch.where(_inside(data, where), values, filler)
    return values.reshape(data.shape[:1] + index.shape[:-1])


def sample_batch(data: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """As `sample_index` for B of each, linear, the edge value held outside; float32 from half precision.

    data (B, C, [Z,] Y, X) at index (B, ..., d) -> (B, C, ...); differentiable in both.
    """
    d = index.shape[-1]
    if data.dim() != d + 2 or len(data) != len(index):
        raise ValueError(f"data of shape {tuple(data.shape)} does not fit coordinates of {tuple(index.shape)}")
    # in half precision a coordinate would be off by a good part of a voxel
    kind = torch.promote_types(data.dtype, torch.float32)
    index = index.to(torch.promote_types(index.dtype, torch.float32))
    size = torch.tensor(data.shape[:1:-1], device=index.device, dtype=index.dtype)
    normalised = torch.addcmul(1 / size - 1, index, 2 / size).to(kind)
    values = F.grid_sample(
        data.to(kind),
        normalised.reshape(len(data), *(1,) * (d - 1), -1, d),
        mode="bilinear",
        padding_mode="border",
        align_corners=ALIGN_CORNERS,
    )
    return values.reshape(*data.shape[:2], *index.shape[1:-1])


def sample_displaced(data: torch.Tensor, displacement: torch.Tensor, grid: Grid) -> torch.Tensor:
    """data(x + u(x)) at the voxel centres x of `grid`, the edge value held outside; linear.

    data          (C, [Z,] Y, X) on `grid`
    displacement  (d, [Z,] Y, X) mm along world axes on `grid`
    Differentiable in both; without gradients it works piece by piece, with little memory.
    """
    def piece(part: slice, block: Grid) -> torch.Tensor:
        u = torch.movedim(displacement[:, part], 0, -1)
        points = block.index_points(u.device, u.dtype)
        points[..., -1] += part.start
        return sample_index(data, points + apply_matrix_torch(grid.mm_to_voxels, u), outside=None)

    if torch.is_grad_enabled() and (data.requires_grad or displacement.requires_grad):
        return piece(slice(0, grid.size[-1]), grid)
    out = torch.empty((data.shape[0], *grid.shape), dtype=data.dtype, device=data.device)
    for part, block in grid.blocks(BLOCK):
        out[:, part] = piece(part, block)
    return out


def _inside(data: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    """(N,) True up to half a voxel beyond the outer voxel centres."""
    inside = torch.ones(where.shape[0], dtype=torch.bool, device=where.device)
    for axis, coordinate in enumerate(where.unbind(-1)):
        inside &= (coordinate >= -0.5) & (coordinate < data.shape[-1 - axis] - 0.5)
    return inside


def _linear(data: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    d = where.shape[-1]
    size = torch.tensor(data.shape[:0:-1], device=where.device, dtype=where.dtype)
    normalised = torch.addcmul(1 / size - 1, where, 2 / size).to(data.dtype)
    # on the CPU grid_sample shares work between threads only along the batch axis
    batch = _batch(data, len(where))
    short = -len(where) % batch
    if short:
        normalised = F.pad(normalised, (0, 0, 0, short))
    values = F.grid_sample(
        data.expand(batch, *data.shape),
        normalised.reshape((batch,) + (1,) * (d - 1) + (-1, d)),
        mode="bilinear",
        padding_mode="border",
        align_corners=ALIGN_CORNERS,
    )
    values = values.reshape(batch, data.shape[0], -1).transpose(0, 1).reshape(data.shape[0], -1)
    return values[:, : len(where)]


def _batch(data: torch.Tensor, points: int) -> int:
    """Into how many equal parts the points are cut; one where each part would make a gradient of data."""
    needs_gradient = data.requires_grad and torch.is_grad_enabled()
    if data.device.type != "cpu" or points < _WORTH_SHARING or needs_gradient:
        return 1
    return torch.get_num_threads()


def _nearest(data: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    # floor(i + 0.5) rounds halves up, as ITK does; torch.round would go to even
    flat = torch.zeros(where.shape[0], dtype=torch.long, device=where.device)
    stride = 1
    for axis, coordinate in enumerate(where.unbind(-1)):
        n = data.shape[-1 - axis]
        flat += torch.floor(coordinate + 0.5).clamp(0, n - 1).long() * stride
        stride *= n
    return data.reshape(data.shape[0], -1)[:, flat]
