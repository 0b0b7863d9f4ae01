"""How well S = inverse undoes T: |S(T(x)) - x|."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ..core.grid import Grid, apply_matrix_torch
from ..core.sampling import BLOCK
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
    return consistency_at(x, transform.apply(x).cpu(), inverse, moving_grid)


def consistency_at(
    x: torch.Tensor, y: torch.Tensor, inverse: Transform, moving_grid: Grid
) -> InverseConsistency | None:
    """The same at points x and y = T(x), both (N, d) LPS mm on the CPU."""
    inside = inside_grid(y, moving_grid)
    if not bool(inside.any()):
        return None
    error = (inverse.apply(y[inside]).cpu() - x[inside]).norm(dim=1).numpy()
    return InverseConsistency(
        int(error.size), float(error.mean()), float(np.percentile(error, 95)), float(error.max())
    )


def inverse_error_map(
    displacement: torch.Tensor, inverse: Transform, grid: Grid, moving_grid: Grid
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """|S(T(x)) - x| mm at every voxel centre x of `grid`, and where that can be said, both ([Z,] Y, X).

    displacement  (d, [Z,] Y, X) mm: T(x) - x
    Where T takes a point out of the moving image nothing can be said; the error is 0 there.
    """
    error = np.zeros(grid.shape, dtype=np.float32)
    known = np.zeros(grid.shape, dtype=bool)
    d = grid.dimension
    for part, block in grid.blocks(BLOCK):
        u = displacement[:, part].reshape(d, -1).T
        x = block.world_points(dtype=torch.float64).reshape(-1, d)
        y = x + u
        inside = inside_grid(y, moving_grid)
        away = (inverse.apply(y) - x).norm(dim=1)
        error[part] = torch.where(inside, away, 0.0).reshape(block.shape).numpy()
        known[part] = inside.reshape(block.shape).numpy()
    return error, known


def sample_points(grid: Grid, region: NDArray[np.bool_] | None = None) -> torch.Tensor:
    """(N, d) float64 LPS mm: at most about 200,000 voxel centres of `grid`, evenly spread over `region`."""
    count = grid.voxels if region is None else int(np.count_nonzero(region))
    # an odd step does not fall into step with even sizes and so visits all columns
    step = max(1, -(-count // _POINTS))
    step += (step + 1) % 2
    wanted = np.arange(0, count, step) if region is None else _every(region, step)
    index = np.stack(np.unravel_index(wanted, grid.shape)[::-1], axis=-1)
    return torch.from_numpy(grid.world_from_index(index))


def _every(region: NDArray[np.bool_], step: int) -> NDArray[np.int64]:
    """`flatnonzero(region)[::step]`, slice by slice: the numbers of all voxels would take much memory."""
    picked, seen, before = [], 0, 0
    for piece in region:
        found = np.flatnonzero(piece)
        picked.append(found[-seen % step :: step] + before)
        seen += found.size
        before += piece.size
    return np.concatenate(picked)


def inside_grid(points: torch.Tensor, grid: Grid) -> torch.Tensor:
    """(N,) True where a world point (N, d) lies within the voxels of `grid`."""
    index = apply_matrix_torch(grid.world_to_index, points)
    inside = torch.ones(len(index), dtype=torch.bool, device=index.device)
    for axis, n in enumerate(grid.size):
        inside &= (index[:, axis] >= -0.5) & (index[:, axis] <= n - 0.5)
    return inside
