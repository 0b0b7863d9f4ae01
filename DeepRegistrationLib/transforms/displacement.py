"""T(x) = x + u(x), u sampled on a grid."""

from __future__ import annotations

import torch

from ..core.errors import InputError
from ..core.grid import Grid, apply_matrix_torch
from ..core.sampling import sample_index
from ..core.transform import Inverse, Transform
from .inverse import invert_displacement
from .jacobian import determinant


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
        """From displacements in voxels along the index axes x, y[, z]: u = direction @ (spacing * displacement)."""
        d = grid.dimension
        m = torch.as_tensor(grid.index_to_world[:d, :d], dtype=torch.float32, device=displacement.device)
        return cls(torch.einsum("wk,k...->w...", m, displacement.to(torch.float32)), grid)

    @property
    def dimension(self) -> int:
        return self.grid.dimension

    @property
    def is_linear(self) -> bool:
        return False

    def apply(self, points: torch.Tensor) -> torch.Tensor:
        index = apply_matrix_torch(self.grid.world_to_index, points)
        u = sample_index(self.field.to(points.device), index, outside=0.0)
        return points + u.T.to(points.dtype)

    def displacement(self, grid: Grid) -> torch.Tensor:
        if grid.same_as(self.grid):
            return self.field
        return super().displacement(grid)

    def inverse(self) -> Inverse:
        field, residual = invert_displacement(self.field, self.grid)
        return Inverse(DisplacementField(field, self.grid), residual)

    def jacobian_determinant(self, grid: Grid) -> torch.Tensor:
        return determinant(self.displacement(grid), grid)

    def to(self, device: torch.device | str) -> DisplacementField:
        return DisplacementField(self.field.to(device), self.grid)
