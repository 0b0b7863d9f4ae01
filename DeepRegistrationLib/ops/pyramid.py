"""Coarser copies of an image by averaging whole blocks of voxels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F

from ..core.grid import Grid
from ..core.image import Image, ImageKind

#: values turned to float at once; bounds the extra memory while a full-resolution image is read
_CHUNK = 4_000_000


def block_factors(grid: Grid, spacing: float, least: int = 1) -> tuple[int, ...]:
    """Whole numbers of voxels (x, y[, z]) to join so that the spacing comes closest to `spacing` mm, leaving
    at least `least` voxels along every axis that has as many."""
    nearest = [max(1, math.floor(spacing / s + 0.5)) for s in grid.spacing]
    return tuple(max(1, min(f, n // max(1, least))) for f, n in zip(nearest, grid.size, strict=True))


def block_average(
    data: torch.Tensor, factors: Sequence[int], window: tuple[float, float] | None = None
) -> torch.Tensor:
    """(C, [Z,] Y, X) of any type -> float32 means over blocks of `factors` = (x, y[, z]) voxels.

    Voxels beyond the last whole block are left out, as `Grid.downsampled` does. Values are clamped to
    `window` before they are averaged, so that a bright implant does not spread into its neighbours. Works
    through slabs: the image is never copied whole to float.
    """
    d = data.dim() - 1
    kernel = tuple(min(f, n) for f, n in zip(tuple(factors)[::-1], data.shape[1:], strict=True))
    pool = F.avg_pool2d if d == 2 else F.avg_pool3d
    step, shape = kernel[0], [n // k for n, k in zip(data.shape[1:], kernel, strict=True)]
    # of all channels: a slab of several is copied by the pooling
    per_slice = max(1, data.numel() // data.shape[1]) * step
    count = max(1, _CHUNK // per_slice)
    # made first: small results between large copies would keep the room of every copy from being used again
    out = torch.empty((data.shape[0], *shape), dtype=torch.float32, device=data.device)
    for start in range(0, shape[0], count):
        slab = data[:, start * step : min(shape[0], start + count) * step].to(torch.float32)
        if window is not None:
            slab = slab.clamp(*window)
        out[:, start : start + count] = slab if max(kernel) == 1 else pool(slab[None], kernel)[0]
    return out


def pooled(image: Image, spacing: float, window: tuple[float, float] | None = None, least: int = 1) -> Image:
    """The image averaged over blocks to about `spacing` mm, as float32 intensities on the matching grid.

    Labels and masks must be given one at a time as 0/1 values: the mean is then the share of the block.
    """
    factors = block_factors(image.grid, spacing, least)
    data = block_average(image.data, factors, window)
    return Image(data, image.grid.downsampled(factors), ImageKind.INTENSITY)
