"""T(x) = x + u(x), u sampled on a grid."""

from __future__ import annotations

import numpy as np
import torch

from ..core.errors import InputError
from ..core.grid import Grid, apply_matrix_torch
from ..core.progress import Tick, no_tick
from ..core.sampling import sample_index
from ..core.transform import Inverse, Transform
from .affine import Affine
from .composition import Composition
from .inverse import invert_displacement
from .jacobian import determinant

_FIT_SAMPLES = 16
_FEW_VOXELS = 5.0
_LEAST_DETERMINANT = 0.05


class DisplacementField(Transform):
    """T(x) = x + u(x), LPS mm; u linearly interpolated on `grid`, zero outside it, as ITK does.

    field  (d, [Z,] Y, X) float32 mm along world axes, components x, y[, z]
    """

    def __init__(self, field: torch.Tensor, grid: Grid) -> None:
        if tuple(field.shape) != (grid.dimension, *grid.shape):
            raise InputError(
                f"A displacement field on {grid} needs the shape {(grid.dimension, *grid.shape)}, "
                f"but {tuple(field.shape)} came."
            )
        self.field = field.to(torch.float32)
        self.grid = grid

    @classmethod
    def from_index_displacement(cls, displacement: torch.Tensor, grid: Grid) -> DisplacementField:
        """From displacements in voxels along index axes x, y[, z]: u = direction @ (spacing * those)."""
        d = grid.dimension
        m = torch.as_tensor(grid.index_to_world[:d, :d], dtype=torch.float32, device=displacement.device)
        return cls(torch.einsum("wk,k...->w...", m, displacement.to(torch.float32)), grid)

    @property
    def dimension(self) -> int:
        return self.grid.dimension

    @property
    def is_linear(self) -> bool:
        return False

    @property
    def device(self) -> torch.device:
        return self.field.device

    def apply(self, points: torch.Tensor) -> torch.Tensor:
        index = apply_matrix_torch(self.grid.world_to_index, points)
        u = sample_index(self.field.to(points.device), index, outside=0.0)
        return points + u.T.to(points.dtype)

    def displacement(self, grid: Grid) -> torch.Tensor:
        if grid.same_as(self.grid):
            return self.field
        return super().displacement(grid)

    def inverse(self, tick: Tick = no_tick) -> Inverse:
        """On the same grid. A field with a large linear part L, such as the total map after an affine stage,
        is
        taken apart into T = L o R first, and S = inverse of R after the inverse of L."""
        linear = self._linear_part()
        if linear is None:
            field, residual = invert_displacement(self.field, self.grid, tick=tick)
            return Inverse(DisplacementField(field, self.grid), residual)
        back = linear.inverse().transform
        rest = Composition([self, back]).displacement(self.grid)
        field, residual = invert_displacement(rest, self.grid, tick=tick)
        return Inverse(Composition([back, DisplacementField(field, self.grid)]), residual)

    def jacobian_determinant(self, grid: Grid) -> torch.Tensor:
        return determinant(self.displacement(grid), grid)

    def to(self, device: torch.device | str) -> DisplacementField:
        return DisplacementField(self.field.to(device), self.grid)

    def _linear_part(self) -> Affine | None:
        """The affine map that fits T best, or None where it moves nothing by more than a few voxels."""
        d = self.dimension
        steps = [max(1, n // _FIT_SAMPLES) for n in self.grid.shape]
        pick = tuple(slice(None, None, step) for step in steps)
        x = self.grid.world_points(dtype=torch.float32)[pick].reshape(-1, d).to(torch.float64)
        u = self.field[(slice(None), *pick)].detach().reshape(d, -1).T.to("cpu", torch.float64)
        centre = x.mean(dim=0)
        design = torch.cat([x - centre, torch.ones(len(x), 1, dtype=torch.float64)], dim=1)
        fit = torch.linalg.lstsq(design, u, driver="gelsd").solution  # gelsd copes with an axis of one voxel
        matrix = fit[:d].T.numpy() + np.eye(d)
        corners = torch.from_numpy(self.grid.corners)
        linear = Affine.about(centre.numpy(), matrix, fit[d].numpy())
        moved = (linear.apply(corners) - corners).norm(dim=1).max()
        if float(moved) <= _FEW_VOXELS * max(self.grid.spacing) or np.linalg.det(matrix) < _LEAST_DETERMINANT:
            return None
        return linear
