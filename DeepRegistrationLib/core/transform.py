"""The contract of a transform. The concrete ones live in `transforms/`.

A transform T maps FIXED-space points to MOVING-space points, both in LPS millimetres:

    moved(x) = moving(T(x))

so fixed landmarks go forward through T, labels of the moving image are pulled back by T, and moving landmarks
need `inverse()`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch

from .grid import Grid


class Transform(ABC):
    """T: fixed-space LPS mm -> moving-space LPS mm."""

    @property
    @abstractmethod
    def dimension(self) -> int:
        """2 or 3."""

    @property
    @abstractmethod
    def is_linear(self) -> bool:
        """True where T(x) = A x + b exactly."""

    @abstractmethod
    def apply(self, points: torch.Tensor) -> torch.Tensor:
        """(N, d) fixed-space points -> (N, d) moving-space points, in the type and on the device of `points`."""

    @abstractmethod
    def inverse(self) -> Inverse:
        """S with S(T(x)) = x, and how far that fails. Raises InputError where T cannot be inverted."""

    @abstractmethod
    def jacobian_determinant(self, grid: Grid) -> torch.Tensor:
        """([Z,] Y, X) det of dT/dx at the voxel centres of `grid`; folding where <= 0."""

    @abstractmethod
    def to(self, device: torch.device | str) -> Transform:
        """The same transform with its tensors on `device`."""

    def displacement(self, grid: Grid) -> torch.Tensor:
        """(d, [Z,] Y, X) float32 mm, components x, y[, z] along world axes: T(x) - x at the voxel centres."""
        out = torch.empty((grid.dimension, *grid.shape), dtype=torch.float32)
        for k in range(grid.shape[0]):
            block = grid.cropped([0] * (grid.dimension - 1) + [k], (*grid.size[:-1], 1))
            x = block.world_points(dtype=torch.float64).reshape(-1, grid.dimension)
            u = (self.apply(x) - x).to(torch.float32)
            out[:, k] = u.T.reshape(grid.dimension, *grid.shape[1:])
        return out


class Inverse(NamedTuple):
    """transform: S; residual_mm: the 99th percentile of |S(T(x)) - x| over the points it was checked on."""

    transform: Transform
    residual_mm: float
