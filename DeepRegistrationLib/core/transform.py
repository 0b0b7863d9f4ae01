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
from .progress import Tick, no_tick
from .sampling import BLOCK, precise


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
        """(N, d) fixed-space points -> (N, d) moving-space points, of the same type and device."""

    @abstractmethod
    def inverse(self, tick: Tick = no_tick) -> Inverse:
        """S with S(T(x)) = x, and how far that fails. Raises InputError where T cannot be inverted."""

    @abstractmethod
    def jacobian_determinant(self, grid: Grid) -> torch.Tensor:
        """([Z,] Y, X) det of dT/dx at the voxel centres of `grid`; folding where <= 0."""

    @abstractmethod
    def to(self, device: torch.device | str) -> Transform:
        """The same transform with its tensors on `device`."""

    @property
    def device(self) -> torch.device:
        """Where the transform's own tensors are, which is where it is evaluated fastest."""
        return torch.device("cpu")

    def displacement(self, grid: Grid) -> torch.Tensor:
        """(d, [Z,] Y, X) float32 mm, components x, y[, z] along world axes: T(x) - x at the voxel centres."""
        out = torch.empty((grid.dimension, *grid.shape), dtype=torch.float32, device=self.device)
        for part, block in grid.blocks(BLOCK):
            x = block.world_points(out.device, precise(out.device)).reshape(-1, grid.dimension)
            out[:, part] = (self.apply(x) - x).T.reshape(grid.dimension, *block.shape)
        return out


class Inverse(NamedTuple):
    """transform: S; residual_mm: the 99th percentile of |S(T(x)) - x| over the points it was checked on."""

    transform: Transform
    residual_mm: float
