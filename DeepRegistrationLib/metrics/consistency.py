"""How well S = inverse undoes T: |S(T(x)) - x|."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ..core.grid import Grid
from ..core.transform import Transform

#: points looked at; enough for a stable 95th percentile
_POINTS = 200_000


@dataclass(frozen=True)
class InverseConsistency:
    """|S(T(x)) - x| in mm over `points` voxel centres x of the fixed grid that stay in the moving image."""

    points: int
    mean: float
    p95: float
    maximum: float


def inverse_consistency(
    transform: Transform,
    inverse: Transform,
    grid: Grid,
    moving_grid: Grid,
    region: NDArray[np.bool_] | None = None,
) -> InverseConsistency | None:
    """S = `inverse` against T = `transform` at an even sample of the voxels of `grid`.

    region  ([Z,] Y, X) voxels that count; all where not given

    None where T takes every point out of the moving image, where nothing can be said.
    """
    x = sample_points(grid, region)
    y = transform.apply(x).cpu()
    inside = torch.from_numpy(inside_grid(y.numpy(), moving_grid))
    if not bool(inside.any()):
        return None
    error = (inverse.apply(y[inside]).cpu() - x[inside]).norm(dim=1).numpy()
    return InverseConsistency(
        int(error.size), float(error.mean()), float(np.percentile(error, 95)), float(error.max())
    )


def sample_points(grid: Grid, region: NDArray[np.bool_] | None = None) -> torch.Tensor:
    """(N, d) float64 LPS mm: at most about 200,000 voxel centres of `grid`, evenly spread over `region`."""
    wanted = np.arange(grid.voxels) if region is None else np.flatnonzero(region)
    # an odd step does not fall into step with even sizes and so visits all columns
    step = max(1, -(-wanted.size // _POINTS))
    step += (step + 1) % 2
    index = np.stack(np.unravel_index(wanted[::step], grid.shape)[::-1], axis=-1)
    return torch.from_numpy(grid.world_from_index(index))


def inside_grid(points: NDArray[np.float64], grid: Grid) -> NDArray[np.bool_]:
    """(N,) True where a world point lies within the voxels of `grid`."""
    index = grid.index_from_world(points)
    inside = (index >= -0.5) & (index <= np.array(grid.size) - 0.5)
    return np.asarray(inside.all(axis=-1))
