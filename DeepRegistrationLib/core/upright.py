"""Index axes in the order and direction of the world's: a patient upright, however the scan was stored.

    x runs as near as it can to +x of the world (to the left of a patient in LPS), y to +y, z to +z

Only the order and the direction of the axes change, so that every voxel keeps its value and its place.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from .grid import Grid


@dataclass(frozen=True)
class AxisOrder:
    """New index axis k is the old axis order[k], backwards where flipped[k]; axes x, y[, z]."""

    order: tuple[int, ...]
    flipped: tuple[bool, ...]

    def grid(self, grid: Grid) -> Grid:
        """The grid of the same voxels with its axes in the new order."""
        first = [0] * grid.dimension
        for old, back in zip(self.order, self.flipped, strict=True):
            first[old] = grid.size[old] - 1 if back else 0
        direction = np.asarray(grid.direction)[:, list(self.order)] * np.where(self.flipped, -1.0, 1.0)
        size, spacing = [grid.size[old] for old in self.order], [grid.spacing[old] for old in self.order]
        return Grid(size, spacing, grid.world_from_index(first), direction)

    def values(self, data: torch.Tensor) -> torch.Tensor:
        """(..., [Z,] Y, X) on the old grid -> the same on the new one."""
        ahead = data.dim() - len(self.order)
        return data.permute(*range(ahead), *(ahead + t for t in _tensor_axes(self.order))).flip(self._flips(data))

    def back(self, data: torch.Tensor) -> torch.Tensor:
        """(..., [Z,] Y, X) on the new grid -> the same on the old one."""
        ahead = data.dim() - len(self.order)
        inverse = [self.order.index(k) for k in range(len(self.order))]
        return data.flip(self._flips(data)).permute(*range(ahead), *(ahead + t for t in _tensor_axes(inverse)))

    def _flips(self, data: torch.Tensor) -> list[int]:
        return [data.dim() - 1 - k for k, back in enumerate(self.flipped) if back]


def upright(grid: Grid) -> AxisOrder:
    """The order and directions in which the axes of `grid` come nearest to those of the world."""
    m = np.asarray(grid.direction)
    d = grid.dimension
    orders = list(itertools.permutations(range(d)))
    # rounded, so that a turn by exactly 45 degrees is decided alike however its digits fell
    near = [round(float(sum(abs(m[k, order[k]]) for k in range(d))), 6) for order in orders]
    order = orders[int(np.argmax(near))]
    return AxisOrder(order, tuple(bool(m[k, order[k]] < 0) for k in range(d)))


def _tensor_axes(order: Sequence[int]) -> list[int]:
    """Which old tensor axis each new one is, counted without those ahead."""
    d = len(order)
    return [d - 1 - order[d - 1 - t] for t in range(d)]
