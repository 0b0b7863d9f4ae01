"""A deformation found on a working grid, written down as a transform in LPS mm."""

from __future__ import annotations

import torch

from ..core.grid import Grid
from ..core.transform import Transform
from ..transforms import DisplacementField, VelocityField
from .parametric import Positions, SplineField


def spline_transform(spline: SplineField, working: Grid, target: Grid, diffeomorphic: bool) -> Transform:
    """The spline of displacements sampled on `target`, or that of velocities on a grid half as fine as `working`.

    spline   on `working`, in its voxels
    target   the same field of view (edges and axes) as `working`
    """
    grid = working.with_size([(n + 1) // 2 for n in working.size]) if diffeomorphic else target
    device = spline.coefficients.device
    axes = torch.as_tensor(working.index_to_world[:-1, :-1], dtype=torch.float32, device=device)
    field = torch.einsum("wk,k...->w...", axes, spline.lattice(voxel_positions(grid, working, device)))
    return VelocityField(field, grid) if diffeomorphic else DisplacementField(field, grid)


def voxel_positions(grid: Grid, other: Grid, device: torch.device) -> Positions:
    """Where the voxel centres of `grid` lie along each tensor axis of `other`, whose edges and axes are the same."""
    return [
        (torch.arange(n, device=device, dtype=torch.float32) + 0.5) * (w / n) - 0.5
        for n, w in zip(grid.shape, other.shape, strict=True)
    ]
