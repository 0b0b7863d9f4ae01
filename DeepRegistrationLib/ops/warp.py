"""Warping of batches as networks need it: displacements in voxels along the index axes of the images' own grid.

    warp(data, u)(x) = data(x + u(x))           compose(u, v)(x) = v(x) + u(x + v(x)),  the map x + v first
"""

from __future__ import annotations

import torch

from ..core.sampling import crossings, sample_batch


def index_grid(shape: torch.Size | tuple[int, ...], like: torch.Tensor) -> torch.Tensor:
    """Index coordinates of the voxels of a grid of `shape` ([Z,] Y, X) -> ([Z,] Y, X, d), components x, y[, z]."""
    return crossings([torch.arange(n, device=like.device, dtype=torch.float32) for n in shape])


def warp(data: torch.Tensor, displacement: torch.Tensor) -> torch.Tensor:
    """data (B, C, [Z,] Y, X), displacement (B, d, [Z,] Y, X) voxels x, y[, z]; linear, the edge value held outside.

    The displacement's grid may be any shape over the same indices (a cut-out from the first voxel on).
    """
    points = index_grid(displacement.shape[2:], displacement) + displacement.movedim(1, -1).to(torch.float32)
    return sample_batch(data, points)


def compose(outer: torch.Tensor, inner: torch.Tensor) -> torch.Tensor:
    """The displacement of (x + outer) after (x + inner), both (B, d, [Z,] Y, X) voxels."""
    return inner + warp(outer, inner)


def exponential(velocity: torch.Tensor, squarings: int = 7) -> torch.Tensor:
    """Displacement of the flow of a stationary velocity over unit time, by scaling and squaring."""
    displacement = velocity / 2**squarings
    for _ in range(squarings):
        displacement = compose(displacement, displacement)
    return displacement


def resized(displacement: torch.Tensor, shape: torch.Size | tuple[int, ...]) -> torch.Tensor:
    """The same map on a grid of `shape` over the same field of view (edges coincide), in its voxels."""
    d = displacement.shape[1]
    old = displacement.shape[2:]
    ratio = torch.tensor([n / o for n, o in zip(shape, old, strict=True)][::-1], device=displacement.device)
    points = (index_grid(tuple(shape), displacement) + 0.5) / ratio - 0.5
    values = sample_batch(displacement, points[None].expand(len(displacement), *points.shape))
    return values * ratio.reshape(1, d, *(1,) * d).to(values.dtype)
