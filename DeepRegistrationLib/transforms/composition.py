"""T = T_n o ... o T_1."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..core.errors import InputError
from ..core.grid import Grid
from ..core.progress import Tick, no_tick
from ..core.transform import Inverse, Transform
from .jacobian import determinant


class Composition(Transform):
    """T(x) = parts[-1](... parts[0](x)): the first part acts first."""

    def __init__(self, parts: Sequence[Transform]) -> None:
        if not parts or len({p.dimension for p in parts}) != 1:
            raise InputError("A composition needs at least one transform, all of the same dimension.")
        self.parts = tuple(parts)

    @property
    def dimension(self) -> int:
        return self.parts[0].dimension

    @property
    def is_linear(self) -> bool:
        return all(p.is_linear for p in self.parts)

    @property
    def device(self) -> torch.device:
        return next((p.device for p in self.parts if p.device.type != "cpu"), torch.device("cpu"))

    def apply(self, points: torch.Tensor) -> torch.Tensor:
        for part in self.parts:
            points = part.apply(points)
        return points

    def inverse(self, tick: Tick = no_tick) -> Inverse:
        inverses = [p.inverse(tick) for p in reversed(self.parts)]
        # errors of the parts add at worst
        return Inverse(Composition([i.transform for i in inverses]), sum(i.residual_mm for i in inverses))

    def jacobian_determinant(self, grid: Grid) -> torch.Tensor:
        return determinant(self.displacement(grid), grid)

    def to(self, device: torch.device | str) -> Composition:
        return Composition([p.to(device) for p in self.parts])
